// How the registry's chapters are written: one call a parameter.
#pragma once

#include "engine/config/parameter.h"

namespace mailrace::engine::config {

// The member that a parameter fills, as a function without captures.
#define MAILRACE_FIELD(path) (+[](Options& o) -> auto& { return o.path; })

constexpr int64_t kMinute = 60;
constexpr int64_t kHour = 3600;
constexpr int64_t kDay = 86400;

inline Parameter YesNo(std::string_view name, std::string_view default_text, YesNoField field,
                       std::string_view meaning, std::string_view change) {
  return {.name = name,
          .type = Parameter::Type::kYesNo,
          .default_text = default_text,
          .field = field,
          .meaning = meaning,
          .change = change};
}

inline Parameter Integer(std::string_view name, std::string_view default_text, int64_t min,
                         int64_t max, NumberField field, std::string_view meaning,
                         std::string_view change) {
  return {.name = name,
          .type = Parameter::Type::kInteger,
          .default_text = default_text,
          .field = field,
          .min = min,
          .max = max,
          .meaning = meaning,
          .change = change};
}

inline Parameter Octets(std::string_view name, std::string_view default_text, int64_t min,
                        int64_t max, NumberField field, std::string_view meaning,
                        std::string_view change) {
  Parameter p = Integer(name, default_text, min, max, field, meaning, change);
  p.type = Parameter::Type::kOctets;
  return p;
}

inline Parameter Time(std::string_view name, std::string_view default_text, char unit,
                      int64_t min_seconds, int64_t max_seconds, TimeField field,
                      std::string_view meaning, std::string_view change) {
  return {.name = name,
          .type = Parameter::Type::kTime,
          .default_text = default_text,
          .field = field,
          .min = min_seconds,
          .max = max_seconds,
          .unit = unit,
          .meaning = meaning,
          .change = change};
}

inline Parameter Text(std::string_view name, std::string_view default_text, TextField field,
                      std::string_view value_is, std::string_view meaning,
                      std::string_view change) {
  return {.name = name,
          .type = Parameter::Type::kText,
          .default_text = default_text,
          .field = field,
          .value_is = value_is,
          .meaning = meaning,
          .change = change};
}

inline Parameter Word(std::string_view name, std::string_view default_text, std::string_view words,
                      TextField field, std::string_view meaning, std::string_view change) {
  return {.name = name,
          .type = Parameter::Type::kWord,
          .default_text = default_text,
          .field = field,
          .words = words,
          .meaning = meaning,
          .change = change};
}

// Of smtp_discard_ehlo_keywords and smtpd_discard_ehlo_keywords.
inline constexpr std::string_view kEhloKeywords =
    "8bitmime auth chunking dsn enhancedstatuscodes etrn pipelining silent-discard size smtputf8 "
    "starttls";

inline Parameter Words(std::string_view name, std::string_view default_text, std::string_view words,
                       ListField field, std::string_view meaning, std::string_view change) {
  return {.name = name,
          .type = Parameter::Type::kWords,
          .default_text = default_text,
          .field = field,
          .words = words,
          .meaning = meaning,
          .change = change};
}

inline Parameter List(std::string_view name, std::string_view default_text, ListField field,
                      std::string_view value_is, std::string_view meaning,
                      std::string_view change) {
  return {.name = name,
          .type = Parameter::Type::kList,
          .default_text = default_text,
          .field = field,
          .value_is = value_is,
          .meaning = meaning,
          .change = change};
}

inline Parameter Custom(std::string_view name, std::string_view default_text, CustomField field,
                        std::string_view value_is, std::string_view meaning,
                        std::string_view change) {
  return {.name = name,
          .type = Parameter::Type::kCustom,
          .default_text = default_text,
          .field = field,
          .value_is = value_is,
          .meaning = meaning,
          .change = change};
}

}  // namespace mailrace::engine::config

// The registry: every main.cf parameter that means something here, with its type,
// default, range and documentation. LoadConfig and docs/CONFIGURATION.md both come from
// it, so that neither can be out of step with the other.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "engine/config/options.h"

namespace mailrace::engine::config {

// Where a value goes. The alternative is the parameter's type; a Custom one parses for
// itself.
using YesNoField = bool& (*)(Options&);
using NumberField = int64_t& (*)(Options&);
using TimeField = absl::Duration& (*)(Options&);
using TextField = std::string& (*)(Options&);
using ListField = std::vector<std::string>& (*)(Options&);
using CustomField = absl::Status (*)(std::string_view, Options&);

struct Parameter {
  enum class Type { kYesNo, kInteger, kOctets, kTime, kText, kWord, kWords, kList, kCustom };

  std::string_view name;
  Type type = Type::kText;
  std::string_view default_text;  // Expandable, as in main.cf.
  std::variant<YesNoField, NumberField, TimeField, TextField, ListField, CustomField> field;
  int64_t min = 0;  // kInteger, kOctets; kTime in seconds.
  int64_t max = INT64_MAX;
  char unit = 's';            // kTime: what a bare number means.
  std::string_view words;     // kWord, kWords: the allowed ones, between spaces.
  std::string_view value_is;  // Documentation of the value's form, where type does not say it.
  std::string_view meaning;   // One or two sentences.
  std::string_view change;    // When one would change it.
  bool reloadable = true;     // Takes effect on reload; else at start only.
  std::string_view old_name;  // An alias that is accepted with a warning.

  // Builders for the rare properties.
  constexpr Parameter AtStart() const {
    Parameter p = *this;
    p.reloadable = false;
    return p;
  }
  constexpr Parameter Alias(std::string_view alias) const {
    Parameter p = *this;
    p.old_name = alias;
    return p;
  }

  // Parses the expanded `text` into *options. Error: what is wrong with the value.
  absl::Status Set(std::string_view text, Options* options) const;
  // "time, default unit s, 1s..5d"
  std::string TypeText() const;
};

// A chapter of the reference.
struct ParameterGroup {
  std::string_view title;
  std::string_view about;
  std::vector<Parameter> parameters;
};

// In the reference's order. Thread-safe: made once.
const std::vector<ParameterGroup>& ParameterGroups();
// By name or old name; null if there is none.
const Parameter* FindParameter(std::string_view name);

// The chapters, one or two a file.
ParameterGroup GeneralParameters();
ParameterGroup LogParameters();
ParameterGroup EntropyParameters();
ParameterGroup RelayParameters();
ParameterGroup RoutingParameters();
ParameterGroup SmtpTimeParameters();
ParameterGroup SaslParameters();
ParameterGroup TlsParameters();
ParameterGroup QueueParameters();
ParameterGroup DestinationParameters();
ParameterGroup SubmissionParameters();
ParameterGroup ClassParameters();

}  // namespace mailrace::engine::config

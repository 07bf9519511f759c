#include "engine/config/parameter.h"

#include <fmt/format.h>

#include "absl/container/flat_hash_map.h"
#include "base/text.h"
#include "engine/config/values.h"

namespace mailrace::engine::config {
namespace {

absl::Status Bad(std::string message) { return absl::InvalidArgumentError(std::move(message)); }

template <typename Value, typename Field>
absl::Status Store(absl::StatusOr<Value> value, const Field& field, Options* options) {
  if (!value.ok()) return value.status();
  field(*options) = *std::move(value);
  return absl::OkStatus();
}

// `words` is separated by single spaces; compared without case. Gives the listed form.
absl::StatusOr<std::string> OneOf(std::string_view text, std::string_view words) {
  for (std::string_view rest = words; !rest.empty();) {
    const size_t space = std::min(rest.find(' '), rest.size());
    const std::string_view word = rest.substr(0, space);
    if (EqualsIgnoreCase(word, text)) return std::string(word);
    rest.remove_prefix(std::min(space + 1, rest.size()));
  }
  return Bad(fmt::format("bad value \"{}\"; expected one of: {}", text.substr(0, 80), words));
}

absl::StatusOr<std::vector<std::string>> EachOneOf(std::string_view text, std::string_view words) {
  const absl::StatusOr<std::vector<std::string>> list = SplitList(text);
  if (!list.ok()) return list;
  std::vector<std::string> out;
  for (const std::string& word : *list) {
    absl::StatusOr<std::string> known = OneOf(word, words);
    if (!known.ok()) return known.status();
    out.push_back(*std::move(known));
  }
  return out;
}

}  // namespace

absl::Status Parameter::Set(std::string_view text, Options* options) const {
  switch (type) {
    case Type::kYesNo:
      return Store(ParseYesNo(text), std::get<YesNoField>(field), options);
    case Type::kInteger:
      return Store(ParseInteger(text, min, max), std::get<NumberField>(field), options);
    case Type::kOctets:
      return Store(ParseOctets(text, min, max), std::get<NumberField>(field), options);
    case Type::kTime:
      return Store(ParseTime(text, unit, min, max), std::get<TimeField>(field), options);
    case Type::kText:
      std::get<TextField>(field)(*options) = std::string(text);
      return absl::OkStatus();
    case Type::kWord:
      return Store(OneOf(text, words), std::get<TextField>(field), options);
    case Type::kWords:
      return Store(EachOneOf(text, words), std::get<ListField>(field), options);
    case Type::kList:
      return Store(SplitList(text), std::get<ListField>(field), options);
    case Type::kCustom:
      return std::get<CustomField>(field)(text, *options);
  }
  return absl::OkStatus();
}

std::string Parameter::TypeText() const {
  const bool bounded = max != INT64_MAX;
  switch (type) {
    case Type::kYesNo:
      return "yes or no";
    case Type::kInteger:
      return bounded ? fmt::format("number, {}..{}", min, max)
                     : fmt::format("number, at least {}", min);
    case Type::kOctets:
      return bounded ? fmt::format("octets (k, M, G allowed), {}..{}", min, max)
                     : fmt::format("octets (k, M, G allowed), at least {}", min);
    case Type::kTime:
      return fmt::format("time, a bare number means {}, {}..{}",
                         unit == 's'   ? "seconds"
                         : unit == 'h' ? "hours"
                                       : "days",
                         FormatTime(absl::Seconds(min)), FormatTime(absl::Seconds(max)));
    case Type::kWord:
      return fmt::format("one of: {}", words);
    case Type::kWords:
      return fmt::format("any of: {}", words);
    case Type::kText:
    case Type::kList:
    case Type::kCustom:
      return std::string(value_is);
  }
  return "";
}

const std::vector<ParameterGroup>& ParameterGroups() {
  static const auto* const groups = new std::vector<ParameterGroup>{
      GeneralParameters(),    RelayParameters(),    RoutingParameters(), SaslParameters(),
      TlsParameters(),        SmtpTimeParameters(), QueueParameters(),   DestinationParameters(),
      SubmissionParameters(), ClassParameters(),    LogParameters(),     EntropyParameters()};
  return *groups;
}

const Parameter* FindParameter(std::string_view name) {
  static const auto* const index = [] {
    auto* out = new absl::flat_hash_map<std::string, const Parameter*>;
    for (const ParameterGroup& group : ParameterGroups()) {
      for (const Parameter& parameter : group.parameters) {
        out->emplace(std::string(parameter.name), &parameter);
        if (!parameter.old_name.empty()) out->emplace(std::string(parameter.old_name), &parameter);
      }
    }
    return out;
  }();
  const auto it = index->find(std::string(name));
  return it == index->end() ? nullptr : it->second;
}

}  // namespace mailrace::engine::config

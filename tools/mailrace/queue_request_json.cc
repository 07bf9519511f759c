#include "tools/mailrace/queue_request_json.h"

#include <optional>

#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::tools {

namespace {

using Json = nlohmann::json;

// "90", "90s", "30m", "2h", "5d", "1w", in seconds.
std::optional<uint64_t> ParseAge(std::string_view text) {
  uint64_t unit = 1;
  if (!text.empty()) {
    constexpr std::string_view kUnits = "smhdw";
    constexpr uint64_t kSeconds[] = {1, 60, 3600, 86400, 604800};
    const size_t at = kUnits.find(text.back());
    if (at != kUnits.npos) {
      unit = kSeconds[at];
      text.remove_suffix(1);
    }
  }
  const std::optional<uint64_t> number = ParseUint(text);
  if (!number || *number > 1'000'000'000 / unit) return std::nullopt;
  return *number * unit;
}

bool Changes(const std::string& action) {
  return action == "hold" || action == "release" || action == "remove" || action == "bounce" ||
         action == "export";
}

}  // namespace

std::string MakeRequest(const QueueArguments& arguments, Json* request) {
  *request = {{"command", arguments.action}};
  bool selects = arguments.all || !arguments.ids.empty();
  if (arguments.all) (*request)["all"] = true;
  const std::pair<const char*, const std::string*> texts[] = {
      {"sender", &arguments.sender},   {"recipient", &arguments.recipient},
      {"nexthop", &arguments.nexthop}, {"class", &arguments.message_class},
      {"tenant", &arguments.tenant},   {"state", &arguments.state}};
  for (const auto& [name, value] : texts) {
    if (value->empty()) continue;
    (*request)[name] = *value;
    selects = true;
  }
  const std::pair<const char*, const std::string*> ages[] = {
      {"older_than", &arguments.older_than}, {"younger_than", &arguments.younger_than}};
  for (const auto& [name, value] : ages) {
    if (value->empty()) continue;
    const std::optional<uint64_t> seconds = ParseAge(*value);
    if (!seconds) return fmt::format("'{}' is no age: 90, 30m, 2h, 5d or 1w", *value);
    (*request)[name] = *seconds;
    selects = true;
  }
  if (!arguments.reason.empty()) (*request)["reason"] = arguments.reason;
  if (arguments.dry_run) (*request)["dry_run"] = true;
  if (arguments.verbose || (arguments.json && !arguments.dry_run && Changes(arguments.action))) {
    (*request)["verbose"] = true;
  }
  if (arguments.action == "show" && arguments.ids.empty()) return "which queue id?";
  if (Changes(arguments.action) && !selects) {
    return "which messages? Name ids or a selector, or say --all";
  }
  return {};
}

}  // namespace mailrace::tools

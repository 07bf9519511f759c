// `mailrace stats`: what the engine counted, line by line, and where the time went as tables.
#include <cstdio>

#include "engine/admin/control_protocol.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "tools/mailrace/commands.h"
#include "tools/mailrace/stats_request.h"
#include "tools/mailrace/stats_tables.h"

namespace mailrace::tools {

namespace {

using Json = nlohmann::json;

constexpr absl::Duration kTimeout = absl::Seconds(30);

void PrintFlat(const std::string& prefix, const Json& json) {
  for (const auto& [name, value] : json.items()) {
    if (name == "buckets") continue;  // For programs.
    const std::string path = prefix.empty() ? name : prefix + "." + name;
    if (value.is_object() || value.is_array()) {
      PrintFlat(path, value);
    } else {
      std::printf("%-44s %s\n", path.c_str(),
                  value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
    }
  }
}

}  // namespace

Json FetchStats(const std::string& queue_directory) {
  Json answer;
  const absl::Status asked = engine::AskEngine(queue_directory, R"({"command":"stats"})", kTimeout,
                                               [&](std::string_view line) {
                                                 answer = Json::parse(line, nullptr, false);
                                                 return true;
                                               });
  std::string error;
  if (!asked.ok()) {
    error = std::string(asked.message());
  } else if (!answer.is_object() || answer.contains("error")) {
    error = answer.is_object() ? answer["error"].dump() : "the engine gave no answer";
  }
  if (error.empty()) return answer;
  std::fprintf(stderr, "mailrace: %s\n", error.c_str());
  return nullptr;
}

int Stats(const StatsArguments& arguments) {
  const std::string queue_directory = QueueDirectoryOf(arguments.directory);
  if (queue_directory.empty()) return 78;
  const Json stats = FetchStats(queue_directory);
  if (!stats.is_object()) return 69;
  if (arguments.json) {
    std::printf("%s\n", stats.dump().c_str());
  } else {
    PrintFlat("", stats);
    std::printf("\n%s", StatsTables(stats).c_str());
  }
  return 0;
}

}  // namespace mailrace::tools

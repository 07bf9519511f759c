// `mailrace stats` and `mailrace top`: what the engine counted.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>

#include "engine/admin/control_protocol.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "tools/mailrace/commands.h"

namespace mailrace::tools {

namespace {

using Json = nlohmann::json;

constexpr absl::Duration kTimeout = absl::Seconds(10);

// The engine's object; null after a message on stderr.
Json Fetch(const std::string& queue_directory) {
  Json answer;
  const absl::Status asked =
      engine::AskEngine(queue_directory, R"({"command":"stats"})", kTimeout,
                        [&](std::string_view line) { answer = Json::parse(line, nullptr, false); });
  if (!asked.ok()) {
    std::fprintf(stderr, "mailrace: %s\n", std::string(asked.message()).c_str());
    return nullptr;
  }
  return answer;
}

void PrintFlat(const std::string& prefix, const Json& json) {
  for (const auto& [name, value] : json.items()) {
    const std::string path = prefix.empty() ? name : prefix + "." + name;
    if (value.is_object() || value.is_array()) {
      PrintFlat(path, value);
    } else {
      std::printf("%-44s %s\n", path.c_str(),
                  value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
    }
  }
}

void PrintScreen(const Json& now, const Json& before) {
  const auto value = [&](const char* name) { return now.value(name, uint64_t{0}); };
  const auto rate = [&](const char* name) {
    return before.is_object() ? value(name) - before.value(name, uint64_t{0}) : 0;
  };
  const Json& queue = now["queue"];
  std::printf("\033[H\033[J");
  std::printf(
      "mailrace  up %llus   queue %llu (ready %llu, in flight %llu, deferred %llu, held %llu)\n\n",
      static_cast<unsigned long long>(value("uptime_seconds")), queue.value("total", 0ULL),
      queue.value("ready", 0ULL), queue.value("in_flight", 0ULL), queue.value("deferred", 0ULL),
      queue.value("held", 0ULL));
  for (const char* name : {"accepted", "delivered", "deferred", "failed", "connects",
                           "sessions_reused", "tls_handshakes", "auth_successes"}) {
    std::printf("%-20s %12llu   %8llu/s\n", name, static_cast<unsigned long long>(value(name)),
                static_cast<unsigned long long>(rate(name)));
  }
  std::printf("%-20s %12llu\n", "sessions_open",
              static_cast<unsigned long long>(value("sessions_open")));
  for (const auto& [nexthop, reason] : now["suspended"].items()) {
    std::printf("\nsuspended: %s (%s)", nexthop.c_str(), reason.get<std::string>().c_str());
  }
  std::fflush(stdout);
}

}  // namespace

int Stats(const StatsArguments& arguments) {
  const std::string queue_directory = QueueDirectoryOf(arguments.directory);
  if (queue_directory.empty()) return 78;
  const Json stats = Fetch(queue_directory);
  if (!stats.is_object()) return 69;
  if (arguments.json) {
    std::printf("%s\n", stats.dump().c_str());
  } else {
    PrintFlat("", stats);
  }
  return 0;
}

int Top(const StatsArguments& arguments) {
  const std::string queue_directory = QueueDirectoryOf(arguments.directory);
  if (queue_directory.empty()) return 78;
  Json before;
  while (true) {
    Json now = Fetch(queue_directory);
    if (!now.is_object()) return 69;
    PrintScreen(now, before);
    before = std::move(now);
    const timespec second{1, 0};
    nanosleep(&second, nullptr);
  }
}

}  // namespace mailrace::tools

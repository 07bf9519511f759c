// `mailrace queue`, `mailq`: the queue of a running engine.
#include <cstdio>
#include <ctime>

#include "base/text.h"
#include "engine/admin/control_protocol.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "tools/mailrace/commands.h"

namespace mailrace::tools {

namespace {

using Json = nlohmann::json;

constexpr absl::Duration kTimeout = absl::Seconds(30);
constexpr int kExitUnavailable = 69;  // EX_UNAVAILABLE
constexpr int kExitUsage = 64;        // EX_USAGE

int Ask(const std::string& directory, const Json& request,
        const std::function<void(const Json&, std::string_view line)>& each) {
  const std::string queue_directory = QueueDirectoryOf(directory);
  if (queue_directory.empty()) return 78;
  int status = 0;
  const absl::Status asked =
      engine::AskEngine(queue_directory, request.dump(), kTimeout, [&](std::string_view line) {
        const Json json = Json::parse(line, nullptr, false);
        if (json.is_object() && json.contains("error")) {
          std::fprintf(stderr, "mailrace: %s\n", json["error"].get<std::string>().c_str());
          status = kExitUsage;
          return;
        }
        each(json, line);
      });
  if (!asked.ok()) {
    std::fprintf(stderr, "mailrace: %s\n", std::string(asked.message()).c_str());
    return kExitUnavailable;
  }
  return status;
}

std::string ArrivalText(int64_t seconds) {
  const auto time = static_cast<time_t>(seconds);
  tm local{};
  localtime_r(&time, &local);
  char text[32];
  // As Postfix's showq: "Sun Nov 22 15:00:00".
  std::strftime(text, sizeof text, "%a %b %e %H:%M:%S", &local);
  return text;
}

// One message as mailq(1) prints it.
void PrintMessage(const Json& message) {
  const std::string state = message.value("queue_name", "");
  const std::string id = message.value("queue_id", "") + (state == "active" ? "*"
                                                          : state == "hold" ? "!"
                                                                            : " ");
  const std::string sender = message.value("sender", "");
  std::printf("%-17s %8llu %s  %s\n", id.c_str(),
              static_cast<unsigned long long>(message.value("message_size", uint64_t{0})),
              ArrivalText(message.value("arrival_time", int64_t{0})).c_str(),
              sender.empty() ? "MAILER-DAEMON" : Printable(sender).c_str());
  std::string last_reason;
  for (const Json& recipient : message["recipients"]) {
    const std::string reason = recipient.value("delay_reason", "");
    if (!reason.empty() && reason != last_reason) {
      std::printf("%*s(%s)\n", static_cast<int>(reason.size() < 76 ? 76 - reason.size() : 0), "",
                  reason.c_str());
    }
    last_reason = reason;
    std::printf("%-41s%s\n", "", Printable(recipient.value("address", "")).c_str());
  }
  std::printf("\n");
}

}  // namespace

int Mailq(const std::string& directory) {
  uint64_t octets = 0;
  uint64_t messages = 0;
  const int status = Ask(directory, {{"command", "list"}}, [&](const Json& message, auto) {
    if (messages++ == 0) {
      std::printf("-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n");
    }
    octets += message.value("message_size", uint64_t{0});
    PrintMessage(message);
  });
  if (status != 0) return status;
  if (messages == 0) {
    std::printf("Mail queue is empty\n");
  } else {
    std::printf("-- %llu Kbytes in %llu Request%s.\n",
                static_cast<unsigned long long>((octets + 1023) / 1024),
                static_cast<unsigned long long>(messages), messages == 1 ? "" : "s");
  }
  return 0;
}

int Queue(const QueueArguments& arguments) {
  if (arguments.action == "list" && !arguments.json) return Mailq(arguments.directory);
  if (arguments.action == "list" || arguments.action == "show") {
    std::vector<std::string> ids = arguments.ids;
    if (arguments.action == "list") ids = {""};
    if (ids.empty()) {
      std::fprintf(stderr, "mailrace: queue show: which queue id?\n");
      return kExitUsage;
    }
    for (const std::string& id : ids) {
      bool found = id.empty();
      const int status = Ask(arguments.directory, {{"command", "list"}, {"id", id}},
                             [&](const Json& message, std::string_view line) {
                               found = true;
                               if (arguments.json) {
                                 std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
                               } else {
                                 std::printf("%s\n", message.dump(2).c_str());
                               }
                             });
      if (status != 0) return status;
      if (!found) {
        std::fprintf(stderr, "mailrace: %s: no such message in the queue\n", id.c_str());
        return 1;
      }
    }
    return 0;
  }
  if (arguments.action == "flush") {
    return Ask(arguments.directory, {{"command", "flush"}}, [](const Json& answer, auto) {
      std::printf("%llu deferred messages are tried now\n",
                  static_cast<unsigned long long>(answer.value("flushed", uint64_t{0})));
    });
  }
  std::vector<std::string> ids = arguments.ids;
  if (arguments.all) ids = {"ALL"};
  if (ids.empty()) {
    std::fprintf(stderr, "mailrace: queue %s: which queue ids? (or --all)\n",
                 arguments.action.c_str());
    return kExitUsage;
  }
  uint64_t changed = 0;
  for (const std::string& id : ids) {
    const int status =
        Ask(arguments.directory, {{"command", arguments.action}, {"id", id}},
            [&](const Json& answer, auto) { changed += answer.value("changed", uint64_t{0}); });
    if (status != 0) return status;
  }
  std::printf("%s: %llu messages\n", arguments.action.c_str(),
              static_cast<unsigned long long>(changed));
  return changed > 0 || arguments.all ? 0 : 1;
}

}  // namespace mailrace::tools

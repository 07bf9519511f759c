// `mailrace queue`, `mailq`: the queue of a running engine; `--offline` is
// queue_offline.cc's.
#include <cstdio>
#include <iostream>

#include "base/text.h"
#include "engine/admin/control_protocol.h"
#include "fmt/format.h"
#include "tools/mailrace/commands.h"
#include "tools/mailrace/queue_offline.h"
#include "tools/mailrace/queue_output.h"
#include "tools/mailrace/queue_request_json.h"
#include "tools/mailrace/queue_transfer.h"

namespace mailrace::tools {

namespace {

using Json = nlohmann::json;

constexpr absl::Duration kTimeout = absl::Seconds(60);
constexpr int kExitUsage = 64;        // EX_USAGE
constexpr int kExitNoInput = 66;      // EX_NOINPUT
constexpr int kExitUnavailable = 69;  // EX_UNAVAILABLE
constexpr int kExitTempFail = 75;     // EX_TEMPFAIL
constexpr int kExitNoPerm = 77;       // EX_NOPERM
constexpr int kExitConfig = 78;       // EX_CONFIG
// Ids of one request: it must stay below kControlRequestOctetsMax.
constexpr size_t kIdsOfRequest = 1000;

int ExitOf(const absl::Status& status) {
  Complain(std::string(status.message()));
  return absl::IsPermissionDenied(status) ? kExitNoPerm : kExitUnavailable;
}

// Sends `request`; each line of the answer that is no error goes to `each`.
int Ask(const std::string& queue_directory, const Json& request,
        const std::function<void(const Json&, std::string_view line)>& each) {
  int status = 0;
  bool complete = false;
  const std::string text = request.dump(-1, ' ', false, Json::error_handler_t::replace);
  const absl::Status asked =
      engine::AskEngine(queue_directory, text, kTimeout, [&](std::string_view line) {
        const Json json = Json::parse(line, nullptr, false);
        if (!json.is_object()) {
          Complain("the engine's answer is not understood");
          status = kExitUnavailable;
        } else if (json.contains("error")) {
          Complain(TextOf(json, "error"));
          status = kExitUsage;
        } else {
          complete = complete || json.contains("summary");
          each(json, line);
        }
        return true;
      });
  if (!asked.ok()) return ExitOf(asked);
  if (status != 0 || complete) return status;
  Complain("the engine's answer was cut short: it is stopping, or too many administrators ask");
  return kExitUnavailable;
}

// Sends the request, in several if it names many ids.
int AskInParts(const std::string& queue_directory, Json request,
               const std::vector<std::string>& ids,
               const std::function<void(const Json&, std::string_view line)>& each) {
  if (ids.empty()) return Ask(queue_directory, request, each);
  int status = 0;
  for (size_t begin = 0; begin < ids.size() && status == 0; begin += kIdsOfRequest) {
    const size_t end = std::min(ids.size(), begin + kIdsOfRequest);
    request["ids"] = std::vector<std::string>(ids.begin() + static_cast<std::ptrdiff_t>(begin),
                                              ids.begin() + static_cast<std::ptrdiff_t>(end));
    status = Ask(queue_directory, request, each);
  }
  return status;
}

void PrintLine(std::string_view line) {
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fputc('\n', stdout);
}

int List(const std::string& queue_directory, const Json& request,
         const std::vector<std::string>& ids, bool as_json) {
  MailqPrinter printer;
  bool unreadable = false;
  const int status =
      AskInParts(queue_directory, request, ids, [&](const Json& message, std::string_view line) {
        if (message.contains("summary")) return;
        if (as_json) {
          PrintLine(line);
        } else if (message.contains("unreadable")) {
          Complain(fmt::format("{}: cannot be read: {}", TextOf(message, "queue_id"),
                               TextOf(message, "unreadable")));
          unreadable = true;
        } else {
          printer.Print(message);
        }
      });
  if (status != 0) return status;
  if (!as_json) printer.Finish();
  return unreadable ? 65 : 0;
}

int Show(const std::string& queue_directory, const Json& request,
         const std::vector<std::string>& ids, bool as_json) {
  bool missing = false;
  const int status =
      AskInParts(queue_directory, request, ids, [&](const Json& message, std::string_view line) {
        if (message.contains("summary")) return;
        if (message.contains("result") || message.contains("unreadable")) {
          missing = true;
          Complain(fmt::format("{}: {}", TextOf(message, "queue_id"),
                               message.contains("result") ? "no such message in the queue"
                                                          : TextOf(message, "unreadable")));
        } else if (as_json) {
          PrintLine(line);
        } else {
          PrintShown(message);
        }
      });
  return status == 0 && missing ? kExitNoInput : status;
}

struct Totals {
  int64_t matched = 0, changed = 0, after_attempt = 0, unchanged = 0, failed = 0, missing = 0;
};

void AddSummary(const Json& summary, Totals* totals) {
  totals->matched += NumberOf(summary, "matched");
  totals->changed += NumberOf(summary, "changed");
  totals->after_attempt += NumberOf(summary, "after_attempt");
  totals->unchanged += NumberOf(summary, "unchanged");
  totals->failed += NumberOf(summary, "failed");
  totals->missing += NumberOf(summary, "not_found");
}

void PrintTotals(const QueueArguments& arguments, const Totals& totals) {
  if (arguments.dry_run) {
    std::printf("%s: %lld messages would be changed\n", arguments.action.c_str(),
                static_cast<long long>(totals.matched));
    return;
  }
  std::printf("%s: %lld messages", arguments.action.c_str(),
              static_cast<long long>(totals.changed));
  const std::pair<int64_t, const char*> others[] = {
      {totals.after_attempt, "when their attempt ends"},
      {totals.unchanged, "unchanged"},
      {totals.failed, "failed"},
      {totals.missing, "not in the queue"}};
  for (const auto& [count, what] : others) {
    if (count > 0) std::printf(", %lld %s", static_cast<long long>(count), what);
  }
  std::printf("\n");
}

int Change(const std::string& queue_directory, const QueueArguments& arguments, const Json& request,
           const std::vector<std::string>& ids) {
  Totals totals;
  const int status =
      AskInParts(queue_directory, request, ids, [&](const Json& answer, std::string_view line) {
        if (answer.contains("summary")) AddSummary(answer["summary"], &totals);
        if (arguments.json) {
          PrintLine(line);
        } else if (answer.contains("queue_id")) {
          const std::string why = TextOf(answer, "why");
          const std::string text =
              fmt::format("{}: {}{}{}", TextOf(answer, "queue_id"), TextOf(answer, "result"),
                          why.empty() ? "" : ": ", why);
          const std::string result = TextOf(answer, "result");
          if (result == "done" || result == "would be done") {
            PrintLine(text);
          } else {
            Complain(text);
          }
        }
      });
  if (status != 0) return status;
  if (!arguments.json) PrintTotals(arguments, totals);
  if (totals.failed > 0 || totals.after_attempt > 0) return kExitTempFail;
  return totals.missing > 0 ? kExitNoInput : 0;
}

int SuspendOrResume(const std::string& queue_directory, const QueueArguments& arguments,
                    const Json& request) {
  return Ask(queue_directory, request, [&](const Json& answer, std::string_view line) {
    if (arguments.json) {
      PrintLine(line);
      return;
    }
    const Json summary = answer.value("summary", Json::object());
    const bool suspend = arguments.action == "suspend";
    const std::string what =
        NumberOf(summary, "changed") == 0 ? (suspend ? "is suspended already" : "was not suspended")
        : arguments.dry_run               ? (suspend ? "would be suspended" : "would be resumed")
                                          : (suspend ? "suspended" : "resumed");
    PrintLine(fmt::format("{}: {}", TextOf(summary, "nexthop"), what));
  });
}

// The ids as given; "-" stands for those on standard input.
std::vector<std::string> IdsOf(const QueueArguments& arguments) {
  std::vector<std::string> ids;
  for (const std::string& id : arguments.ids) {
    if (id != "-") {
      ids.push_back(id);
      continue;
    }
    std::string word;
    while (std::cin >> word) ids.push_back(word);
  }
  return ids;
}

}  // namespace

int Mailq(const std::string& directory) {
  QueueArguments arguments;
  arguments.directory = directory;
  arguments.action = "list";
  return Queue(arguments);
}

int Queue(const QueueArguments& arguments) {
  const std::vector<std::string> ids = IdsOf(arguments);
  Json request;
  if (const std::string wrong = MakeRequest(arguments, &request); !wrong.empty()) {
    Complain(fmt::format("queue {}: {}", arguments.action, wrong));
    return kExitUsage;
  }
  const std::string queue_directory = QueueDirectoryOf(arguments.directory);
  if (queue_directory.empty()) return kExitConfig;
  if (arguments.offline || arguments.action == "verify") {
    return QueueOffline(queue_directory, arguments, request, ids);
  }
  // Standard input that was empty selects nothing, not everything.
  if (!arguments.ids.empty() && ids.empty()) return 0;
  if (arguments.action == "list") return List(queue_directory, request, ids, arguments.json);
  if (arguments.action == "show") return Show(queue_directory, request, ids, arguments.json);
  if (arguments.action == "export") {
    return ExportFromEngine(queue_directory, arguments, request, ids);
  }
  if (arguments.action == "import") return ImportIntoEngine(queue_directory, arguments);
  if (arguments.action == "suspend" || arguments.action == "resume") {
    return SuspendOrResume(queue_directory, arguments, request);
  }
  return Change(queue_directory, arguments, request, ids);
}

}  // namespace mailrace::tools

#include "tools/mailrace/queue_offline.h"

#include <cstdio>

#include "absl/time/clock.h"
#include "engine/admin/exported_message.h"
#include "engine/admin/message_view.h"
#include "engine/admin/queue_request.h"
#include "fmt/format.h"
#include "queue/offline_queue.h"
#include "tools/mailrace/queue_output.h"
#include "tools/mailrace/queue_transfer.h"

namespace mailrace::tools {

namespace {

using Json = nlohmann::json;
using queue::OfflineQueue;

constexpr int kExitDamage = 65;       // EX_DATAERR
constexpr int kExitNoInput = 66;      // EX_NOINPUT
constexpr int kExitCannotWrite = 73;  // EX_CANTCREAT
constexpr int kExitInUse = 75;        // EX_TEMPFAIL

std::string Text(const absl::Status& status) { return std::string(status.message()); }

// What an engine would make of the message: one wait, by its record.
engine::MessageView ViewOf(queue::RecoveredMessage message, absl::Time now) {
  engine::MessageView view;
  engine::JobFacts job;
  job.state = message.has_retry && message.retry.held ? engine::JobFacts::State::kHeld
                                                      : engine::JobFacts::State::kDeferred;
  job.due_in = std::max(absl::ZeroDuration(), message.retry.next_attempt - now);
  if (!message.has_retry) {
    job.due_in = absl::ZeroDuration();
    job.waits_for = "the engine is not running";
  }
  view.jobs.push_back(std::move(job));
  view.job_of.assign(message.envelope.recipients.size(), 0);
  view.message = std::move(message);
  return view;
}

// Goes through what the request selects, and tells what cannot be read.
class Walk {
 public:
  Walk(OfflineQueue* queue, const engine::QueueRequest& request)
      : queue_(queue), request_(request), now_(absl::Now()) {}

  // False stops.
  using Visit = std::function<bool(queue::RecoveredMessage)>;
  int Run(const Visit& visit) {
    for (const std::string& damage : queue_->damage()) Damage(damage);
    const std::vector<QueueId>& ids = request_.selector.ids;
    if (ids.empty()) {
      const std::vector<std::string> gaps =
          queue_->ForEach([&](QueueId id, absl::StatusOr<queue::RecoveredMessage> found) {
            Look(id, std::move(found), visit);
          });
      for (const std::string& gap : gaps) Damage(gap);
      return exit_;
    }
    for (const QueueId id : ids) {
      absl::StatusOr<queue::RecoveredMessage> found = queue_->ReadMessage(id);
      if (absl::IsNotFound(found.status())) {
        Complain(fmt::format("{}: no such message in the queue", id.ToString()));
        if (exit_ == 0) exit_ = kExitNoInput;
      } else {
        Look(id, std::move(found), visit);
      }
    }
    return exit_;
  }
  void Damage(const std::string& text) {
    Complain(text);
    exit_ = kExitDamage;
  }
  absl::Time now() const { return now_; }

 private:
  void Look(QueueId id, absl::StatusOr<queue::RecoveredMessage> found, const Visit& visit) {
    if (stopped_) return;
    if (!found.ok()) {
      Damage(fmt::format("{}: cannot be read: {}", id.ToString(), Text(found.status())));
      return;
    }
    if (!request_.selector.FitsMessage(*found, now_)) return;
    if (request_.selector.state && !request_.selector.FitsJobs(ViewOf(*found, now_).jobs)) return;
    stopped_ = !visit(*std::move(found));
  }

  OfflineQueue* const queue_;
  const engine::QueueRequest& request_;
  const absl::Time now_;
  bool stopped_ = false;
  int exit_ = 0;
};

int List(OfflineQueue* queue, const engine::QueueRequest& request, bool as_json) {
  Walk walk(queue, request);
  MailqPrinter printer;
  const int exit = walk.Run([&](queue::RecoveredMessage message) {
    const Json json = engine::ListJson(ViewOf(std::move(message), walk.now()), walk.now());
    if (as_json) {
      std::printf("%s\n", engine::LineOf(json).c_str());
    } else {
      printer.Print(json);
    }
    return true;
  });
  if (!as_json) printer.Finish();
  return exit;
}

int Show(OfflineQueue* queue, const engine::QueueRequest& request, bool as_json) {
  Walk walk(queue, request);
  return walk.Run([&](queue::RecoveredMessage message) {
    const Json json = engine::ShowJson(ViewOf(std::move(message), walk.now()), walk.now());
    if (as_json) {
      std::printf("%s\n", engine::LineOf(json).c_str());
    } else {
      PrintShown(json);
    }
    return true;
  });
}

absl::Status ExportOne(OfflineQueue* queue, const queue::RecoveredMessage& message,
                       ExportDirectory* directory) {
  absl::Status status = directory->Begin(engine::ExportJson(message));
  for (uint32_t chunk = 0; chunk < message.envelope.chunks && status.ok(); ++chunk) {
    const absl::StatusOr<std::string> content = queue->ReadChunk(message.envelope.id, chunk);
    // Missing or damaged: the message's trouble, not the directory's.
    if (!content.ok()) {
      directory->Drop();
      return absl::DataLossError(Text(content.status()));
    }
    status = directory->Write(*content);
  }
  return status.ok() ? directory->End() : status;
}

int Export(OfflineQueue* queue, const engine::QueueRequest& request, const std::string& target) {
  ExportDirectory directory(target);
  absl::Status status = directory.Open();
  Walk walk(queue, request);
  int exit = 0;
  if (status.ok()) {
    exit = walk.Run([&](const queue::RecoveredMessage& message) {
      status = ExportOne(queue, message, &directory);
      if (absl::IsDataLoss(status)) {
        walk.Damage(
            fmt::format("{}: not exported: {}", message.envelope.id.ToString(), Text(status)));
        status = absl::OkStatus();
      }
      return status.ok();
    });
  }
  if (!status.ok()) {
    Complain(Text(status));
    return kExitCannotWrite;
  }
  std::printf("export: %llu messages in %s\n", static_cast<unsigned long long>(directory.written()),
              target.c_str());
  return exit;
}

int Verify(OfflineQueue* queue, bool as_json) {
  const OfflineQueue::Report report = queue->Verify();
  const std::pair<const char*, uint64_t> figures[] = {
      {"messages", report.messages},
      {"recipients_owed", report.recipients_owed},
      {"held", report.held},
      {"deferred", report.deferred},
      {"content_records", report.content_records},
      {"content_octets", report.content_octets},
      {"orphans", report.orphans},
      {"damaged_messages", report.damaged_messages},
      {"incomplete_messages", report.incomplete_messages}};
  if (as_json) {
    Json json = {{"sound", report.sound()}, {"problems", report.problems}};
    json["problems_left_out"] = report.problems_left_out;
    for (const auto& [name, value] : figures) json[name] = value;
    std::printf("%s\n", engine::LineOf(json).c_str());
  } else {
    for (const auto& [name, value] : figures) {
      std::printf("%-20s %llu\n", name, static_cast<unsigned long long>(value));
    }
    for (const std::string& problem : report.problems) Complain(problem);
    if (report.problems_left_out > 0) {
      Complain(fmt::format("and {} more problems", report.problems_left_out));
    }
    std::printf("%s\n", report.sound() ? "the queue is sound" : "the queue is damaged");
  }
  return report.sound() ? 0 : kExitDamage;
}

}  // namespace

int QueueOffline(const std::string& queue_directory, const QueueArguments& arguments,
                 const Json& request, const std::vector<std::string>& ids) {
  engine::QueueRequest parsed;
  if (arguments.action != "verify") {
    Json whole = request;
    if (!ids.empty()) whole["ids"] = ids;
    absl::StatusOr<engine::QueueRequest> checked = engine::ParseQueueRequest(engine::LineOf(whole));
    if (!checked.ok()) {
      Complain(Text(checked.status()));
      return 64;  // EX_USAGE
    }
    parsed = *std::move(checked);
    if (parsed.selector.nexthop) {
      Complain("--nexthop needs a running engine: routes are not in the queue's files");
      return 64;
    }
  }
  absl::StatusOr<std::unique_ptr<OfflineQueue>> queue =
      queue::OpenOfflineQueue(queue_directory, nullptr);
  if (!queue.ok()) {
    Complain(Text(queue.status()));
    if (absl::IsFailedPrecondition(queue.status())) return kExitInUse;
    if (absl::IsNotFound(queue.status())) return kExitNoInput;
    return absl::IsPermissionDenied(queue.status()) ? 77 : kExitDamage;
  }
  if (arguments.action == "verify") return Verify(queue->get(), arguments.json);
  if (arguments.action == "show") return Show(queue->get(), parsed, arguments.json);
  if (arguments.action == "export") return Export(queue->get(), parsed, arguments.target);
  return List(queue->get(), parsed, arguments.json);
}

}  // namespace mailrace::tools

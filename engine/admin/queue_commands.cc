#include "engine/admin/queue_commands.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "base/text.h"
#include "engine/admin/exported_message.h"
#include "engine/admin/message_view.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "transport/smtp/base64.h"

namespace mailrace::engine {

namespace {

using Json = nlohmann::json;
using Verb = QueueRequest::Verb;
using Slice = std::shared_ptr<WalkSlice>;

// A reader that takes nothing for so long is given up.
constexpr absl::Duration kWriteTimeout = absl::Seconds(30);
constexpr size_t kSendOctets = 64 * 1024;

std::string TextOf(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

Json ErrorJson(const absl::Status& status) { return {{"error", TextOf(status)}}; }

// The end of an answer: without it something is missing.
Json EndOf(uint64_t messages) { return {{"summary", {{"matched", messages}}}}; }

std::string ListLines(const WalkSlice& slice, absl::Time now) {
  std::string lines;
  for (const UnreadableMessage& unreadable : slice.unreadable) {
    lines += LineOf({{"queue_id", unreadable.id.ToString()}, {"unreadable", unreadable.why}});
    lines += '\n';
  }
  for (const WalkedMessage& walked : slice.messages) {
    lines += LineOf(ListJson(walked.view, now));
    lines += '\n';
  }
  return lines;
}

struct Tally {
  uint64_t matched = 0, changed = 0, after_attempt = 0, unchanged = 0, failed = 0, missing = 0;
};

// What became of one message; counts it.
Json ResultOf(const QueueRequest& request, const WalkedMessage& walked, Tally* tally) {
  Json json = {{"queue_id", walked.view.message.envelope.id.ToString()}};
  ++tally->matched;
  if (request.dry_run) {
    json["result"] = "would be done";
    json["queue_name"] = StateName(walked.view);
    return json;
  }
  if (!walked.status.ok()) {
    ++tally->failed;
    json["result"] = "failed";
    json["why"] = TextOf(walked.status);
    return json;
  }
  switch (walked.result) {
    case OperationResult::kDone:
      ++tally->changed;
      json["result"] = "done";
      break;
    case OperationResult::kAfterAttempt:
      ++tally->after_attempt;
      json["result"] = "after attempt";
      json["why"] =
          "in delivery just now: done when this attempt ends, unless it delivers the message";
      break;
    case OperationResult::kUnchanged:
      ++tally->unchanged;
      json["result"] = "unchanged";
      json["why"] = request.verb == Verb::kRelease     ? "not on hold"
                    : request.verb == Verb::kHold      ? "on hold already"
                    : StateName(walked.view) == "hold" ? "on hold"
                                                       : "being tried already";
      break;
    case OperationResult::kSuspended:
      ++tally->unchanged;
      json["result"] = "unchanged";
      json["why"] = "its destination was suspended by an operator";
      break;
    case OperationResult::kNotHere:
      ++tally->missing;
      json["result"] = "not found";
      json["why"] = "it ended meanwhile";
      break;
  }
  return json;
}

Json SummaryJson(const QueueRequest& request, const Tally& tally) {
  Json json = {{"matched", tally.matched}};
  if (request.dry_run) {
    json["dry_run"] = true;
  } else {
    json["changed"] = tally.changed;
    json["after_attempt"] = tally.after_attempt;
    json["unchanged"] = tally.unchanged;
    json["failed"] = tally.failed;
  }
  json["not_found"] = tally.missing;
  return {{"summary", std::move(json)}};
}

}  // namespace

void Say(transport::Stream* stream, const Json& json) {
  stream->output().Append(LineOf(json));
  stream->output().Append("\n");
}

Task<absl::Status> QueueCommands::SendIfMuch(transport::Stream* stream, size_t much) {
  if (stream->output().size() < much) co_return absl::OkStatus();
  const absl::Status sent = co_await stream->Flush(calls_->loop()->now() + kWriteTimeout);
  co_return sent;
}

Task<void> QueueCommands::Handle(QueueRequest asked, transport::Stream* stream) {
  auto request = std::make_shared<const QueueRequest>(std::move(asked));
  switch (request->verb) {
    case Verb::kList:
      co_await List(std::move(request), stream);
      break;
    case Verb::kShow:
      co_await Show(std::move(request), stream);
      break;
    case Verb::kExport:
      co_await Export(std::move(request), stream);
      break;
    case Verb::kSuspend:
    case Verb::kResume:
      co_await Suspend(std::move(request), stream);
      break;
    case Verb::kFlush:
      if (request->selector.without_conditions() && !request->dry_run && !request->verbose) {
        co_await FlushAll(stream);
      } else {
        co_await Change(std::move(request), stream);
      }
      break;
    default:
      co_await Change(std::move(request), stream);
  }
}

Task<void> QueueCommands::List(Request request, transport::Stream* stream) {
  const absl::Time now = clock_->Wall();
  uint64_t messages = 0;
  QueueWalk walk(calls_, request, now);
  while (true) {
    absl::StatusOr<std::optional<Slice>> slice = co_await walk.Next();
    if (!slice.ok()) {
      Say(stream, ErrorJson(slice.status()));
      co_return;
    }
    if (!*slice) break;
    const Slice here = **slice;
    if (here->messages.empty() && here->unreadable.empty()) continue;
    messages += here->messages.size();
    // Making text of hundreds of messages takes milliseconds: not on a shard.
    std::function<std::string(queue::Store*)> format = [here, now](queue::Store*) {
      return ListLines(*here, now);
    };
    const absl::StatusOr<std::string> lines = co_await calls_->Read<std::string>(std::move(format));
    if (!lines.ok()) {
      Say(stream, ErrorJson(lines.status()));
      co_return;
    }
    stream->output().Append(*lines);
    const absl::Status sent = co_await SendIfMuch(stream, kSendOctets);
    if (!sent.ok()) co_return;
  }
  Say(stream, EndOf(messages));
}

Task<void> QueueCommands::Show(Request request, transport::Stream* stream) {
  const absl::Time now = clock_->Wall();
  absl::flat_hash_set<QueueId> shown;
  QueueWalk walk(calls_, request, now);
  while (true) {
    absl::StatusOr<std::optional<Slice>> slice = co_await walk.Next();
    if (!slice.ok()) {
      Say(stream, ErrorJson(slice.status()));
      co_return;
    }
    if (!*slice) break;
    for (const UnreadableMessage& unreadable : (**slice)->unreadable) {
      shown.insert(unreadable.id);
      Say(stream, {{"queue_id", unreadable.id.ToString()}, {"unreadable", unreadable.why}});
    }
    for (const WalkedMessage& walked : (**slice)->messages) {
      shown.insert(walked.view.message.envelope.id);
      Say(stream, ShowJson(walked.view, now));
      const absl::Status sent = co_await SendIfMuch(stream, kSendOctets);
      if (!sent.ok()) co_return;
    }
  }
  for (const QueueId id : request->selector.ids) {
    if (!shown.contains(id)) {
      Say(stream, {{"queue_id", id.ToString()}, {"result", "not found"}});
    }
  }
  Say(stream, EndOf(shown.size()));
}

Task<void> QueueCommands::Export(Request request, transport::Stream* stream) {
  uint64_t messages = 0;
  QueueWalk walk(calls_, request, clock_->Wall());
  while (true) {
    absl::StatusOr<std::optional<Slice>> slice = co_await walk.Next();
    if (!slice.ok()) {
      Say(stream, ErrorJson(slice.status()));
      co_return;
    }
    if (!*slice) break;
    const Slice here = **slice;
    messages += here->messages.size();
    for (const UnreadableMessage& unreadable : here->unreadable) {
      Say(stream, {{"queue_id", unreadable.id.ToString()}, {"unreadable", unreadable.why}});
    }
    for (WalkedMessage& walked : here->messages) {
      co_await ExportOne(std::move(walked.view.message), stream);
      const absl::Status sent = co_await SendIfMuch(stream, kSendOctets);
      if (!sent.ok()) co_return;
    }
  }
  Say(stream, EndOf(messages));
}

// Body record by body record: a large message is never whole in memory.
Task<void> QueueCommands::ExportOne(queue::RecoveredMessage message, transport::Stream* stream) {
  using Chunk = absl::StatusOr<std::string>;
  Say(stream, {{"envelope", ExportJson(message)}});
  const QueueId id = message.envelope.id;
  for (uint32_t number = 0; number < message.envelope.chunks; ++number) {
    std::function<Chunk(queue::Store*)> read = [id, number](queue::Store* store) -> Chunk {
      Chunk chunk = store->ReadChunk(id, number);
      if (!chunk.ok()) return chunk.status();
      return "{\"content\":\"" + transport::smtp::EncodeBase64(*chunk) + "\"}\n";
    };
    absl::StatusOr<Chunk> line = co_await calls_->Read<Chunk>(std::move(read));
    const absl::Status status = line.ok() ? line->status() : line.status();
    if (!status.ok()) {
      // Delivered meanwhile, or damaged.
      Say(stream, {{"broken", TextOf(status)}});
      co_return;
    }
    stream->output().Append(**line);
    const absl::Status sent = co_await SendIfMuch(stream, kSendOctets);
    if (!sent.ok()) co_return;
  }
  Say(stream, {{"end", true}});
}

Task<void> QueueCommands::Change(Request request, transport::Stream* stream) {
  Tally tally;
  absl::flat_hash_set<QueueId> met;  // Of a request that lists ids: bounded by its size.
  const bool lists_ids = !request->selector.ids.empty();
  QueueWalk walk(calls_, request, clock_->Wall());
  bool listening = true;
  while (true) {
    absl::StatusOr<std::optional<Slice>> slice = co_await walk.Next();
    if (!slice.ok()) {
      Say(stream, ErrorJson(slice.status()));
      break;
    }
    if (!*slice) break;
    const Slice here = **slice;
    for (const UnreadableMessage& unreadable : here->unreadable) {
      if (lists_ids) met.insert(unreadable.id);
      ++tally.failed;
      Say(stream,
          {{"queue_id", unreadable.id.ToString()}, {"result", "failed"}, {"why", unreadable.why}});
    }
    for (const WalkedMessage& walked : here->messages) {
      if (lists_ids) met.insert(walked.view.message.envelope.id);
      const Json result = ResultOf(*request, walked, &tally);
      const bool quiet = !request->verbose && !request->dry_run && walked.status.ok() &&
                         walked.result == OperationResult::kDone;
      if (!quiet) Say(stream, result);
    }
    const absl::Status sent = co_await SendIfMuch(stream, kSendOctets);
    // Whoever asked went away: what was asked for in one go is not left half-done.
    if (!sent.ok()) listening = false;
    if (!listening) stream->output().Clear();
  }
  for (const QueueId id : request->selector.ids) {
    if (met.contains(id)) continue;
    ++tally.missing;
    Say(stream, {{"queue_id", id.ToString()}, {"result", "not found"}});
  }
  Say(stream, SummaryJson(*request, tally));
}

Task<void> QueueCommands::FlushAll(transport::Stream* stream) {
  std::function<size_t(ShardRuntime*)> ask = [](ShardRuntime* runtime) {
    const size_t deferred = runtime->shard->counts().deferred;
    runtime->shard->Flush();
    return deferred;
  };
  const absl::StatusOr<std::vector<size_t>> flushed =
      co_await calls_->AskAll<size_t>(std::move(ask));
  if (!flushed.ok()) {
    Say(stream, ErrorJson(flushed.status()));
    co_return;
  }
  Tally tally;
  for (const size_t n : *flushed) tally.matched += n;
  tally.changed = tally.matched;
  Say(stream, SummaryJson(QueueRequest(), tally));
}

Task<absl::Status> QueueCommands::SaveSuspensions() {
  std::function<absl::Status(queue::Store*)> save = [list = suspensions_,
                                                     directory = queue_directory_](queue::Store*) {
    return engine::SaveSuspensions(directory, list);
  };
  const absl::StatusOr<absl::Status> saved = co_await calls_->Read<absl::Status>(std::move(save));
  if (!saved.ok()) co_return saved.status();
  co_return *saved;
}

Task<void> QueueCommands::Suspend(Request request, transport::Stream* stream) {
  const bool suspend = request->verb == Verb::kSuspend;
  // Bracketed relays are written as configured; domains are routed in lower case.
  std::string nexthop = Printable(*request->selector.nexthop, 512);
  if (!nexthop.starts_with('[')) nexthop = AsciiLowered(nexthop);
  const std::string reason = request->reason.empty() ? "no reason given" : request->reason;
  const auto found = std::find_if(suspensions_.begin(), suspensions_.end(),
                                  [&](const Suspension& each) { return each.nexthop == nexthop; });
  const bool known = found != suspensions_.end();
  if (suspend && suspensions_.size() >= kSuspensionsMax) {
    Say(stream, {{"error", "too many destinations are suspended"}});
    co_return;
  }
  const bool change = suspend != known;
  if (change && !request->dry_run) {
    const Suspension entry = known ? *found : Suspension{nexthop, reason, clock_->Wall()};
    if (suspend) {
      suspensions_.push_back(entry);
    } else {
      suspensions_.erase(found);
    }
    // The reader's thread writes the lists in the order in which they came about.
    const absl::Status saved = co_await SaveSuspensions();
    if (!saved.ok()) {
      // Others may have changed the list meanwhile: this entry alone is put back.
      std::erase(suspensions_, entry);
      if (known) suspensions_.push_back(entry);
      Say(stream, ErrorJson(saved));
      co_return;
    }
    std::function<int(ShardRuntime*)> ask = [suspend, nexthop, reason](ShardRuntime* runtime) {
      ShardOperations& operations = runtime->shard->operations();
      return suspend ? operations.Suspend(nexthop, reason) : operations.Resume(nexthop);
    };
    const absl::StatusOr<std::vector<int>> asked = co_await calls_->AskAll<int>(std::move(ask));
    if (!asked.ok()) {
      Say(stream, ErrorJson(asked.status()));
      co_return;
    }
  }
  Json summary = {{"nexthop", nexthop}, {"changed", change ? 1 : 0}};
  if (request->dry_run) summary["dry_run"] = true;
  Say(stream, {{"summary", std::move(summary)}});
}

}  // namespace mailrace::engine

#include "engine/admin/queue_walk.h"

#include <algorithm>

#include "engine/routing/router.h"

namespace mailrace::engine {

// What the store knows of a slice. Read by all shards, changed by none.
struct QueueWalk::Found {
  std::vector<queue::RecoveredMessage> messages;
  std::vector<UnreadableMessage> unreadable;
  std::optional<QueueId> next;
  absl::Status status;
};

// What one shard says of it; parallel to Found::messages.
struct QueueWalk::ShardAnswer {
  struct Entry {
    std::vector<JobFacts> jobs;
    std::vector<size_t> job_of;
    OperationResult result = OperationResult::kNotHere;
    absl::Status status;
  };
  std::vector<Entry> entries;
  // Answers and durabilities of operations that have not come, and the visit itself.
  size_t outstanding = 1;
};

namespace {

std::string Why(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

std::vector<size_t> JobsOfRecipients(const queue::RecoveredMessage& message,
                                     const std::vector<JobFacts>& jobs, const Settings& settings) {
  std::vector<size_t> job_of(message.envelope.recipients.size(), jobs.size() == 1 ? 0 : SIZE_MAX);
  for (size_t i = 0; i < job_of.size() && jobs.size() > 1; ++i) {
    const std::string nexthop = NexthopOf(message.envelope, i, settings);
    for (size_t j = 0; j < jobs.size(); ++j) {
      if (jobs[j].nexthop == nexthop) job_of[i] = j;
    }
  }
  return job_of;
}

}  // namespace

Task<absl::StatusOr<std::shared_ptr<QueueWalk::Found>>> QueueWalk::ReadSlice() {
  using Result = std::shared_ptr<Found>;
  const std::vector<QueueId>& listed = request_->selector.ids;
  std::function<Result(queue::Store*)> work;
  if (!listed.empty()) {
    const size_t begin = listed_;
    const size_t end = std::min(listed.size(), begin + kSliceMessages);
    listed_ = end;
    if (end == listed.size()) next_.reset();
    work = [request = request_, begin, end, now = now_](queue::Store* store) {
      auto found = std::make_shared<Found>();
      for (size_t i = begin; i < end; ++i) {
        const QueueId id = request->selector.ids[i];
        absl::StatusOr<queue::RecoveredMessage> message = store->ReadMessage(id);
        if (!message.ok()) {
          if (absl::IsNotFound(message.status())) continue;
          found->unreadable.push_back({id, Why(message.status())});
        } else if (request->selector.FitsMessage(*message, now)) {
          found->messages.push_back(*std::move(message));
        }
      }
      return found;
    };
  } else {
    work = [request = request_, from = *next_, now = now_](queue::Store* store) {
      auto found = std::make_shared<Found>();
      const absl::StatusOr<std::optional<QueueId>> next = store->Scan(
          from, kSliceMessages, [&](QueueId id, absl::StatusOr<queue::RecoveredMessage> message) {
            if (!message.ok()) {
              found->unreadable.push_back({id, Why(message.status())});
            } else if (request->selector.FitsMessage(*message, now)) {
              found->messages.push_back(*std::move(message));
            }
          });
      if (next.ok()) {
        found->next = *next;
      } else {
        found->status = next.status();
      }
      return found;
    };
  }
  absl::StatusOr<Result> found = co_await calls_->Read<Result>(std::move(work));
  if (!found.ok()) co_return found.status();
  if (!(*found)->status.ok()) co_return (*found)->status;
  if (listed.empty()) next_ = (*found)->next;
  co_return *std::move(found);
}

// On a shard: looks, and does what is asked for to what is here and fits.
void QueueWalk::Visit(ShardRuntime* runtime, const Found& found, const QueueRequest& request,
                      std::function<void(std::shared_ptr<ShardAnswer>)> answer) {
  ShardOperations& operations = runtime->shard->operations();
  const Settings& settings = *runtime->shard->context().settings;
  const std::optional<Operation::Kind> kind = request.operation();
  auto mine = std::make_shared<ShardAnswer>();
  mine->entries.resize(found.messages.size());
  const auto end_one = [mine, answer] {
    if (--mine->outstanding == 0) answer(mine);
  };
  for (size_t i = 0; i < found.messages.size(); ++i) {
    const queue::RecoveredMessage& message = found.messages[i];
    ShardAnswer::Entry& entry = mine->entries[i];
    entry.jobs = operations.Look(message);
    if (entry.jobs.empty()) continue;
    entry.job_of = JobsOfRecipients(message, entry.jobs, settings);
    if (!kind || request.dry_run || !request.selector.FitsJobs(entry.jobs)) continue;
    mine->outstanding += 2;
    operations.Operate(
        message.envelope.id, {*kind, request.reason},
        [mine, i, end_one](OperationResult result) {
          mine->entries[i].result = result;
          end_one();
        },
        [mine, i, end_one](absl::Status status) {
          mine->entries[i].status = std::move(status);
          end_one();
        });
  }
  end_one();
}

Task<absl::StatusOr<std::optional<std::shared_ptr<WalkSlice>>>> QueueWalk::Next() {
  if (!next_) co_return std::optional<std::shared_ptr<WalkSlice>>();
  absl::StatusOr<std::shared_ptr<Found>> read = co_await ReadSlice();
  if (!read.ok()) co_return read.status();
  const std::shared_ptr<Found> found = *std::move(read);
  auto slice = std::make_shared<WalkSlice>();
  slice->unreadable = std::move(found->unreadable);
  if (found->messages.empty()) co_return std::optional(std::move(slice));

  using Answer = std::shared_ptr<ShardAnswer>;
  ShardCalls::AskLater<Answer> ask =
      [found, request = request_](ShardRuntime* runtime, std::function<void(Answer)> answer) {
        Visit(runtime, *found, *request, std::move(answer));
      };
  absl::StatusOr<std::vector<Answer>> answers =
      co_await calls_->AskAllLater<Answer>(std::move(ask));
  if (!answers.ok()) co_return answers.status();
  for (size_t i = 0; i < found->messages.size(); ++i) {
    WalkedMessage walked;
    walked.view.message = std::move(found->messages[i]);
    for (const Answer& answer : *answers) {
      ShardAnswer::Entry& entry = answer->entries[i];
      if (entry.jobs.empty()) continue;
      walked.view.jobs = std::move(entry.jobs);
      walked.view.job_of = std::move(entry.job_of);
      walked.result = entry.result;
      walked.status = std::move(entry.status);
    }
    // In the store but on no shard: it ended since, or is just being taken up.
    if (walked.view.jobs.empty() || !request_->selector.FitsJobs(walked.view.jobs)) continue;
    slice->messages.push_back(std::move(walked));
  }
  co_return std::optional(std::move(slice));
}

}  // namespace mailrace::engine

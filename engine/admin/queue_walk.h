// Goes through the messages that a request selects, slice by slice in the order of their
// ids, joined with what their jobs are doing; and, for a verb that changes something, does
// it in the same step, so that what was looked at is what is changed. Little memory and
// little time of any shard, whatever the queue's size. Lives on the first shard.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/admin/message_view.h"
#include "engine/admin/queue_request.h"
#include "engine/admin/shard_calls.h"

namespace mailrace::engine {

struct WalkedMessage {
  MessageView view;
  // Of the request's operation, if it has one and this was no dry run.
  OperationResult result = OperationResult::kNotHere;
  absl::Status status;  // Not OK: the operation was begun and could not be ended.
};

struct UnreadableMessage {
  QueueId id;
  std::string why;
};

struct WalkSlice {
  std::vector<WalkedMessage> messages;  // Those that the request selects.
  std::vector<UnreadableMessage> unreadable;
};

class QueueWalk {
 public:
  // Messages looked at in one go.
  static constexpr size_t kSliceMessages = 256;

  // `calls` is borrowed; `now` is the moment that ages are reckoned from.
  QueueWalk(ShardCalls* calls, std::shared_ptr<const QueueRequest> request, absl::Time now)
      : calls_(calls), request_(std::move(request)), now_(now) {}

  // The next slice, maybe empty; nothing at the end. When it comes, all that was done to
  // its messages is durable. An error ends the walk.
  Task<absl::StatusOr<std::optional<std::shared_ptr<WalkSlice>>>> Next();

 private:
  struct Found;
  struct ShardAnswer;
  Task<absl::StatusOr<std::shared_ptr<Found>>> ReadSlice();
  static void Visit(ShardRuntime* runtime, const Found& found, const QueueRequest& request,
                    std::function<void(std::shared_ptr<ShardAnswer>)> answer);

  ShardCalls* const calls_;
  const std::shared_ptr<const QueueRequest> request_;  // Shared with calls on their way.
  const absl::Time now_;
  std::optional<QueueId> next_ = QueueId{};
  size_t listed_ = 0;  // Of the request's own list of ids, if it has one.
};

}  // namespace mailrace::engine

// Fresh queue ids of one shard: microseconds of the wall clock and the shard's number,
// always above every id that was used before, whatever the clock does.
#pragma once

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"
#include "base/queue_id.h"

namespace mailrace::engine {

class QueueIdSource {
 public:
  static constexpr int kShardBits = 8;
  static constexpr int kShardsMax = 1 << kShardBits;

  // `highest_id`: of the store at start. REQUIRES: 0 <= shard < kShardsMax.
  QueueIdSource(int shard, uint64_t highest_id)
      : shard_(static_cast<uint64_t>(shard)), last_(highest_id >> kShardBits) {}

  QueueId Next(absl::Time now) {
    const auto micros = static_cast<uint64_t>(std::max<int64_t>(0, absl::ToUnixMicros(now)));
    last_ = std::max(last_ + 1, micros);
    return {last_ << kShardBits | shard_};
  }

  // Every id that was given is at most this, every later one is above.
  QueueId last() const { return {last_ << kShardBits | (kShardsMax - 1)}; }

  // When the id was made; later than that if the clock was set back.
  static absl::Time TimeOf(QueueId id) {
    return absl::FromUnixMicros(static_cast<int64_t>(id.value >> kShardBits));
  }

  // No id below it was given since `time`.
  static QueueId FirstAt(absl::Time time) {
    const auto micros = static_cast<uint64_t>(std::max<int64_t>(0, absl::ToUnixMicros(time)));
    return {micros << kShardBits};
  }

  // The shard that gave the id.
  static int GivenBy(QueueId id) { return static_cast<int>(id.value & (kShardsMax - 1)); }

  // Which of `shards` delivers a message found at start.
  static int ShardOf(QueueId id, int shards) {
    return static_cast<int>((id.value >> kShardBits) % static_cast<uint64_t>(shards));
  }

 private:
  const uint64_t shard_;
  uint64_t last_;
};

}  // namespace mailrace::engine

// A whole run: the sending thread with its ring, and all senders on it.
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "tools/blast/composer.h"
#include "tools/blast/sender.h"
#include "tools/blast/tally.h"
#include "tools/common/append_file.h"
#include "transport/uring/uring_shard.h"

namespace mailrace::blast {

class Loader {
 public:
  // `clock` is borrowed. `on_end` runs on the sending thread as its last act.
  Loader(const Clock* clock, BlastOptions options, std::function<void()> on_end);
  // REQUIRES: Join() if Start() succeeded.
  ~Loader() = default;

  // After an error nothing runs.
  absl::Status Start();

  // --- Any thread, while it runs. ---
  // Nothing new is begun; what is under way is sent to its end.
  void Stop();
  // Everything ends at once.
  void Cancel();

  // Waits for the end. An error of the ledger's.
  absl::Status Join();
  // Its counters at any time, the rest after Join().
  const Tally& tally() const { return tally_; }
  // Since the start; after Join(), how long the run took.
  // When the first message was due, by the wall clock: others write their times so.
  absl::Time started() const { return started_wall_; }
  absl::Duration elapsed() const { return (joined_ ? ended_ : clock_->Mono()) - started_; }

 private:
  void Run(std::promise<absl::Status> opened);
  // Ring, senders, the end of the run.
  void Send(transport::uring::UringShard* shard);
  void Post(std::function<void()> call);
  Task<void> FlushLedger(const bool* over);

  const Clock* const clock_;
  const BlastOptions options_;
  const std::function<void()> on_end_;
  std::optional<Composer> composer_;
  std::shared_ptr<const transport::tls::Context> tls_;
  tools::AppendFile ledger_;
  Tally tally_;
  std::thread thread_;
  MonoTime started_;
  absl::Time started_wall_;
  MonoTime ended_;              // Read after the thread's end only.
  absl::Status ledger_status_;  // Likewise.
  bool joined_ = false;

  std::mutex mutex_;
  std::vector<std::function<void()>> calls_;       // Guarded by mutex_.
  transport::uring::UringShard* shard_ = nullptr;  // Guarded by mutex_.
  bool over_ = false;                              // Guarded by mutex_.

  // Of the sending thread.
  SenderContext context_;
  std::vector<std::unique_ptr<Sender>> senders_;
};

}  // namespace mailrace::blast

// The entropy service of a running engine: an EntropyCore on a thread of its own, so that
// a slow device or server holds nobody up. One a process; shards only read its epoch.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "engine/entropy/entropy_core.h"

namespace mailrace::entropy {

class EntropyService {
 public:
  // Seeds for the first time before it returns (at most options.read_time_limit), then
  // goes on by itself. `clock`, `random` (both thread-safe) and `logger` outlive the
  // service; `sink` is called on the caller's and then on the service's thread. Errors as
  // EntropyCore::Start. options.cancel_fd is the service's own.
  static absl::StatusOr<std::unique_ptr<EntropyService>> Start(EntropyOptions options,
                                                               const Clock* clock, Random* random,
                                                               Logger* logger, Sink sink);
  // Ends a read that is under way, saves the exchange file, joins the thread.
  ~EntropyService();
  EntropyService(const EntropyService&) = delete;
  EntropyService& operator=(const EntropyService&) = delete;

  // Any thread, as EntropyCore's.
  uint64_t epoch() const { return core_->epoch(); }
  absl::Status ReadyForTls() const { return core_->ReadyForTls(); }
  absl::StatusOr<std::string> Seed(int64_t octets) { return core_->Seed(octets); }
  // Any thread: the figures after the last event.
  EntropyStats stats() const;

 private:
  EntropyService(int cancel_fd, const Clock* clock);
  void Run();
  void Publish();

  const int cancel_fd_;  // eventfd(2): readable once the service is to end.
  const Clock* const clock_;
  std::unique_ptr<EntropyCore> core_;
  mutable std::mutex mutex_;
  EntropyStats published_;  // Guarded by mutex_.
  std::thread thread_;
};

}  // namespace mailrace::entropy

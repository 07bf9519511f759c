// What tlsmgr(8) does for Postfix, within the process: seeds at start, reseeds from
// tls_random_source at unpredictable times, keeps an exchange file. It adds to the TLS
// library's own entropy and never replaces it, and no failure ever stops a running
// session. Without a thread; one thread at a time, except where a method says any.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/logger.h"
#include "base/random.h"
#include "engine/entropy/entropy_source.h"
#include "engine/entropy/exchange_file.h"

namespace mailrace::entropy {

// Takes octets to be mixed into the TLS library's generator.
using Sink = std::function<void(std::string_view)>;

struct EntropyOptions {
  std::string source = "dev:/dev/urandom";             // tls_random_source
  int64_t octets = 32;                                 // tls_random_bytes
  int64_t reseed_period_seconds = 3600;                // tls_random_reseed_period
  int64_t update_period_seconds = 3600;                // tls_random_prng_update_period
  std::string exchange_file;                           // tls_random_exchange_name; may be empty
  absl::Duration read_time_limit = absl::Seconds(10);  // Postfix's TLS_MGR_TIMEOUT.
  absl::Duration retry_pause = absl::Seconds(1);       // Before a failed source is reopened;
  absl::Duration retry_pause_max = absl::Seconds(60);  // doubles up to this.
  int cancel_fd = -1;                                  // Readable: reads end at once.
  // Whether the kernel's generator is initialised, as the library seeds itself from it.
  // Empty: asks getrandom(2).
  std::function<bool()> kernel_ready;
};

struct EntropyStats {
  std::string source;  // As configured.
  bool source_open = false;
  uint64_t octets_from_source = 0;
  uint64_t octets_from_exchange_file = 0;
  uint64_t reseeds = 0;  // Reads of the source that succeeded.
  uint64_t source_failures = 0;
  uint64_t exchange_updates = 0;
  uint64_t exchange_failures = 0;
  std::string exchange_file;  // As configured; empty: none.
  bool exchange_file_open = false;
  MonoTime last_reseed = MonoTime::Infinite();  // Infinite: there was none yet.
  MonoTime next_reseed;
  MonoTime next_exchange_update;  // Infinite without an exchange file.
};

// The time to the next event: uniform over 256 steps from 0 to the whole period, so that
// outsiders cannot predict it.
int64_t NextPeriodSeconds(int64_t period_seconds, uint8_t random_octet);

class EntropyCore {
 public:
  // All are borrowed and outlive the core. `random` must be thread-safe if Seed is
  // called from other threads.
  EntropyCore(EntropyOptions options, const Clock* clock, Random* random, Logger* logger,
              Sink sink);

  // Seeds for the first time. Error: the exchange file cannot be opened or used (Postfix
  // stops there too); a source that fails is only a warning.
  absl::Status Start();
  // Does what is due, each kind of event at most once.
  void Tick();
  // When Tick is to be called next.
  MonoTime next_due() const;
  // Saves the exchange file.
  void Stop();

  const EntropyStats& stats() const { return stats_; }

  // Any thread: changes whenever octets were added to the library's generator. Shards
  // compare it instead of asking at each handshake.
  uint64_t epoch() const { return epoch_.load(std::memory_order_acquire); }
  // Any thread. OK if TLS may start: source, exchange file or kernel gave entropy.
  absl::Status ReadyForTls() const;
  // Any thread: tlsmgr's "seed" request. 1..255 octets, else an error after the warning
  // `bogus seed length "N" in "seed" request`.
  absl::StatusOr<std::string> Seed(int64_t octets);

 private:
  void Mix(std::string_view octets);
  void MixTimeOfDay();
  bool OpenConfiguredSource();
  // True if the source gave octets, or there is none to ask.
  bool ReadSource();
  void LogReadFailure(const absl::Status& why);
  void Reseed();
  void RetrySourceLater();
  absl::Status UpdateExchangeFile();
  void ExchangeEvent();
  MonoTime After(int64_t period_seconds);

  const EntropyOptions options_;
  const Clock* const clock_;
  Random* const random_;
  Logger* const logger_;
  const Sink sink_;

  SourceName source_name_;
  std::unique_ptr<EntropySource> source_;
  std::unique_ptr<ExchangeFile> exchange_;
  absl::Duration pause_;
  EntropyStats stats_;

  std::atomic<uint64_t> epoch_{0};
  std::atomic<bool> seeded_{false};  // By the source or the exchange file.
};

}  // namespace mailrace::entropy

// Which message is sent next, and when it is due. Open loop: with a rate, message n is
// due n/rate after the start however slow the server is, and what it waits counts as
// its latency. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "tools/blast/options.h"

namespace mailrace::blast {

// One message on its way. Moved from hand to hand; nobody else has it.
struct Ticket {
  uint64_t sequence = 0;
  MonoTime due;        // Infinite without a rate: it is due when it is begun.
  bool begun = false;  // It counts: its time has come.
  int attempts = 0;
  std::vector<uint32_t> owed;  // Indices of recipients without a 250.
};

class Schedule {
 public:
  Schedule(const BlastOptions& options, MonoTime start)
      : start_(start),
        end_(start + options.duration),
        messages_(options.messages),
        rate_(options.rate),
        recipients_(options.recipients) {}

  // The next message, nothing when there is no more.
  std::optional<Ticket> Take(MonoTime now);
  // The same, if it is due already.
  std::optional<Ticket> TakeDue(MonoTime now);
  // No more messages.
  void Stop() { stopped_ = true; }
  bool stopped() const { return stopped_; }
  uint64_t taken() const { return next_; }

 private:
  MonoTime Due(uint64_t sequence) const;
  bool Over(MonoTime now) const;

  const MonoTime start_;
  const MonoTime end_;
  const uint64_t messages_;
  const double rate_;
  const uint32_t recipients_;
  uint64_t next_ = 0;
  bool stopped_ = false;
};

}  // namespace mailrace::blast

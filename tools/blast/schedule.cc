#include "tools/blast/schedule.h"

#include <numeric>

namespace mailrace::blast {

MonoTime Schedule::Due(uint64_t sequence) const {
  if (rate_ <= 0) return start_;
  return start_ + absl::Seconds(static_cast<double>(sequence) / rate_);
}

bool Schedule::Over(MonoTime now) const {
  if (stopped_ || (messages_ > 0 && next_ >= messages_)) return true;
  return now >= end_ || Due(next_) >= end_;
}

std::optional<Ticket> Schedule::Take(MonoTime now) {
  if (Over(now)) return std::nullopt;
  Ticket ticket;
  ticket.sequence = next_++;
  ticket.due = rate_ > 0 ? Due(ticket.sequence) : MonoTime::Infinite();
  ticket.owed.resize(recipients_);
  std::iota(ticket.owed.begin(), ticket.owed.end(), 0U);
  return ticket;
}

std::optional<Ticket> Schedule::TakeDue(MonoTime now) {
  if (Due(next_) > now) return std::nullopt;
  return Take(now);
}

}  // namespace mailrace::blast

// The times of a delivery as Postfix logs them: "delay=1.2, delays=0.5/0.1/0.3/0.3".
// Pure functions; any thread.
#pragma once

#include <optional>
#include <string>

#include "absl/time/time.h"

namespace mailrace::logs {

// Postfix's delay_logging_resolution_limit: digits after the point, 0..6.
inline constexpr int kDelayDigitsDefault = 2;

// Two significant digits below 100 s, whole seconds from there on, never more than
// `digits_max` digits after the point, half rounded up, no trailing zeros. A negative
// duration (the wall clock jumped) is 0. REQUIRES: 0 <= digits_max <= 6.
std::string FormatDelay(absl::Duration delay, int digits_max = kDelayDigitsDefault);

// When each stage of one recipient's delivery was reached, by the wall clock. A stamp
// that is missing puts its time into the stage before it, as log_adhoc(3) does.
struct DeliveryStamps {
  absl::Time arrival;                       // The message was accepted.
  std::optional<absl::Time> active;         // Last entry into the active queue.
  std::optional<absl::Time> handed_off;     // A delivery was begun.
  std::optional<absl::Time> connection_up;  // DNS, connect, EHLO, STARTTLS and AUTH done.
  // The end, the same for all recipients of one transaction.
  absl::Time done;
};

// The four figures of "delays=a/b/c/d". Each difference is computed on its own and is
// at least 0, so that they need not add up to the delay.
struct Delays {
  absl::Duration total;            // delay=
  absl::Duration before_active;    // a
  absl::Duration in_active_queue;  // b
  absl::Duration connection;       // c
  absl::Duration transmission;     // d
};
Delays ComputeDelays(const DeliveryStamps& stamps);

// "a/b/c/d".
std::string FormatDelays(const Delays& delays, int digits_max = kDelayDigitsDefault);

}  // namespace mailrace::logs

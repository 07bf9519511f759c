// How much one delivery outcome moves a nexthop's concurrency window:
// default_destination_concurrency_positive_feedback and ..._negative_feedback, as
// Postfix's SCHEDULER_README describes them. Value type.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"

namespace mailrace::queue {

struct Feedback {
  enum class Divisor { kOne, kConcurrency, kSqrtConcurrency };

  double numerator = 1;  // In [0, 1].
  Divisor divisor = Divisor::kOne;

  // "1", "0.5", "1/8", "1/concurrency", "1/sqrt_concurrency". InvalidArgument names what
  // is wrong with it; the caller adds the parameter's name.
  static absl::StatusOr<Feedback> Parse(std::string_view text);

  // One outcome's share of a step, for the window as it is. REQUIRES: window >= 1.
  double At(int window) const;
};

}  // namespace mailrace::queue

#include "queue/feedback.h"

#include <charconv>
#include <cmath>
#include <optional>

#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::queue {

namespace {

std::optional<double> ParseNumber(std::string_view text) {
  text = Trim(text);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  // from_chars also reads "inf" and "nan".
  if (!std::isfinite(value)) return std::nullopt;
  return value;
}

absl::Status Malformed(std::string_view text) {
  return absl::InvalidArgumentError(
      fmt::format("\"{}\" is no concurrency feedback: expected a number from 0 to 1, "
                  "number/number, number/concurrency or number/sqrt_concurrency",
                  Printable(text, 80)));
}

}  // namespace

absl::StatusOr<Feedback> Feedback::Parse(std::string_view text) {
  const size_t slash = text.find('/');
  const auto numerator = ParseNumber(text.substr(0, slash));
  if (!numerator) return Malformed(text);
  Feedback feedback{*numerator, Divisor::kOne};
  if (slash != std::string_view::npos) {
    const std::string_view divisor = Trim(text.substr(slash + 1));
    if (divisor == "concurrency") {
      feedback.divisor = Divisor::kConcurrency;
    } else if (divisor == "sqrt_concurrency") {
      feedback.divisor = Divisor::kSqrtConcurrency;
    } else {
      const auto number = ParseNumber(divisor);
      if (!number || *number <= 0) return Malformed(text);
      feedback.numerator /= *number;
    }
  }
  // Postfix refuses more than a whole step for one outcome.
  if (!(feedback.numerator >= 0 && feedback.numerator <= 1)) return Malformed(text);
  return feedback;
}

double Feedback::At(int window) const {
  switch (divisor) {
    case Divisor::kOne:
      return numerator;
    case Divisor::kConcurrency:
      return numerator / window;
    case Divisor::kSqrtConcurrency:
      return numerator / std::sqrt(window);
  }
  return numerator;
}

}  // namespace mailrace::queue

#include "transport/smtp/stream_window.h"

#include <algorithm>

namespace mailrace::transport::smtp {

size_t StreamWindow::Now(MonoTime now) {
  if (!measuring_ && now - measured_ > kBelieved) {
    measuring_ = true;
    // What other sessions have under way stands in line until then.
    measurable_ = now + latest_;
  }
  return measuring_ ? 1 : std::min(window_, max_);
}

void StreamWindow::Answered(size_t under_way, MonoTime said, MonoTime now) {
  const absl::Duration took = now - said;
  latest_ = took;
  if (measuring_ && under_way == 1 && said >= measurable_) {
    measuring_ = false;
    alone_ = took;
    measured_ = now;
    round_ = 0;
    return;
  }
  alone_ = std::min(alone_, took);
  if (measuring_ || under_way < window_ || said < changed_) return;
  const double share = took > absl::ZeroDuration() ? absl::FDivDuration(alone_, took) : 1.0;
  const double line = static_cast<double>(under_way) * (1.0 - share);
  shortest_line_ = round_ == 0 ? line : std::min(shortest_line_, line);
  ++round_;
  // One that stood in no line says it of the whole round, which would cost a round trip more.
  const bool opens = doubling_ && shortest_line_ < kLineShort;
  if (opens || round_ >= window_) RoundOver(now);
}

void StreamWindow::RoundOver(MonoTime now) {
  round_ = 0;
  const size_t before = window_;
  if (shortest_line_ < kLineShort) {
    window_ = std::min(doubling_ ? window_ * 2 : window_ + 1, std::max(max_, kLeast));
  } else {
    doubling_ = false;
  }
  if (shortest_line_ > kLineLong) {
    const auto excess = static_cast<size_t>(shortest_line_ + 0.5 - kLineLong);
    window_ = std::max(kLeast, window_ - std::min(window_, std::max<size_t>(1, excess)));
  }
  if (window_ != before) changed_ = now;
}

}  // namespace mailrace::transport::smtp

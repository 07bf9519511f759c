#include "engine/mail_age.h"

#include <algorithm>

#include "fmt/format.h"

namespace mailrace::engine {

MailAge::MailAge(const Clock* clock, const QueueIdSource* ids, uint64_t highest_id, Logger* logger)
    : clock_(clock),
      ids_(ids),
      highest_id_(highest_id),
      logger_(logger),
      start_(clock->Mono()),
      wall_at_start_(clock->Wall()) {
  eras_.push_back({0, start_, Offset(), Offset()});
}

absl::Duration MailAge::Offset() const {
  return (clock_->Wall() - absl::UnixEpoch()) - absl::Nanoseconds(clock_->Mono().nanos);
}

void MailAge::Look() {
  const absl::Duration offset = Offset();
  const absl::Duration moved = offset - eras_.back().offset;
  if (absl::AbsDuration(moved) < kJumpLeast) {
    eras_.back().offset = offset;
    return;
  }
  if (logger_ != nullptr) {
    logger_->Warning("qmgr", fmt::format("the system clock was set {} by {}; the age of queued "
                                         "mail goes on as before",
                                         moved < absl::ZeroDuration() ? "back" : "forward",
                                         absl::FormatDuration(absl::AbsDuration(moved))));
  }
  if (eras_.size() == kErasMax) eras_.erase(eras_.begin() + 1);
  eras_.push_back({ids_->last().value + 1, clock_->Mono(), offset, offset});
}

absl::Duration MailAge::Age(const queue::Envelope& envelope, const queue::RetrySchedule& schedule) {
  Look();
  const MonoTime now = clock_->Mono();
  const auto above = std::find_if(eras_.begin() + 1, eras_.end(),
                                  [&](const Era& era) { return era.first_id > envelope.id.value; });
  const Era& era = *(above - 1);
  const absl::Duration stamp = envelope.arrival - absl::UnixEpoch();
  absl::Duration age = absl::Nanoseconds(now.nanos) + era.offset - stamp;
  if (envelope.id.value < highest_id_) {
    const absl::Duration lifetime =
        envelope.reverse_path.empty() ? schedule.bounce_lifetime : schedule.lifetime;
    const absl::Duration at_start = wall_at_start_ - envelope.arrival;
    if (at_start > lifetime + kRestartSlack || at_start < -kRestartSlack) age = now - start_;
    // It was there when we started.
    return std::max(age, now - start_);
  }
  // No older than its era: else it was stamped in one and got its id in the next.
  const absl::Duration slack = kJumpLeast + absl::AbsDuration(era.offset - era.offset_at_begin);
  const bool believable = age > -slack && age < now - era.begin + slack;
  return believable ? std::max(age, absl::ZeroDuration()) : now - era.begin;
}

// Within an era ids grow with the time; they run ahead of a clock that was set back.
QueueId MailAge::YoungerFrom(absl::Duration lifetime) {
  Look();
  const MonoTime now = clock_->Mono();
  QueueId bound{now - start_ >= lifetime ? highest_id_ : 0};
  for (size_t i = 0; i < eras_.size(); ++i) {
    const Era& era = eras_[i];
    const absl::Time began =
        absl::UnixEpoch() + absl::Nanoseconds(era.begin.nanos) + era.offset_at_begin;
    const QueueId first{std::max(era.first_id, i == 0 ? highest_id_ : 0)};
    const absl::Duration ahead =
        std::max(absl::ZeroDuration(), QueueIdSource::TimeOf(first) - began);
    const absl::Time stamp =
        absl::UnixEpoch() + absl::Nanoseconds(now.nanos) + era.offset - lifetime;
    QueueId end = QueueIdSource::FirstAt(stamp + ahead + kJumpLeast);
    if (i + 1 < eras_.size()) end = std::min(end, QueueId{eras_[i + 1].first_id});
    if (end.value > era.first_id) bound = std::max(bound, end);
  }
  return bound;
}

absl::Time MailAge::Arrival(const queue::Envelope& envelope, const queue::RetrySchedule& schedule) {
  return clock_->Wall() - Age(envelope, schedule);
}

bool MailAge::Expired(const queue::Envelope& envelope, const queue::RetrySchedule& schedule) {
  return schedule.Expired(Arrival(envelope, schedule), clock_->Wall(),
                          envelope.reverse_path.empty());
}

}  // namespace mailrace::engine

#include "engine/admin/message_view.h"

#include <algorithm>
#include <utility>

#include "engine/config/message_class.h"
#include "nlohmann/json.hpp"

namespace mailrace::engine {

namespace {

using Json = nlohmann::json;

constexpr std::string_view kPending = "pending";

std::string_view NameOf(JobFacts::State state) {
  switch (state) {
    case JobFacts::State::kActive:
      return "active";
    case JobFacts::State::kDeferred:
      return "deferred";
    case JobFacts::State::kHeld:
      return "hold";
  }
  return "";
}

double Unix(absl::Time time) { return static_cast<double>(absl::ToUnixMillis(time)) / 1000; }

const JobFacts* JobOf(const MessageView& view, uint32_t recipient) {
  if (recipient >= view.job_of.size() || view.job_of[recipient] >= view.jobs.size()) return nullptr;
  return &view.jobs[view.job_of[recipient]];
}

// Why this recipient's mail is not delivered; empty: it was not tried and waits for
// nothing but its turn.
std::string ReasonOf(const MessageView& view, const JobFacts* job) {
  const queue::RecoveredMessage& message = view.message;
  if (job != nullptr && !job->waits_for.empty()) {
    return job->suspended_by_operator ? "delivery suspended by operator: " + job->waits_for
                                      : job->waits_for;
  }
  return message.has_retry ? message.retry.last_reason : "";
}

// When the earliest job is tried by itself; 0: never.
int64_t NextAttempt(const MessageView& view, absl::Time now) {
  absl::Duration due = absl::InfiniteDuration();
  for (const JobFacts& job : view.jobs) {
    if (job.state == JobFacts::State::kDeferred) due = std::min(due, job.due_in);
  }
  if (due == absl::InfiniteDuration()) return 0;
  return absl::ToUnixSeconds(now + std::max(due, absl::ZeroDuration()));
}

Json Common(const MessageView& view, absl::Time now) {
  const queue::RecoveredMessage& message = view.message;
  const queue::Envelope& envelope = message.envelope;
  Json json = {{"queue_name", StateName(view)},
               {"queue_id", envelope.id.ToString()},
               {"arrival_time", absl::ToUnixSeconds(envelope.arrival)},
               {"message_size", envelope.octets},
               {"forced_expire", false},
               {"sender", envelope.reverse_path.empty() ? "MAILER-DAEMON" : envelope.reverse_path},
               {"message_id", envelope.message_id},
               {"class", config::MessageClassName(envelope.priority)},
               {"attempts", message.retry.attempts},
               {"next_attempt_time", NextAttempt(view, now)}};
  if (!envelope.tenant.empty()) json["tenant"] = envelope.tenant;
  if (!envelope.submitter.empty()) json["submitter"] = envelope.submitter;
  if (!envelope.envid.empty()) json["envelope_id"] = envelope.envid;
  return json;
}

Json RecipientJson(const MessageView& view, uint32_t index) {
  const JobFacts* const job = JobOf(view, index);
  Json json = {{"address", view.message.envelope.recipients[index].address}};
  if (job != nullptr) json["nexthop"] = job->nexthop;
  const std::string reason = ReasonOf(view, job);
  if (!reason.empty()) json["delay_reason"] = reason;
  return json;
}

Json TimelineJson(const queue::RecoveredMessage& message) {
  const queue::Envelope& envelope = message.envelope;
  Json timeline = Json::array();
  timeline.push_back({{"time", Unix(envelope.arrival)},
                      {"event", "arrival"},
                      {"size", envelope.octets},
                      {"recipients", envelope.recipients.size()}});
  const queue::RetryState& retry = message.retry;
  if (retry.attempts > retry.history.size()) {
    timeline.push_back(
        {{"event", "earlier attempts"}, {"attempts", retry.attempts - retry.history.size()}});
  }
  for (const queue::Attempt& attempt : retry.history) {
    timeline.push_back({{"time", Unix(attempt.at)},
                        {"event", "attempt"},
                        {"result", "deferred"},
                        {"relay", attempt.relay},
                        {"dsn", attempt.status.ToString()},
                        {"text", attempt.text},
                        {"seconds", absl::ToDoubleSeconds(attempt.took)}});
  }
  return timeline;
}

Json WaitsJson(const MessageView& view, absl::Time now) {
  Json waits = Json::array();
  for (const JobFacts& job : view.jobs) {
    Json wait = {{"nexthop", job.nexthop}, {"state", NameOf(job.state)}};
    if (job.in_delivery) {
      wait["reason"] = "in delivery";
    } else if (job.state == JobFacts::State::kActive) {
      wait["reason"] = "its turn";
    } else if (job.state == JobFacts::State::kHeld) {
      wait["reason"] = "on hold until it is released";
    } else {
      const std::string reason = ReasonOf(view, &job);
      wait["reason"] = reason.empty() ? "delivery is deferred by configuration" : reason;
      if (job.due_in != absl::InfiniteDuration()) {
        wait["until"] = absl::ToUnixSeconds(now + std::max(job.due_in, absl::ZeroDuration()));
      }
    }
    if (job.suspended_by_operator) wait["suspended"] = true;
    waits.push_back(std::move(wait));
  }
  return waits;
}

}  // namespace

std::string StateName(const MessageView& view) {
  bool active = false;
  bool all_held = true;
  for (const JobFacts& job : view.jobs) {
    active = active || job.state == JobFacts::State::kActive;
    all_held = all_held && job.state == JobFacts::State::kHeld;
  }
  if (active) return "active";
  if (view.jobs.empty()) {
    return view.message.has_retry && view.message.retry.held ? "hold" : "deferred";
  }
  return all_held ? "hold" : "deferred";
}

Json ListJson(const MessageView& view, absl::Time now) {
  Json json = Common(view, now);
  Json recipients = Json::array();
  const std::vector<uint32_t>& done = view.message.done_indices;
  for (uint32_t i = 0; i < view.message.envelope.recipients.size(); ++i) {
    if (std::binary_search(done.begin(), done.end(), i)) continue;
    recipients.push_back(RecipientJson(view, i));
  }
  json["recipients"] = std::move(recipients);
  return json;
}

std::string_view RecipientState(const queue::RecoveredMessage& message, uint32_t recipient) {
  const std::vector<uint32_t>& done = message.done_indices;
  const auto found = std::lower_bound(done.begin(), done.end(), recipient);
  if (found == done.end() || *found != recipient) return kPending;
  const auto at = static_cast<size_t>(found - done.begin());
  if (at >= message.done_finals.size()) return "final";
  switch (message.done_finals[at]) {
    case queue::Final::kDelivered:
      return "delivered";
    case queue::Final::kFailed:
      return "failed";
    case queue::Final::kExpired:
      return "expired";
  }
  return "final";
}

Json ShowJson(const MessageView& view, absl::Time now) {
  Json json = Common(view, now);
  const queue::RecoveredMessage& message = view.message;
  Json recipients = Json::array();
  for (uint32_t i = 0; i < message.envelope.recipients.size(); ++i) {
    const std::string_view state = RecipientState(message, i);
    Json recipient = state == kPending ? RecipientJson(view, i)
                                       : Json{{"address", message.envelope.recipients[i].address}};
    recipient["state"] = state;
    recipients.push_back(std::move(recipient));
  }
  json["recipients"] = std::move(recipients);
  json["timeline"] = TimelineJson(message);
  json["waits"] = WaitsJson(view, now);
  if (message.retry.delay_warning_sent) json["delay_warning_sent"] = true;
  return json;
}

std::string LineOf(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace mailrace::engine

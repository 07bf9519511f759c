// The registry's chapters on the queue, bounces and destinations.
#include <fmt/format.h>

#include "base/text.h"
#include "engine/config/parameter_builders.h"

namespace mailrace::engine::config {
namespace {

// "N", "N/concurrency", "N/sqrt_concurrency"; N as "1" or "0.5" (SCHEDULER_README).
absl::Status CheckFeedback(std::string_view text) {
  const size_t slash = text.find('/');
  const std::string_view divisor =
      slash == std::string_view::npos ? "" : Trim(text.substr(slash + 1));
  const std::string_view number = Trim(text.substr(0, slash));
  const size_t dot = number.find('.');
  const bool plain = ParseUint(number.substr(0, dot)).has_value() &&
                     (dot == std::string_view::npos || ParseUint(number.substr(dot + 1)));
  const bool divided = divisor == "concurrency" || divisor == "sqrt_concurrency";
  if (plain && number.size() < 16 && (slash == std::string_view::npos || divided)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("bad feedback \"{}\"; expected such as 1, 1/concurrency or 1/sqrt_concurrency",
                  text.substr(0, 80)));
}

template <std::string& (*field)(Options&)>
absl::Status SetFeedback(std::string_view text, Options& o) {
  const absl::Status status = CheckFeedback(text);
  if (status.ok()) field(o) = std::string(text);
  return status;
}

std::string& DefaultPositive(Options& o) {
  return o.queue.default_destination_concurrency_positive_feedback;
}
std::string& SmtpPositive(Options& o) {
  return o.queue.smtp_destination_concurrency_positive_feedback;
}
std::string& DefaultNegative(Options& o) {
  return o.queue.default_destination_concurrency_negative_feedback;
}
std::string& SmtpNegative(Options& o) {
  return o.queue.smtp_destination_concurrency_negative_feedback;
}

constexpr std::string_view kFeedbackForm = "number, number/concurrency or number/sqrt_concurrency";
constexpr std::string_view kAsDefault = "As the default_ parameter, which it overrides.";
constexpr std::string_view kOverride = "Either of the two: there is one transport.";

}  // namespace

ParameterGroup QueueParameters() {
  return {
      "Queue and bounces",
      "When deferred mail is tried again: its age, kept between two bounds.",
      {
          Time("minimal_backoff_time", "300s", 's', 1, 100 * kDay,
               MAILRACE_FIELD(queue.minimal_backoff_time),
               "The shortest time between attempts; also the pause of a dead destination.",
               "Less for mail that is useless when late, if the relay does not mind."),
          Time("maximal_backoff_time", "4000s", 's', 1, 100 * kDay,
               MAILRACE_FIELD(queue.maximal_backoff_time), "The longest time between attempts.",
               "More to spare a relay during long outages."),
          Time("maximal_queue_lifetime", "5d", 'd', 0, 100 * kDay,
               MAILRACE_FIELD(queue.maximal_queue_lifetime),
               "Older mail is returned to its sender; 0: after one attempt.",
               "Less for mail that expires, such as one-time codes."),
          Time("bounce_queue_lifetime", "5d", 'd', 0, 100 * kDay,
               MAILRACE_FIELD(queue.bounce_queue_lifetime),
               "The same for mail with a null sender: bounces.", "Less to shed bounces sooner."),
          Time("delay_warning_time", "0h", 'h', 0, 100 * kDay,
               MAILRACE_FIELD(queue.delay_warning_time),
               "Tell senders once when mail has waited this long; 0: do not. Also mail behind a "
               "dead destination, at most a minute later.",
               "4h where people read bounces."),
          Integer("delay_notice_sender_limit", "20", 0, 1000000,
                  MAILRACE_FIELD(queue.delay_notice_sender_limit),
                  "The most delay notices that one sender gets in an hour, of all messages of "
                  "his together; further ones are left out and counted. 0: no limit.",
                  "1 where one application sends all mail and one notice says enough."),
          YesNo("success_notices", "yes", MAILRACE_FIELD(queue.success_notices),
                "Answer NOTIFY=SUCCESS with a notice when mail went to a relay that does not "
                "report itself (RFC 3461 5.2.3). Requests are passed on to those that do, "
                "either way.",
                "no when applications ask for it without anybody reading."),
          Time("transport_retry_time", "60s", 's', 1, kDay,
               MAILRACE_FIELD(queue.transport_retry_time),
               "Accepted for compatibility, without effect: there are no delivery programs that "
               "could fail to start.",
               "Never."),
          Octets("queue_minfree", "0", 0, INT64_MAX, MAILRACE_FIELD(queue.queue_minfree),
                 "Free space on the queue's file system below which submissions are put off "
                 "(452). 0: one and a half times message_size_limit and the reserve.",
                 "More when other programs fill the same disk."),
          Octets("queue_free_space_reserve", "64M", 0, INT64_MAX,
                 MAILRACE_FIELD(queue.queue_free_space_reserve),
                 "Space that the queue itself needs to write out its memory; counted in addition.",
                 "Hardly ever."),
          YesNo("soft_bounce", "no", MAILRACE_FIELD(queue.soft_bounce),
                "Treat 5xx as 4xx: nothing is returned, all waits.",
                "yes while a new set-up is tried."),
          List("defer_transports", "", MAILRACE_FIELD(queue.defer_transports),
               "transport names; here: smtp",
               "smtp: accept and queue, deliver nothing until it is gone and reloaded.",
               "During maintenance of the relay."),
          Octets("bounce_size_limit", "50000", 1, INT64_MAX,
                 MAILRACE_FIELD(queue.bounce_size_limit),
                 "How much of a message a bounce returns; of larger ones the header only.",
                 "Hardly ever."),
          Words("notify_classes", "resource, software",
                "2bounce bounce data delay policy protocol resource software",
                MAILRACE_FIELD(queue.notify_classes),
                "What postmaster is told: undeliverable mail from the null sender (2bounce), "
                "and the headers of what senders are told (bounce, delay). The other classes "
                "are in the log alone.",
                "2bounce to see what would be lost silently."),
          Text("2bounce_notice_recipient", "postmaster",
               MAILRACE_FIELD(queue.double_bounce_notice_recipient), "an address",
               "Who is told of class 2bounce; without a domain: at $myorigin.",
               "Where postmaster is nobody."),
          Text("bounce_notice_recipient", "postmaster",
               MAILRACE_FIELD(queue.bounce_notice_recipient), "an address",
               "Who is told of class bounce.", "As 2bounce_notice_recipient."),
          Text("delay_notice_recipient", "postmaster", MAILRACE_FIELD(queue.delay_notice_recipient),
               "an address", "Who is told of class delay.", "As 2bounce_notice_recipient."),
          Text("double_bounce_sender", "double-bounce", MAILRACE_FIELD(queue.double_bounce_sender),
               "a local part", "The sender of postmaster notices; mail to it is never bounced.",
               "Hardly ever."),
          Integer("hopcount_limit", "100", 1, 10000, MAILRACE_FIELD(queue.hopcount_limit),
                  "More Received headers than this are a loop (5.4.6). Postfix: 50; RFC 5321 6.3 "
                  "asks for at least 100.",
                  "Hardly ever."),
      }};
}

ParameterGroup DestinationParameters() {
  return {
      "Pressure on destinations",
      "How many sessions and how fast, for each next-hop; see Postfix's SCHEDULER_README. The "
      "numbers are for the whole engine and shared out among its shards.",
      {
          Integer("initial_destination_concurrency", "5", 1, 10000,
                  MAILRACE_FIELD(queue.initial_destination_concurrency),
                  "Sessions to a next-hop that nothing is known about.", "Hardly ever."),
          Integer("smtp_initial_destination_concurrency", "$initial_destination_concurrency", 1,
                  10000, MAILRACE_FIELD(queue.smtp_initial_destination_concurrency), kAsDefault,
                  kOverride),
          Integer("default_destination_concurrency_limit", "20", 0, 10000,
                  MAILRACE_FIELD(queue.default_destination_concurrency_limit),
                  "The most sessions to one next-hop; 0: no limit.",
                  "To what the relay allows an account: it is the first thing to tune for rate."),
          Integer("smtp_destination_concurrency_limit", "$default_destination_concurrency_limit", 0,
                  10000, MAILRACE_FIELD(queue.smtp_destination_concurrency_limit), kAsDefault,
                  kOverride),
          Integer("default_destination_recipient_limit", "50", 0, 10000,
                  MAILRACE_FIELD(queue.default_destination_recipient_limit),
                  "The most recipients of a transaction; 0: no limit.",
                  "1 gives each recipient an own transaction."),
          Integer("smtp_destination_recipient_limit", "$default_destination_recipient_limit", 0,
                  10000, MAILRACE_FIELD(queue.smtp_destination_recipient_limit), kAsDefault,
                  kOverride),
          Time("default_destination_rate_delay", "0s", 's', 0, kDay,
               MAILRACE_FIELD(queue.default_destination_rate_delay),
               "The time between deliveries to one next-hop, one after the other; 0: none.",
               "For a relay that counts messages a minute."),
          Time("smtp_destination_rate_delay", "$default_destination_rate_delay", 's', 0, kDay,
               MAILRACE_FIELD(queue.smtp_destination_rate_delay), kAsDefault, kOverride),
          Integer("default_destination_concurrency_failed_cohort_limit", "1", 0, 10000,
                  MAILRACE_FIELD(queue.default_destination_concurrency_failed_cohort_limit),
                  "How many windows of failed sessions make a next-hop dead for "
                  "minimal_backoff_time; 0: never.",
                  "More for a relay that drops connections at random."),
          Integer("smtp_destination_concurrency_failed_cohort_limit",
                  "$default_destination_concurrency_failed_cohort_limit", 0, 10000,
                  MAILRACE_FIELD(queue.smtp_destination_concurrency_failed_cohort_limit),
                  kAsDefault, kOverride),
          Custom("default_destination_concurrency_positive_feedback", "1",
                 &SetFeedback<DefaultPositive>, kFeedbackForm,
                 "What a good session adds to the window.",
                 "1/concurrency or 1/sqrt_concurrency for a slower, steadier start."),
          Custom("smtp_destination_concurrency_positive_feedback",
                 "$default_destination_concurrency_positive_feedback", &SetFeedback<SmtpPositive>,
                 kFeedbackForm, kAsDefault, kOverride),
          Custom("default_destination_concurrency_negative_feedback", "1",
                 &SetFeedback<DefaultNegative>, kFeedbackForm,
                 "What a failed session takes from the window.",
                 "1/concurrency where single failures mean little."),
          Custom("smtp_destination_concurrency_negative_feedback",
                 "$default_destination_concurrency_negative_feedback", &SetFeedback<SmtpNegative>,
                 kFeedbackForm, kAsDefault, kOverride),
      }};
}

}  // namespace mailrace::engine::config

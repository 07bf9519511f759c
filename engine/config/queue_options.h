// The queue: retries, destinations, bounces. Each member is the parameter of its name;
// meaning, unit, default and range: docs/CONFIGURATION.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace mailrace::engine::config {

struct QueueOptions {
  absl::Duration minimal_backoff_time;
  absl::Duration maximal_backoff_time;
  absl::Duration maximal_queue_lifetime;
  absl::Duration bounce_queue_lifetime;
  absl::Duration delay_warning_time;
  absl::Duration transport_retry_time;
  int64_t queue_minfree = 0;
  int64_t queue_free_space_reserve = 0;
  bool soft_bounce = false;
  std::vector<std::string> defer_transports;

  int64_t bounce_size_limit = 0;
  std::vector<std::string> notify_classes;
  std::string double_bounce_sender;
  std::string double_bounce_notice_recipient;  // 2bounce_notice_recipient
  std::string bounce_notice_recipient;
  std::string delay_notice_recipient;
  int64_t delay_notice_sender_limit = 0;
  bool success_notices = false;
  int64_t hopcount_limit = 0;

  int64_t initial_destination_concurrency = 0;
  int64_t smtp_initial_destination_concurrency = 0;
  int64_t default_destination_concurrency_limit = 0;
  int64_t smtp_destination_concurrency_limit = 0;
  int64_t default_destination_recipient_limit = 0;
  int64_t smtp_destination_recipient_limit = 0;
  absl::Duration default_destination_rate_delay;
  absl::Duration smtp_destination_rate_delay;
  int64_t default_destination_concurrency_failed_cohort_limit = 0;
  int64_t smtp_destination_concurrency_failed_cohort_limit = 0;
  // "N", "N/concurrency" or "N/sqrt_concurrency".
  std::string default_destination_concurrency_positive_feedback;
  std::string smtp_destination_concurrency_positive_feedback;
  std::string default_destination_concurrency_negative_feedback;
  std::string smtp_destination_concurrency_negative_feedback;
};

}  // namespace mailrace::engine::config

// One configuration as the shards work by it: an immutable snapshot made from main.cf
// and its tables (engine/settings_from_config), replaced as a whole on reload.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/socket_address.h"
#include "engine/bounces/bounce_rules.h"
#include "engine/config/relayhost.h"
#include "engine/delivery/target_list.h"
#include "engine/intake/intake_options.h"
#include "engine/logs/log_lines.h"
#include "engine/logs/tls_lines.h"
#include "engine/routing/destination_policy.h"
#include "queue/retry_schedule.h"
#include "queue/scheduler.h"
#include "transport/resolver.h"
#include "transport/smtp/client_session.h"
#include "transport/smtp/tolerance.h"

namespace mailrace::engine {

class Routes;

struct Settings {
  uint64_t generation = 0;  // Counts reloads.

  // Who we are.
  std::string myhostname = "localhost";
  std::string mail_name = "Mailrace";
  std::string helo_name = "localhost";
  bool always_send_ehlo = true;                    // smtp_always_send_ehlo
  bool never_send_ehlo = false;                    // smtp_never_send_ehlo
  bool skip_5xx_greeting = true;                   // smtp_skip_5xx_greeting
  std::vector<std::string> discard_ehlo_keywords;  // smtp_discard_ehlo_keywords, upper case.

  // Where mail goes: the whole of it; null in simulations, where relayhost alone decides.
  std::shared_ptr<const Routes> routes;
  // As the queue calls it. Empty: to the recipients' domains by MX.
  std::string relayhost;
  uint16_t default_port = 25;
  bool delivery_deferred = false;  // defer_transports names smtp: queue, send nothing.

  // Policy of TLS, trust and credentials for each destination.
  std::shared_ptr<const DestinationPolicy> policy;

  // Sessions.
  transport::smtp::ClientTimeouts timeouts;
  absl::Duration connect_timeout = absl::Seconds(30);
  bool await_quit_reply = false;  // smtp_skip_quit_response = no
  bool connection_reuse = true;   // smtp_connection_cache_on_demand
  absl::Duration connection_cache_time_limit = absl::Seconds(2);
  absl::Duration connection_reuse_time_limit = absl::Seconds(300);
  uint32_t connection_reuse_count_limit = 0;  // 0: none.
  // smtp_bdat_window, smtp_cross_message_pipelining, smtp_tolerance_time.
  transport::smtp::ToleranceOptions tolerance;
  absl::Duration tls_session_timeout = absl::Hours(1);
  bool use_mx = true;  // disable_dns_lookups = no
  TargetRules targets;
  std::vector<config::Nexthop> fallback_relays;  // smtp_fallback_relay
  transport::Resolver::Family family = transport::Resolver::Family::kAny;
  std::optional<IpAddress> bind_address;
  std::optional<IpAddress> bind_address6;
  bool bind_address_enforce = false;
  absl::Duration sasl_failure_pause = absl::Seconds(300);
  // smtp_sasl_auth_cache_name: a refused password stays so for this long, whatever is reloaded.
  std::optional<absl::Duration> sasl_cache_time;
  bool sasl_require_auth = false;
  bool sasl_soft_bounce = true;  // smtp_sasl_auth_soft_bounce

  // The queue.
  queue::RetrySchedule retry;
  queue::DestinationLimits limits;         // Of all shards together.
  queue::Tenants::WeightOf tenant_weight;  // Null: all weigh the same.
  bool soft_bounce = false;
  uint64_t memory_octets_max = 512ull << 20;  // Messages in memory; of one shard.
  size_t jobs_max = 1'000'000;                // Jobs in memory; of one shard.
  uint64_t free_space_reserve = 64ull << 20;  // Below this much free space: 452.
  uint64_t message_octets_max = 10'240'000;

  // Notices.
  BouncePolicy bounces;
  size_t bounce_octets_max = 50'000;

  // Intake.
  IntakeOptions intake;

  // Logs.
  logs::LogStyle log_style = logs::LogStyle::kPostfix;
  logs::TlsLog tls_log;
  bool log_tls_feature_status = true;  // smtp_log_tls_feature_status
  bool note_starttls_offer = false;    // smtp_tls_note_starttls_offer
};

}  // namespace mailrace::engine

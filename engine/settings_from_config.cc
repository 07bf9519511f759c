#include "engine/settings_from_config.h"

#include <syslog.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/text.h"
#include "engine/config/message_class.h"
#include "engine/memory_budget.h"
#include "engine/own_addresses.h"
#include "engine/routing/configured_policy.h"
#include "engine/routing/routes.h"
#include "fmt/format.h"
#include "transport/tls/context.h"

namespace mailrace::engine {

namespace {

using config::Config;
using config::Diagnostics;
using config::Options;

config::Place PlaceOf(const Config& config, std::string_view parameter) {
  const auto it = config.settings.find(parameter);
  return it == config.settings.end() ? config::Place{} : it->second.place;
}

std::vector<std::string> Uppered(const std::vector<std::string>& words) {
  std::vector<std::string> uppered;
  for (const std::string& word : words) uppered.push_back(AsciiUppered(word));
  return uppered;
}

void FillSessions(const Options& options, Settings* settings) {
  const config::SmtpOptions& smtp = options.smtp;
  transport::smtp::ClientTimeouts& timeouts = settings->timeouts;
  timeouts.greeting = timeouts.helo = smtp.smtp_helo_timeout;
  timeouts.starttls = smtp.smtp_starttls_timeout;
  timeouts.mail = smtp.smtp_mail_timeout;
  timeouts.rcpt = smtp.smtp_rcpt_timeout;
  timeouts.data_init = smtp.smtp_data_init_timeout;
  timeouts.data_xfer = smtp.smtp_data_xfer_timeout;
  timeouts.data_done = smtp.smtp_data_done_timeout;
  timeouts.rset = smtp.smtp_rset_timeout;
  timeouts.quit = smtp.smtp_quit_timeout;
  settings->connect_timeout = smtp.smtp_connect_timeout;
  settings->connection_reuse = smtp.smtp_connection_cache_on_demand;
  settings->connection_cache_time_limit = smtp.smtp_connection_cache_time_limit;
  settings->connection_reuse_time_limit = smtp.smtp_connection_reuse_time_limit;
  settings->connection_reuse_count_limit =
      static_cast<uint32_t>(smtp.smtp_connection_reuse_count_limit);
  settings->tolerance.window_max = static_cast<size_t>(smtp.smtp_bdat_window);
  settings->tolerance.cross_message = smtp.smtp_cross_message_pipelining;
  settings->tolerance.memory = smtp.smtp_tolerance_time;
  settings->tls_session_timeout = options.tls.smtp_tls_session_cache_timeout;
  const auto& support = smtp.smtp_dns_support_level;
  settings->use_mx = !smtp.disable_dns_lookups &&
                     std::find(support.begin(), support.end(), "disabled") == support.end();
  settings->await_quit_reply = !smtp.smtp_skip_quit_response;
  const auto has = [&](std::string_view word) {
    return std::find(smtp.inet_protocols.begin(), smtp.inet_protocols.end(), word) !=
           smtp.inet_protocols.end();
  };
  if (!has("all") && !(has("ipv4") && has("ipv6"))) {
    settings->family =
        has("ipv6") ? transport::Resolver::Family::kIpv6 : transport::Resolver::Family::kIpv4;
  }
  if (const auto ip = IpAddress::Parse(smtp.smtp_bind_address); ip.ok()) {
    settings->bind_address = *ip;
  }
  if (const auto ip = IpAddress::Parse(smtp.smtp_bind_address6); ip.ok()) {
    settings->bind_address6 = *ip;
  }
  settings->bind_address_enforce = smtp.smtp_bind_address_enforce;
  settings->sasl_failure_pause = options.sasl.sasl_failure_pause;
  if (!options.sasl.smtp_sasl_auth_cache_name.empty()) {
    settings->sasl_cache_time = options.sasl.smtp_sasl_auth_cache_time;
  }
  settings->sasl_require_auth = options.sasl.sasl_require_auth;
  settings->sasl_soft_bounce = options.sasl.smtp_sasl_auth_soft_bounce;
}

TargetRules TargetRulesFromOptions(const Options& options) {
  const config::SmtpOptions& smtp = options.smtp;
  TargetRules rules;
  using Prefer = TargetRules::Prefer;
  rules.smtp_address_preference = smtp.smtp_address_preference == "ipv4"   ? Prefer::kIpv4
                                  : smtp.smtp_address_preference == "ipv6" ? Prefer::kIpv6
                                                                           : Prefer::kAny;
  rules.smtp_randomize_addresses = smtp.smtp_randomize_addresses;
  rules.smtp_balance_inet_protocols = options.routing.smtp_balance_inet_protocols;
  rules.smtp_mx_address_limit = static_cast<size_t>(smtp.smtp_mx_address_limit);
  rules.ignore_mx_lookup_error = options.routing.ignore_mx_lookup_error;
  rules.smtp_defer_if_no_mx_address_found = options.routing.smtp_defer_if_no_mx_address_found;
  std::vector<SocketAddress> listeners = options.submission.submission_listen;
  listeners.insert(listeners.end(), options.submission.submission_tls_listen.begin(),
                   options.submission.submission_tls_listen.end());
  rules.own = {ExpandWildcards(listeners), options.routing.proxy_interfaces};
  return rules;
}

void FillNotices(const config::QueueOptions& queue, int shards, BouncePolicy* policy) {
  policy->delay_warning_time = queue.delay_warning_time;
  // As destinations' limits: shared by the shards, at least one each.
  const auto limit = static_cast<int>(queue.delay_notice_sender_limit);
  policy->delay_notices_per_sender = limit == 0 ? 0 : std::max(1, limit / shards);
  policy->success_notices = queue.success_notices;
  policy->double_bounce_sender = queue.double_bounce_sender;
  const auto has = [&queue](std::string_view word) {
    return std::find(queue.notify_classes.begin(), queue.notify_classes.end(), word) !=
           queue.notify_classes.end();
  };
  policy->postmaster_double_bounces = has("2bounce");
  policy->postmaster_bounces = has("bounce");
  policy->postmaster_delays = has("delay");
  policy->double_bounce_notice_recipient = queue.double_bounce_notice_recipient;
  policy->bounce_notice_recipient = queue.bounce_notice_recipient;
  policy->delay_notice_recipient = queue.delay_notice_recipient;
}

bool FillQueue(const Config& config, Settings* settings, Diagnostics* diagnostics) {
  const Options& options = config.options;
  const config::QueueOptions& queue = options.queue;
  settings->retry = {queue.minimal_backoff_time, queue.maximal_backoff_time,
                     queue.maximal_queue_lifetime, queue.bounce_queue_lifetime};
  const auto shards = static_cast<int>(options.general.engine_shards);
  queue::DestinationLimits& limits = settings->limits;
  limits.initial_concurrency = static_cast<int>(queue.smtp_initial_destination_concurrency);
  limits.concurrency_limit = static_cast<int>(queue.smtp_destination_concurrency_limit);
  limits.recipient_limit = static_cast<int>(queue.smtp_destination_recipient_limit);
  limits.failed_cohort_limit =
      static_cast<int>(queue.smtp_destination_concurrency_failed_cohort_limit);
  limits.rate_delay = queue.smtp_destination_rate_delay;
  const auto feedback = [&](const char* parameter, const std::string& text, queue::Feedback* into) {
    const absl::StatusOr<queue::Feedback> parsed = queue::Feedback::Parse(text);
    if (parsed.ok()) {
      *into = *parsed;
      return true;
    }
    diagnostics->Error(PlaceOf(config, parameter), parameter,
                       std::string(parsed.status().message()));
    return false;
  };
  const bool good =
      feedback("smtp_destination_concurrency_positive_feedback",
               queue.smtp_destination_concurrency_positive_feedback, &limits.positive_feedback) &&
      feedback("smtp_destination_concurrency_negative_feedback",
               queue.smtp_destination_concurrency_negative_feedback, &limits.negative_feedback);
  settings->soft_bounce = queue.soft_bounce;
  const MemoryBudget memory =
      ShareMemory(static_cast<uint64_t>(options.general.queue_memory_limit), shards);
  settings->memory_octets_max = memory.message_octets;
  settings->jobs_max = memory.jobs_max;
  settings->free_space_reserve =
      static_cast<uint64_t>(std::max(queue.queue_minfree, queue.queue_free_space_reserve));
  settings->message_octets_max = static_cast<uint64_t>(options.submission.message_size_limit);
  settings->bounce_octets_max = static_cast<size_t>(queue.bounce_size_limit);
  FillNotices(queue, shards, &settings->bounces);
  settings->delivery_deferred =
      std::find(queue.defer_transports.begin(), queue.defer_transports.end(), "smtp") !=
      queue.defer_transports.end();
  return good;
}

void FillClasses(const Config& config, Settings* settings) {
  const config::ClassOptions& classes = config.options.classes;
  MessageRules& rules = settings->intake.rules;
  rules.class_header = classes.message_class_header;
  rules.tenant_header = classes.message_tenant_header;
  rules.keep_headers = classes.steering_headers_keep;
  rules.default_priority = config::ParseMessageClass(classes.default_message_class).value_or(1);
  rules.classes = config.message_classes;
  rules.tenants = config.message_tenants;
  if (config.tenant_weights == nullptr || config.tenant_weights->empty()) return;
  settings->tenant_weight = [weights = config.tenant_weights](std::string_view tenant) {
    const auto hit = weights->Lookup(tenant);
    if (!hit.ok() || !hit->has_value()) return 1u;
    return config::ParseTenantWeight((*hit)->value).value_or(1);
  };
}

// SCRAM would have the shard compute thousands of digests for each login.
std::vector<std::string> LoginMechanisms(const std::vector<std::string>& security_options) {
  const bool no_plaintext = std::find(security_options.begin(), security_options.end(),
                                      "noplaintext") != security_options.end();
  if (no_plaintext) return {"CRAM-MD5"};
  return {"CRAM-MD5", "PLAIN", "LOGIN"};
}

void FillLogins(const Config& config, IntakeOptions* intake) {
  const config::SubmissionOptions& submission = config.options.submission;
  if (!submission.smtpd_sasl_auth_enable) return;
  intake->passwords = config.submission_passwords;
  intake->auth_mechanisms_tls = LoginMechanisms(submission.smtpd_sasl_tls_security_options);
  if (!submission.smtpd_tls_auth_only) {
    intake->auth_mechanisms = LoginMechanisms(submission.smtpd_sasl_security_options);
  }
  intake->smtpd_sasl_authenticated_header = submission.smtpd_sasl_authenticated_header;
}

bool FillIntake(const Config& config, Settings* settings, Diagnostics* diagnostics) {
  const Options& options = config.options;
  const config::SubmissionOptions& submission = options.submission;
  IntakeOptions& intake = settings->intake;
  intake.myhostname = options.general.myhostname;
  intake.mail_name = options.general.mail_name;
  intake.myorigin = options.general.myorigin;
  intake.smtpd_banner = submission.smtpd_banner;
  intake.mynetworks = submission.mynetworks;
  intake.always_add_missing_headers = submission.submission_add_missing_headers;
  intake.message_size_limit = static_cast<uint64_t>(submission.message_size_limit);
  intake.header_size_limit = static_cast<size_t>(submission.header_size_limit);
  intake.hopcount_limit = static_cast<size_t>(options.queue.hopcount_limit);
  intake.line_length_limit = static_cast<size_t>(submission.line_length_limit);
  intake.smtp_line_length_limit = static_cast<size_t>(options.smtp.smtp_line_length_limit);
  using transport::smtp::BareNewline;
  // "no" still never lets a bare LF end a message, nor out to a relay: it is made CRLF.
  intake.smtpd_forbid_bare_newline = submission.smtpd_forbid_bare_newline == "reject"
                                         ? BareNewline::kReject
                                         : BareNewline::kNormalize;
  intake.smtpd_discard_ehlo_keywords = Uppered(submission.smtpd_discard_ehlo_keywords);
  intake.smtpd_recipient_limit = static_cast<size_t>(submission.smtpd_recipient_limit);
  intake.smtpd_hard_error_limit = static_cast<size_t>(submission.smtpd_hard_error_limit);
  intake.smtpd_junk_command_limit = static_cast<size_t>(submission.smtpd_junk_command_limit);
  intake.smtpd_timeout = submission.smtpd_timeout;
  intake.smtpd_client_connection_count_limit =
      static_cast<size_t>(submission.smtpd_client_connection_count_limit);
  FillLogins(config, &intake);
  if (submission.smtpd_tls_cert_file.empty()) return true;
  transport::tls::ServerContextOptions tls;
  tls.cert_file = submission.smtpd_tls_cert_file;
  tls.key_file = submission.smtpd_tls_key_file;
  auto context = transport::tls::MakeServerContext(tls);
  if (!context.ok()) {
    diagnostics->Error(PlaceOf(config, "smtpd_tls_cert_file"), "smtpd_tls_cert_file",
                       std::string(context.status().message()));
    return false;
  }
  intake.tls_context = *std::move(context);
  return true;
}

}  // namespace

std::shared_ptr<const Settings> SettingsFromConfig(std::shared_ptr<const Config> config,
                                                   uint64_t generation, Diagnostics* diagnostics) {
  const Options& options = config->options;
  auto settings = std::make_shared<Settings>();
  settings->generation = generation;
  settings->myhostname = options.general.myhostname;
  settings->mail_name = options.general.mail_name;
  settings->helo_name = options.smtp.smtp_helo_name;
  settings->discard_ehlo_keywords = Uppered(options.smtp.smtp_discard_ehlo_keywords);
  settings->default_port = options.smtp.smtp_tcp_port_number;
  settings->relayhost = RelayhostName(options.smtp.relayhost);
  settings->routes = std::make_shared<const Routes>(config);
  settings->targets = TargetRulesFromOptions(options);
  settings->fallback_relays = options.smtp.smtp_fallback_relay;
  FillSessions(options, settings.get());
  bool good = FillQueue(*config, settings.get(), diagnostics);
  good = FillIntake(*config, settings.get(), diagnostics) && good;
  FillClasses(*config, settings.get());
  settings->log_style = options.log.log_format == "postfix2.2" ? logs::LogStyle::kPostfix22
                                                               : logs::LogStyle::kPostfix;
  const auto tls_log = logs::ParseTlsLog(std::to_string(options.tls.smtp_tls_loglevel));
  if (tls_log.ok()) settings->tls_log = *tls_log;
  settings->log_tls_feature_status = options.tls.smtp_log_tls_feature_status;
  settings->always_send_ehlo = options.smtp.smtp_always_send_ehlo;
  settings->never_send_ehlo = options.smtp.smtp_never_send_ehlo;
  settings->skip_5xx_greeting = options.smtp.smtp_skip_5xx_greeting;
  settings->note_starttls_offer = options.tls.smtp_tls_note_starttls_offer;
  if (settings->tls_log.reduced) {
    diagnostics->Warning(PlaceOf(*config, "smtp_tls_loglevel"), "smtp_tls_loglevel",
                         logs::TlsLogReducedWarning("smtp_tls_loglevel",
                                                    std::to_string(options.tls.smtp_tls_loglevel)));
  }
  settings->policy = ConfiguredPolicy::Make(config, diagnostics);
  if (!good || settings->policy == nullptr) return nullptr;
  return settings;
}

int SyslogFacility(const std::string& word) {
  static constexpr std::array<std::pair<std::string_view, int>, 12> kFacilities{
      {{"mail", LOG_MAIL},
       {"daemon", LOG_DAEMON},
       {"user", LOG_USER},
       {"syslog", LOG_SYSLOG},
       {"local0", LOG_LOCAL0},
       {"local1", LOG_LOCAL1},
       {"local2", LOG_LOCAL2},
       {"local3", LOG_LOCAL3},
       {"local4", LOG_LOCAL4},
       {"local5", LOG_LOCAL5},
       {"local6", LOG_LOCAL6},
       {"local7", LOG_LOCAL7}}};
  const auto* found = std::find_if(kFacilities.begin(), kFacilities.end(),
                                   [&](const auto& entry) { return entry.first == word; });
  return found == kFacilities.end() ? LOG_MAIL : found->second;
}

}  // namespace mailrace::engine

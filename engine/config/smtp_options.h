// The relay client: where mail goes and how patiently. Each member is the parameter of
// its name; meaning, unit, default and range: docs/CONFIGURATION.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "engine/config/relayhost.h"

namespace mailrace::engine::config {

struct SmtpOptions {
  std::vector<Nexthop> relayhost;  // Empty: by the recipient's domain.
  std::vector<Nexthop> smtp_fallback_relay;
  std::string smtp_tcp_port;
  uint16_t smtp_tcp_port_number = 25;
  std::string smtp_helo_name;
  std::vector<std::string> smtp_discard_ehlo_keywords;
  std::string smtp_bind_address;   // Empty or an IPv4 literal.
  std::string smtp_bind_address6;  // Empty or an IPv6 literal, without brackets.
  bool smtp_bind_address_enforce = false;
  std::vector<std::string> inet_protocols;
  std::string smtp_address_preference;
  std::vector<std::string> smtp_host_lookup;
  std::vector<std::string> smtp_dns_support_level;
  bool disable_dns_lookups = false;
  int64_t smtp_mx_address_limit = 0;
  int64_t smtp_mx_session_limit = 0;
  bool smtp_randomize_addresses = true;

  absl::Duration smtp_connect_timeout;
  absl::Duration smtp_helo_timeout;
  absl::Duration smtp_starttls_timeout;
  absl::Duration smtp_mail_timeout;
  absl::Duration smtp_rcpt_timeout;
  absl::Duration smtp_data_init_timeout;
  absl::Duration smtp_data_xfer_timeout;
  absl::Duration smtp_data_done_timeout;
  absl::Duration smtp_rset_timeout;
  absl::Duration smtp_quit_timeout;

  bool smtp_connection_cache_on_demand = true;
  absl::Duration smtp_connection_cache_time_limit;
  absl::Duration smtp_connection_reuse_time_limit;
  int64_t smtp_connection_reuse_count_limit = 0;
  bool smtp_cross_message_pipelining = true;
  int64_t smtp_bdat_window = 32;
  absl::Duration smtp_tolerance_time;
  bool smtp_skip_5xx_greeting = true;
  bool smtp_always_send_ehlo = true;
  bool smtp_never_send_ehlo = false;
  bool smtp_skip_quit_response = true;
  int64_t smtp_line_length_limit = 0;
};

struct SaslOptions {
  bool smtp_sasl_auth_enable = false;
  std::string smtp_sasl_password_maps;
  std::string smtp_sasl_password_result_delimiter;
  bool sasl_password_file_check = true;
  // Words of Postfix: noplaintext noactive nodictionary forward_secrecy noanonymous mutual_auth.
  std::vector<std::string> smtp_sasl_security_options;
  std::vector<std::string> smtp_sasl_tls_security_options;
  std::vector<std::string> smtp_sasl_tls_verified_security_options;
  std::vector<std::string> smtp_sasl_mechanism_filter;
  std::string smtp_sasl_type;
  std::string smtp_sasl_path;
  bool smtp_sasl_auth_soft_bounce = true;
  bool smtp_sender_dependent_authentication = false;
  absl::Duration sasl_failure_pause;
  std::string smtp_sasl_auth_cache_name;
  absl::Duration smtp_sasl_auth_cache_time;
  bool sasl_require_auth = false;
  std::string sasl_token_maps;
  absl::Duration sasl_token_lifetime;
  absl::Duration sasl_token_command_timeout;
};

}  // namespace mailrace::engine::config

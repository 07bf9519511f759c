// What applications may hand in, and how. Each member is the parameter of its name;
// meaning, unit, default and range: docs/CONFIGURATION.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/socket_address.h"
#include "engine/config/networks.h"

namespace mailrace::engine::config {

struct SubmissionOptions {
  std::vector<SocketAddress> submission_listen;
  std::vector<SocketAddress> submission_tls_listen;
  std::vector<SocketAddress> http_listen;
  std::string smtpd_tls_cert_file;
  std::string smtpd_tls_key_file;
  NetworkList mynetworks;
  bool smtpd_sasl_auth_enable = false;
  std::string smtpd_sasl_password_maps;
  bool smtpd_tls_auth_only = true;
  std::vector<std::string> smtpd_sasl_security_options;
  std::vector<std::string> smtpd_sasl_tls_security_options;
  bool smtpd_sasl_authenticated_header = false;
  bool submission_add_missing_headers = true;
  std::string smtpd_banner;
  int64_t message_size_limit = 0;  // 0: none.
  int64_t header_size_limit = 0;
  int64_t line_length_limit = 0;
  int64_t smtpd_recipient_limit = 0;
  absl::Duration smtpd_timeout;
  int64_t smtpd_hard_error_limit = 0;
  int64_t smtpd_soft_error_limit = 0;
  int64_t smtpd_junk_command_limit = 0;
  int64_t smtpd_client_connection_count_limit = 0;
  std::string smtpd_forbid_bare_newline;  // "reject", "normalize" or "no".
  std::vector<std::string> smtpd_discard_ehlo_keywords;
};

}  // namespace mailrace::engine::config

// What an administrator sets for the intake, by Postfix's names. Plain values: whoever
// reads main.cf fills them in; they do not change while a session lives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "engine/config/networks.h"
#include "engine/intake/message_rules.h"
#include "engine/tables/lookup_table.h"
#include "transport/smtp/server_machine.h"
#include "transport/tls/context.h"

namespace mailrace::engine {

struct IntakeOptions {
  std::string myhostname = "localhost";
  std::string mail_name = "Mailrace";
  // Behind a bare "postmaster"; empty: myhostname.
  std::string myorigin;
  // Expanded, without the "220 "; empty: "$myhostname ESMTP $mail_name".
  std::string smtpd_banner;

  // Who may submit. Everybody else is told 554 5.7.1 at MAIL.
  config::NetworkList mynetworks = *config::NetworkList::Parse("127.0.0.0/8 [::1]/128");
  // Who logs in may submit from anywhere. Null: nobody can. The mechanisms are offered in
  // clear and inside TLS; both empty: no AUTH.
  std::shared_ptr<const tables::TableList> passwords;
  std::vector<std::string> auth_mechanisms;
  std::vector<std::string> auth_mechanisms_tls;
  bool smtpd_sasl_authenticated_header = false;
  // RFC 6409 4.2: refuse "a@b". A local convention for one-label domains may turn it off.
  bool require_fully_qualified_domains = true;
  // RFC 6409 8.2, 8.3: Date and Message-ID where there are none.
  bool always_add_missing_headers = true;

  uint64_t message_size_limit = 10'240'000;  // Octets; 0: none.
  size_t header_size_limit = 102'400;        // Octets of the header section; at most 128 KiB.
  size_t hopcount_limit = 100;               // Received fields: more is a loop (5.4.6).
  size_t line_length_limit = 2048;           // Octets of a MAIL or RCPT command.
  size_t smtp_line_length_limit = 998;       // Octets of a content line; 0: none.
  transport::smtp::BareNewline smtpd_forbid_bare_newline = transport::smtp::BareNewline::kReject;
  int smtpd_forbid_bare_newline_reject_code = 550;
  bool smtpd_forbid_unauth_pipelining = true;
  bool smtpd_helo_required = true;
  std::vector<std::string> smtpd_discard_ehlo_keywords;  // Upper case.

  size_t smtpd_recipient_limit = 1000;  // At least 100 (RFC 5321 4.5.3.1.8).
  size_t smtpd_recipient_overshoot_limit = 1000;
  size_t smtpd_hard_error_limit = 20;
  size_t smtpd_junk_command_limit = 100;

  // For one request as a whole, from the last reply to the end of the next command,
  // however slowly its octets come. RFC 5321 4.5.3.2.7: at least 5 minutes.
  absl::Duration smtpd_timeout = absl::Seconds(300);
  absl::Duration smtpd_starttls_timeout = absl::Seconds(300);
  // Octets a second that lengthen the deadline of a message's content.
  uint64_t smtpd_min_data_rate = 500;

  // Sessions of one address outside mynetworks, a shard.
  size_t smtpd_client_connection_count_limit = 50;
  // Sessions of everybody, a shard.
  size_t sessions_max = 10'000;

  // Class and tenant of what comes in.
  MessageRules rules;

  // Server certificate; null: no STARTTLS.
  std::shared_ptr<const transport::tls::Context> tls_context;
  int smtpd_tls_loglevel = 0;

  // The protocol machine's share of the above.
  transport::smtp::ServerOptions ToServerOptions() const;
};

}  // namespace mailrace::engine

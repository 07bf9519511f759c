#include "engine/intake/intake_options.h"

#include "fmt/format.h"

namespace mailrace::engine {

transport::smtp::ServerOptions IntakeOptions::ToServerOptions() const {
  transport::smtp::ServerOptions server;
  server.hostname = myhostname;
  server.banner =
      smtpd_banner.empty() ? fmt::format("{} ESMTP {}", myhostname, mail_name) : smtpd_banner;
  server.message_size_limit = message_size_limit;
  server.recipient_limit = smtpd_recipient_limit;
  server.recipient_overshoot_limit = smtpd_recipient_overshoot_limit;
  server.hard_error_limit = smtpd_hard_error_limit;
  server.junk_command_limit = smtpd_junk_command_limit;
  server.command_octets_max = line_length_limit;
  server.line_octets_max = smtp_line_length_limit;
  server.bare_newline = smtpd_forbid_bare_newline;
  server.bare_newline_reject_code = smtpd_forbid_bare_newline_reject_code;
  server.forbid_unauth_pipelining = smtpd_forbid_unauth_pipelining;
  server.helo_required = smtpd_helo_required;
  server.starttls = tls_context != nullptr;
  server.auth_mechanisms = auth_mechanisms;
  server.auth_mechanisms_tls = auth_mechanisms_tls;
  server.discard_ehlo_keywords = smtpd_discard_ehlo_keywords;
  return server;
}

}  // namespace mailrace::engine

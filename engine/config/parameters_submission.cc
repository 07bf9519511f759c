// The registry's chapter on what applications hand in.
#include <fmt/format.h>

#include "engine/config/parameter_builders.h"
#include "engine/config/values.h"

namespace mailrace::engine::config {
namespace {

absl::Status SetListeners(std::string_view text, std::vector<SocketAddress>* out) {
  const absl::StatusOr<std::vector<std::string>> words = SplitList(text);
  if (!words.ok()) return words.status();
  std::vector<SocketAddress> addresses;
  for (const std::string& word : *words) {
    const absl::StatusOr<SocketAddress> address = SocketAddress::Parse(word);
    if (!address.ok()) {
      return absl::InvalidArgumentError(
          fmt::format("\"{}\" is not an address and port such as 127.0.0.1:2525", word));
    }
    addresses.push_back(*address);
  }
  *out = std::move(addresses);
  return absl::OkStatus();
}

absl::Status SetSubmission(std::string_view text, Options& o) {
  return SetListeners(text, &o.submission.submission_listen);
}
absl::Status SetTlsSubmission(std::string_view text, Options& o) {
  return SetListeners(text, &o.submission.submission_tls_listen);
}
absl::Status SetHttp(std::string_view text, Options& o) {
  return SetListeners(text, &o.submission.http_listen);
}

absl::Status SetMynetworks(std::string_view text, Options& o) {
  absl::StatusOr<NetworkList> list = NetworkList::Parse(text);
  if (!list.ok()) return list.status();
  o.submission.mynetworks = *std::move(list);
  return absl::OkStatus();
}

constexpr std::string_view kServerSecurityWords = "noplaintext noanonymous";
constexpr std::string_view kListenForm = "address:port, several; empty: none";

}  // namespace

ParameterGroup SubmissionParameters() {
  return {
      "Submission",
      "Who may hand in mail, and how much.",
      {
          Custom("submission_listen", "127.0.0.1:2525", &SetSubmission, kListenForm,
                 "Where SMTP submissions are taken.",
                 "Another address only together with mynetworks.")
              .AtStart(),
          Custom("submission_tls_listen", "", &SetTlsSubmission, kListenForm,
                 "The same with TLS from the first octet (RFC 8314). Needs smtpd_tls_cert_file.",
                 "For applications on other hosts.")
              .AtStart(),
          Custom("http_listen", "127.0.0.1:8025", &SetHttp, kListenForm,
                 "Without effect: reserved for the HTTP interface, which does not exist yet; only "
                 "checked.",
                 "Empty keeps it off for ever.")
              .AtStart(),
          Text("smtpd_tls_cert_file", "", MAILRACE_FIELD(submission.smtpd_tls_cert_file),
               "a PEM file", "The certificate and chain shown to submitting clients.",
               "With submission_tls_listen, or to offer STARTTLS."),
          Text("smtpd_tls_key_file", "$smtpd_tls_cert_file",
               MAILRACE_FIELD(submission.smtpd_tls_key_file), "a PEM file", "Its private key.",
               "With smtpd_tls_cert_file."),
          Custom("mynetworks", "127.0.0.0/8 [::1]/128", &SetMynetworks,
                 "networks such as 192.0.2.0/24 [2001:db8::]/32 !192.0.2.7",
                 "Who may submit. Everybody else is refused; there is no open relay. (Postfix's "
                 "default depends on the host's interfaces.)",
                 "Add the application servers' network."),
          YesNo("smtpd_sasl_auth_enable", "no", MAILRACE_FIELD(submission.smtpd_sasl_auth_enable),
                "Offer AUTH to applications: who logs in may submit from anywhere, and is known by "
                "name to the log, to submission_class_maps and to submission_tenant_maps.",
                "yes for applications outside mynetworks, or to tell tenants apart by login. "
                "With mynetworks empty everybody has to log in."),
          Text("smtpd_sasl_password_maps", "", MAILRACE_FIELD(submission.smtpd_sasl_password_maps),
               "lookup tables",
               "The password of each user who may submit (user password). Files that others than "
               "their owner can read are refused. Mechanisms: CRAM-MD5, PLAIN, LOGIN.",
               "Always with smtpd_sasl_auth_enable = yes."),
          YesNo("smtpd_tls_auth_only", "yes", MAILRACE_FIELD(submission.smtpd_tls_auth_only),
                "Offer AUTH inside TLS only. (Postfix's default is no.)",
                "no only where nobody can listen: the password goes over the wire."),
          Words("smtpd_sasl_security_options", "noanonymous", kServerSecurityWords,
                MAILRACE_FIELD(submission.smtpd_sasl_security_options),
                "noplaintext leaves CRAM-MD5 alone, in sessions without TLS.", "Hardly ever."),
          Words("smtpd_sasl_tls_security_options", "$smtpd_sasl_security_options",
                kServerSecurityWords, MAILRACE_FIELD(submission.smtpd_sasl_tls_security_options),
                "The same inside TLS.", "Hardly ever."),
          YesNo("smtpd_sasl_authenticated_header", "no",
                MAILRACE_FIELD(submission.smtpd_sasl_authenticated_header),
                "Name the user in the message's Received field.",
                "yes where abuse is to be traced from the message alone."),
          YesNo("submission_add_missing_headers", "yes",
                MAILRACE_FIELD(submission.submission_add_missing_headers),
                "Add Date and Message-ID where they are absent (RFC 6409 8).",
                "no to pass content through untouched, apart from Received."),
          Text("smtpd_banner", "$myhostname ESMTP $mail_name",
               MAILRACE_FIELD(submission.smtpd_banner), "text that begins with a host name",
               "What follows 220 in the greeting.", "Hardly ever."),
          Octets("message_size_limit", "10240000", 0, INT64_MAX,
                 MAILRACE_FIELD(submission.message_size_limit),
                 "The largest message, header and body; 0: no limit.",
                 "To what the relay takes: it says so in its reply to EHLO."),
          Octets("header_size_limit", "102400", 1, 1 << 30,
                 MAILRACE_FIELD(submission.header_size_limit), "The largest header section.",
                 "Hardly ever."),
          Octets("line_length_limit", "2048", 512, 1 << 20,
                 MAILRACE_FIELD(submission.line_length_limit), "The longest SMTP command line.",
                 "Hardly ever."),
          Integer("smtpd_recipient_limit", "1000", 1, 1'000'000,
                  MAILRACE_FIELD(submission.smtpd_recipient_limit),
                  "The most recipients of a message; more are put off (452 4.5.3). RFC 5321 "
                  "4.5.3.1.8 asks for at least 100.",
                  "More for applications that cannot split."),
          Time("smtpd_timeout", "300s", 's', 1, kDay, MAILRACE_FIELD(submission.smtpd_timeout),
               "For the next command or block of a client.", "Hardly ever."),
          Integer("smtpd_hard_error_limit", "20", 1, 1'000'000,
                  MAILRACE_FIELD(submission.smtpd_hard_error_limit),
                  "After this many errors a client is disconnected (421).",
                  "More for applications that try many bad addresses in one session."),
          Integer("smtpd_soft_error_limit", "10", 0, 1'000'000,
                  MAILRACE_FIELD(submission.smtpd_soft_error_limit),
                  "Accepted for compatibility, without effect: nobody is slowed down; "
                  "smtpd_hard_error_limit ends the session.",
                  "Never."),
          Integer("smtpd_junk_command_limit", "100", 1, 1'000'000,
                  MAILRACE_FIELD(submission.smtpd_junk_command_limit),
                  "NOOP, RSET, VRFY and the like between messages before they count as errors.",
                  "Hardly ever."),
          Integer("smtpd_client_connection_count_limit", "50", 0, 1'000'000,
                  MAILRACE_FIELD(submission.smtpd_client_connection_count_limit),
                  "Connections from one address at a time; 0: no limit. Clients in mynetworks are "
                  "not counted.",
                  "Hardly ever."),
          Words("smtpd_discard_ehlo_keywords", "", kEhloKeywords,
                MAILRACE_FIELD(submission.smtpd_discard_ehlo_keywords),
                "What is not announced to applications. Without dsn its parameters are refused, "
                "too: nobody can ask for success notices.",
                "silent-discard, dsn as in Postfix's DSN_README."),
          Word("smtpd_forbid_bare_newline", "reject", "no yes normalize reject note",
               MAILRACE_FIELD(submission.smtpd_forbid_bare_newline),
               "Content with bare LF or CR: refused after its true end (reject), made CRLF "
               "(normalize), or taken for what it is (no). The default is stricter than "
               "Postfix's normalize. yes means normalize, note means no with a log line.",
               "normalize for applications that send bare LF."),
      }};
}

}  // namespace mailrace::engine::config

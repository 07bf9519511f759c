// The registry's chapter on logging in to the relay.
#include "engine/config/parameter_builders.h"

namespace mailrace::engine::config {
namespace {

constexpr std::string_view kSecurityWords =
    "noplaintext noactive nodictionary forward_secrecy noanonymous mutual_auth";

}  // namespace

ParameterGroup SaslParameters() {
  return {
      "Login to the relay (SASL)",
      "Which password is used, and which mechanisms may see it. Plaintext mechanisms (PLAIN, "
      "LOGIN) are refused by default; allowing them on connections whose certificate is not "
      "checked is the operator's explicit word, by smtp_sasl_tls_security_options.",
      {
          YesNo("smtp_sasl_auth_enable", "no", MAILRACE_FIELD(sasl.smtp_sasl_auth_enable),
                "Log in to servers that offer AUTH and for which there is a password.",
                "yes for a relay that wants a login."),
          Text("smtp_sasl_password_maps", "", MAILRACE_FIELD(sasl.smtp_sasl_password_maps),
               "lookup tables",
               "user:password by server host name, then by the next-hop as written in relayhost "
               "(with brackets and port). Read at start and on reload. An entry without a password "
               "(\"user\", or \":\" for whom the certificate names) logs in by EXTERNAL where "
               "there is "
               "a client certificate and the server offers it; one with a password does so if "
               "nothing else is left, as with smtp_sasl_mechanism_filter = external.",
               "Always with smtp_sasl_auth_enable = yes."),
          Text("smtp_sasl_password_result_delimiter", ":",
               MAILRACE_FIELD(sasl.smtp_sasl_password_result_delimiter), "one or more characters",
               "Between user and password; the first one counts.",
               "When a user name contains a colon."),
          YesNo("sasl_password_file_check", "yes", MAILRACE_FIELD(sasl.sasl_password_file_check),
                "Refuse password files that others than their owner can read or replace.",
                "no only where another mechanism protects the file and its mode cannot."),
          Words("smtp_sasl_security_options", "noplaintext, noanonymous", kSecurityWords,
                MAILRACE_FIELD(sasl.smtp_sasl_security_options),
                "What a mechanism must not be, or must offer, on connections without TLS. Empty: "
                "no restriction.",
                "Empty or noanonymous allows clear-text passwords on the open network: for "
                "throw-away accounts and loopback only."),
          Words("smtp_sasl_tls_security_options", "$smtp_sasl_security_options", kSecurityWords,
                MAILRACE_FIELD(sasl.smtp_sasl_tls_security_options),
                "The same with TLS, where the certificate need not match (none below MUST: may, "
                "encrypt, MUST_NOPEERMATCH).",
                "noanonymous for the usual relay that offers PLAIN and LOGIN."),
          Words(
              "smtp_sasl_tls_verified_security_options", "$smtp_sasl_tls_security_options",
              kSecurityWords, MAILRACE_FIELD(sasl.smtp_sasl_tls_verified_security_options),
              "The same with TLS whose certificate was demanded to match, and did.",
              "noanonymous here alone sends passwords to proven servers only: the safest set-up."),
          List("smtp_sasl_mechanism_filter", "", MAILRACE_FIELD(sasl.smtp_sasl_mechanism_filter),
               "mechanism names, !name, static:all",
               "The server's list is cut down to what matches; the first match decides. Empty: "
               "everything.",
               "When a server offers a mechanism that does not work."),
          Word("smtp_sasl_type", "cyrus", "cyrus gsasl", MAILRACE_FIELD(sasl.smtp_sasl_type),
               "Accepted for compatibility; the mechanisms are GNU SASL's.", "Never."),
          Text("smtp_sasl_path", "", MAILRACE_FIELD(sasl.smtp_sasl_path), "text",
               "Accepted for compatibility, without effect.", "Never."),
          YesNo("smtp_sasl_auth_soft_bounce", "yes",
                MAILRACE_FIELD(sasl.smtp_sasl_auth_soft_bounce),
                "Treat a refused login as temporary: mail waits until the password is mended.",
                "no returns mail at once when a login is refused."),
          Time("sasl_failure_pause", "300s", 's', 1, kDay, MAILRACE_FIELD(sasl.sasl_failure_pause),
               "How long a credential that the server refused is not tried again, by any "
               "connection.",
               "More for servers that lock accounts after few failures."),
          Text("smtp_sasl_auth_cache_name", "", MAILRACE_FIELD(sasl.smtp_sasl_auth_cache_name),
               "a table or empty",
               "If it is set, a password that was refused (535) is not tried again for "
               "smtp_sasl_auth_cache_time, whatever is reloaded; another password is. It is "
               "remembered in memory: the file that this names is not used.",
               "For servers that lock accounts."),
          Time("smtp_sasl_auth_cache_time", "90d", 's', 1, 366 * kDay,
               MAILRACE_FIELD(sasl.smtp_sasl_auth_cache_time),
               "How long, with smtp_sasl_auth_cache_name.", "Hardly ever."),
          YesNo("sasl_require_auth", "no", MAILRACE_FIELD(sasl.sasl_require_auth),
                "Where there is a password for a server that does not announce AUTH: defer, "
                "instead of going on without a login as Postfix does.",
                "yes when mail without a login would be refused, or be somebody else's."),
          Text("sasl_token_maps", "", MAILRACE_FIELD(sasl.sasl_token_maps), "lookup tables",
               "By user of smtp_sasl_password_maps: where its bearer token comes from, file:/path "
               "or command:/path arguments. Such a user logs in by OAUTHBEARER or XOAUTH2, over "
               "TLS only, and has no password. What the file holds or the command prints is the "
               "token, or JSON with access_token and expires_in; a JWT's exp counts too. The "
               "command runs without a shell, as the user that mailrace runs as; what it prints "
               "is bounded to 64k.",
               "For Gmail, Microsoft 365 and their kin."),
          Time("sasl_token_lifetime", "300s", 's', 1, kDay,
               MAILRACE_FIELD(sasl.sasl_token_lifetime),
               "How long a token is used that does not say when it ends. Tokens are fetched anew "
               "a tenth of their time (at most a minute) before, and once when a server refuses "
               "one.",
               "More when fetching one is expensive."),
          Time("sasl_token_command_timeout", "30s", 's', 1, 300,
               MAILRACE_FIELD(sasl.sasl_token_command_timeout),
               "How long a command may take to print a token; then it is killed.",
               "Less when several accounts share one slow identity provider."),
          YesNo("smtp_sender_dependent_authentication", "no",
                MAILRACE_FIELD(sasl.smtp_sender_dependent_authentication),
                "Look up passwords by the envelope sender first; sessions are then never shared "
                "between senders.",
                "When each sender has an own account at the relay."),
      }};
}

}  // namespace mailrace::engine::config

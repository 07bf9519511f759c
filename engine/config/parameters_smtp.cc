// The registry's chapters on the relay client: where mail goes, and how patiently.
#include <fmt/format.h>

#include "base/socket_address.h"
#include "engine/config/parameter_builders.h"

namespace mailrace::engine::config {
namespace {

absl::Status SetTcpPort(std::string_view text, Options& o) {
  const absl::StatusOr<uint16_t> port = ParsePort(text);
  if (!port.ok()) return port.status();
  o.smtp.smtp_tcp_port = std::string(text);
  o.smtp.smtp_tcp_port_number = *port;
  return absl::OkStatus();
}

absl::Status SetNexthops(std::string_view text, const Options& o, std::vector<Nexthop>* out) {
  absl::StatusOr<std::vector<Nexthop>> nexthops = ParseNexthops(text, o.smtp.smtp_tcp_port_number);
  if (!nexthops.ok()) return nexthops.status();
  *out = *std::move(nexthops);
  return absl::OkStatus();
}

absl::Status SetRelayhost(std::string_view text, Options& o) {
  return SetNexthops(text, o, &o.smtp.relayhost);
}
absl::Status SetFallbackRelay(std::string_view text, Options& o) {
  return SetNexthops(text, o, &o.smtp.smtp_fallback_relay);
}

absl::Status SetBindAddress(std::string_view text, bool v6, std::string* out) {
  if (v6 && text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
  if (!text.empty()) {
    const absl::StatusOr<IpAddress> ip = IpAddress::Parse(text);
    if (!ip.ok() || ip->v6 != v6) {
      return absl::InvalidArgumentError(
          fmt::format("\"{}\" is not an {} address", text, v6 ? "IPv6" : "IPv4"));
    }
  }
  *out = std::string(text);
  return absl::OkStatus();
}

absl::Status SetBindAddress4(std::string_view text, Options& o) {
  return SetBindAddress(text, false, &o.smtp.smtp_bind_address);
}
absl::Status SetBindAddress6(std::string_view text, Options& o) {
  return SetBindAddress(text, true, &o.smtp.smtp_bind_address6);
}

}  // namespace

ParameterGroup RelayParameters() {
  return {
      "Relay",
      "Where mail goes and from which address.",
      {
          // Before relayhost: it is the default port of what follows.
          Custom("smtp_tcp_port", "smtp", &SetTcpPort, "a port number or service name",
                 "The port of next-hops that name none.",
                 "For a relay on another port, rather "
                 "write it in relayhost."),
          Custom("relayhost", "", &SetRelayhost,
                 "[host]:port, host:port, [host], host, [1.2.3.4], [IPv6 address]:port; several "
                 "are tried in order",
                 "The next-hop of all mail. Brackets switch the MX lookup off. Empty: the "
                 "recipient's domain by its MX.",
                 "Set it to the provider's submission host, usually [host]:587."),
          Custom(
              "smtp_fallback_relay", "", &SetFallbackRelay, "as relayhost",
              "Next-hops to try when the ordinary one cannot be found or reached. Not for mail of "
              "a domain whose exchanger we are ourselves.",
              "When there is a second relay that may take mail at any time."),
          Words("smtp_discard_ehlo_keywords", "", kEhloKeywords,
                MAILRACE_FIELD(smtp.smtp_discard_ehlo_keywords),
                "What a relay may say in reply to EHLO without being believed.",
                "dsn when the relay mishandles NOTIFY; pipelining for one that loses commands."),
          Text("smtp_helo_name", "$myhostname", MAILRACE_FIELD(smtp.smtp_helo_name), "a host name",
               "The name in EHLO and HELO.",
               "When the relay checks it against the address's reverse name."),
          Custom("smtp_bind_address", "", &SetBindAddress4, "an IPv4 address or empty",
                 "The local address of outgoing IPv4 connections.",
                 "On a host with several addresses of which the relay admits one."),
          Custom("smtp_bind_address6", "", &SetBindAddress6, "an IPv6 address or empty",
                 "The local address of outgoing IPv6 connections.", "As smtp_bind_address."),
          YesNo("smtp_bind_address_enforce", "no", MAILRACE_FIELD(smtp.smtp_bind_address_enforce),
                "Defer when the local address cannot be bound, instead of going on without.",
                "When mail must not leave by another address."),
          Words("inet_protocols", "all", "all ipv4 ipv6", MAILRACE_FIELD(smtp.inet_protocols),
                "The IP versions that are used.",
                "ipv4 on hosts whose IPv6 connectivity is broken."),
          Word("smtp_address_preference", "any", "any ipv4 ipv6",
               MAILRACE_FIELD(smtp.smtp_address_preference),
               "Which addresses of a host are tried first.",
               "When one IP version is slower or less trusted by the relay."),
          Words("smtp_host_lookup", "dns", "dns native", MAILRACE_FIELD(smtp.smtp_host_lookup),
                "Accepted for compatibility, without effect: a name in /etc/hosts has the "
                "addresses that stand there, all others those of DNS.",
                "Never."),
          Words("smtp_dns_support_level", "", "disabled enabled dnssec",
                MAILRACE_FIELD(smtp.smtp_dns_support_level),
                "disabled: as disable_dns_lookups = yes. enabled and dnssec are the same: answers "
                "are validated where their zone is signed.",
                "On networks without DNS."),
          YesNo("disable_dns_lookups", "no", MAILRACE_FIELD(smtp.disable_dns_lookups),
                "No MX lookups at all: the next-hop is the host.", "On networks without DNS."),
          Integer("smtp_mx_address_limit", "5", 0, 1000, MAILRACE_FIELD(smtp.smtp_mx_address_limit),
                  "How many addresses of a destination are considered; 0: all.", "Hardly ever."),
          Integer("smtp_mx_session_limit", "2", 0, 1000, MAILRACE_FIELD(smtp.smtp_mx_session_limit),
                  "Accepted for compatibility, without effect: as in Postfix, sessions whose "
                  "handshake fails do not count, and here the first host that takes the session "
                  "has the word.",
                  "Never."),
          YesNo("smtp_randomize_addresses", "yes", MAILRACE_FIELD(smtp.smtp_randomize_addresses),
                "Shuffle hosts of equal preference.", "no for a fixed order."),
          YesNo("smtp_skip_5xx_greeting", "yes", MAILRACE_FIELD(smtp.smtp_skip_5xx_greeting),
                "Go on to the next host when one greets with 5xx, and let the mail wait. no: the "
                "mail is returned at once.",
                "Hardly ever."),
          YesNo("smtp_always_send_ehlo", "yes", MAILRACE_FIELD(smtp.smtp_always_send_ehlo),
                "Say EHLO whatever the greeting. no: HELO to who does not say ESMTP in it.",
                "Hardly ever."),
          YesNo("smtp_never_send_ehlo", "no", MAILRACE_FIELD(smtp.smtp_never_send_ehlo),
                "Say HELO only: no TLS, no login.", "For a server that chokes on EHLO."),
          YesNo("smtp_skip_quit_response", "yes", MAILRACE_FIELD(smtp.smtp_skip_quit_response),
                "Do not wait for the reply to QUIT.", "Hardly ever."),
          Octets("smtp_line_length_limit", "998", 0, 1 << 20,
                 MAILRACE_FIELD(smtp.smtp_line_length_limit),
                 "The longest line of content without its CRLF; SMTP submissions with longer ones "
                 "are refused, never rewritten; sendmail folds them, as Postfix does. 0: none.",
                 "0 when applications send long lines and the relay takes them."),
      }};
}

ParameterGroup SmtpTimeParameters() {
  return {
      "Time limits and session reuse of the relay client",
      "The time limits are Postfix's, which are RFC 5321 4.5.3.2's or longer.",
      {
          Time("smtp_connect_timeout", "30s", 's', 0, kHour,
               MAILRACE_FIELD(smtp.smtp_connect_timeout),
               "For a TCP connection; 0: the kernel's own limit.",
               "Less when a dead host of several should be passed quickly."),
          Time("smtp_helo_timeout", "300s", 's', 1, kDay, MAILRACE_FIELD(smtp.smtp_helo_timeout),
               "For the greeting, and for the reply to EHLO or HELO.", "Hardly ever."),
          Time("smtp_starttls_timeout", "300s", 's', 1, kDay,
               MAILRACE_FIELD(smtp.smtp_starttls_timeout),
               "For STARTTLS and each step of the handshake.", "Hardly ever."),
          Time("smtp_mail_timeout", "300s", 's', 1, kDay, MAILRACE_FIELD(smtp.smtp_mail_timeout),
               "For the reply to MAIL.", "Hardly ever."),
          Time("smtp_rcpt_timeout", "300s", 's', 1, kDay, MAILRACE_FIELD(smtp.smtp_rcpt_timeout),
               "For the reply to RCPT.", "Hardly ever."),
          Time("smtp_data_init_timeout", "120s", 's', 1, kDay,
               MAILRACE_FIELD(smtp.smtp_data_init_timeout), "For the reply to DATA.",
               "Hardly ever."),
          Time("smtp_data_xfer_timeout", "180s", 's', 1, kDay,
               MAILRACE_FIELD(smtp.smtp_data_xfer_timeout),
               "For each block of content to be taken by the network.", "Hardly ever."),
          Time("smtp_data_done_timeout", "600s", 's', 1, kDay,
               MAILRACE_FIELD(smtp.smtp_data_done_timeout),
               "For the reply after the final dot. Shorter means duplicates.",
               "More for relays that scan for minutes before they answer."),
          Time("smtp_rset_timeout", "20s", 's', 1, kDay, MAILRACE_FIELD(smtp.smtp_rset_timeout),
               "For the reply to RSET, and for the first reply on a connection that lay idle: then "
               "another one is used.",
               "More for a relay that is slow to answer MAIL."),
          Time("smtp_quit_timeout", "300s", 's', 1, kDay, MAILRACE_FIELD(smtp.smtp_quit_timeout),
               "For the reply to QUIT with smtp_skip_quit_response = no.", "Hardly ever."),
          YesNo("smtp_connection_cache_on_demand", "yes",
                MAILRACE_FIELD(smtp.smtp_connection_cache_on_demand),
                "Keep sessions open for the next message.",
                "no for a relay that counts messages a connection."),
          Time("smtp_connection_cache_time_limit", "2s", 's', 0, kHour,
               MAILRACE_FIELD(smtp.smtp_connection_cache_time_limit),
               "How long an idle session is kept.",
               "More for a steady trickle of mail to one relay, if the relay's own idle limit is "
               "longer still."),
          Time("smtp_connection_reuse_time_limit", "300s", 's', 0, kDay,
               MAILRACE_FIELD(smtp.smtp_connection_reuse_time_limit),
               "How long a session is used after it was made.",
               "Less when a relay ends old sessions."),
          Integer("smtp_connection_reuse_count_limit", "0", 0, 1'000'000,
                  MAILRACE_FIELD(smtp.smtp_connection_reuse_count_limit),
                  "How many messages a session carries; 0: any number.",
                  "For a relay with a limit of messages a connection."),
          YesNo(
              "smtp_cross_message_pipelining", "yes",
              MAILRACE_FIELD(smtp.smtp_cross_message_pipelining),
              "Let the next message's envelope travel behind the end of the one before, where the "
              "relay offers PIPELINING: a round trip less for each message.",
              "no for a relay that loses its place; most such are found out by themselves."),
          Integer("smtp_bdat_window", "32", 0, 1000, MAILRACE_FIELD(smtp.smtp_bdat_window),
                  "Where the relay offers CHUNKING and several messages wait: how many at most may "
                  "be under way by BDAT on one connection, their ends unanswered. How many are, "
                  "is found out: as many as fit into a round trip. 0: never BDAT, as Postfix.",
                  "More for a relay that is very far away and takes all that it gets; less where "
                  "fewer messages may be sent twice when a connection breaks or the host dies: "
                  "at most so many for each connection."),
          Time("smtp_tolerance_time", "1h", 's', 1, kDay, MAILRACE_FIELD(smtp.smtp_tolerance_time),
               "For how long a relay that lost its place when it was spoken to ahead of its "
               "replies gets one message at a time and no BDAT, and one that said 452 to some of a "
               "message's recipients is asked for no more than it took.",
               "Less when such a relay has been mended; a reload forgets at once."),
      }};
}

}  // namespace mailrace::engine::config

// The registry's chapters on the host, its logs and its entropy.
#include <fmt/format.h>

#include "base/text.h"
#include "engine/config/parameter_builders.h"

namespace mailrace::engine::config {

ParameterGroup GeneralParameters() {
  return {
      "This host",
      "Names and directories. As in Postfix, except where the directories are.",
      {
          Text("myhostname", "", MAILRACE_FIELD(general.myhostname), "a host name",
               "The name that this host gives itself: in EHLO, Received, Message-ID and bounces. "
               "Empty: the system's host name, made fully qualified with $mydomain.",
               "When the system's name is not the one that the world knows, or that relays accept "
               "in EHLO."),
          Text("mydomain", "", MAILRACE_FIELD(general.mydomain), "a domain name",
               "Empty: $myhostname without its first component, or localdomain.",
               "When the domain is not simply the rest of the host name."),
          Text("myorigin", "$myhostname", MAILRACE_FIELD(general.myorigin),
               "a domain name, or /file that holds one",
               "Appended to addresses without a domain that are submitted locally.",
               "When mail should come from user@domain rather than user@host."),
          Text("mail_name", "Mailrace", MAILRACE_FIELD(general.mail_name), "text",
               "The product's name in the banner and in Received headers.",
               "Set it to Postfix when a log or header parser insists."),
          Text("config_directory", "", MAILRACE_FIELD(general.config_directory), "a directory",
               "Where main.cf is: what -c said. Setting it in main.cf has no effect.", "Never.")
              .AtStart(),
          Text("queue_directory", "/var/spool/mailrace", MAILRACE_FIELD(general.queue_directory),
               "an absolute path",
               "The durable queue. One running instance owns it; made with mode 0700 if missing.",
               "To put the queue on its own, fast and honest, disk; or to run two instances.")
              .AtStart(),
          Text("data_directory", "/var/lib/mailrace", MAILRACE_FIELD(general.data_directory),
               "an absolute path", "Small files that survive restarts: the entropy exchange file.",
               "When /var/lib is not writable, or to run two instances.")
              .AtStart(),
          Integer(
              "engine_shards", "0", 0, 1024, MAILRACE_FIELD(general.engine_shards),
              "Threads with an io_uring each. 0: one for each core but one, which the commit "
              "thread uses, and at least one.",
              "Fewer leave cores to the application on the same machine; more, up to the cores, "
              "when `mailrace bench` finds the shards at their limit.")
              .AtStart(),
          Octets("queue_memory_limit", "512M", 16 << 20, INT64_MAX,
                 MAILRACE_FIELD(general.queue_memory_limit),
                 "Memory of the queue, all shards together, however long it is: a quarter for "
                 "messages, an eighth for jobs (144 octets each), a quarter (at most 256M) and a "
                 "sixteenth (at most 64M) for the store, the rest for sessions. Beyond it bodies, "
                 "and then messages as a whole, wait on disk alone.",
                 "More for a large backlog of deferred mail that should drain fast; less on a "
                 "small machine.")
              .AtStart(),
          Octets(
              "queue_log_reserve", "40M", 0, 1 << 30, MAILRACE_FIELD(general.queue_log_reserve),
              "What a new queue takes of the disk, twice, so that its first logs are written over "
              "octets that are there: a sync costs half. Up to four logs that are done with are "
              "kept for the next ones. Nothing is taken where it is more than a sixteenth of what "
              "is free. 0: logs grow, and go.",
              "0 where each octet of the disk counts, or on a file system that copies what is "
              "written over (btrfs, ZFS).")
              .AtStart(),
          Time("shutdown_grace_time", "60s", 's', 0, kHour,
               MAILRACE_FIELD(general.shutdown_grace_time),
               "How long a stop waits for transactions under way. What is unfinished then stays "
               "in the queue; whoever's final dot has no answer yet may get the mail twice. A "
               "second SIGTERM ends the wait.",
               "Below the stop limit of a supervisor other than systemd, which is told."),
          Text("compatibility_level", "0", MAILRACE_FIELD(general.compatibility_level),
               "a Postfix version",
               "Without effect but in expressions that mention it: no default here depends on it.",
               "Leave it as the Postfix main.cf has it."),
          Text("recipient_delimiter", "", MAILRACE_FIELD(general.recipient_delimiter), "characters",
               "Separates a user from an extension; used when senders are looked up for "
               "smtp_sender_dependent_authentication.",
               "As in the Postfix configuration that mail comes from."),
      }};
}

ParameterGroup LogParameters() {
  return {"Logs",
          "Lines are Postfix's, so that its log tools work. See LOGS.md.",
          {
              Text("syslog_name", "postfix", MAILRACE_FIELD(log.syslog_name), "a word",
                   "The name before the service in each line: postfix/smtp[123].",
                   "To tell two instances apart.")
                  .AtStart(),
              Word("syslog_facility", "mail",
                   "auth authpriv cron daemon ftp kern local0 local1 local2 local3 local4 local5 "
                   "local6 local7 lpr mail news syslog user uucp",
                   MAILRACE_FIELD(log.syslog_facility), "The facility for log_output = syslog.",
                   "When mail logs are collected under another facility.")
                  .AtStart(),
              Text("maillog_file", "", MAILRACE_FIELD(log.maillog_file),
                   "an absolute path, /dev/stdout, or empty",
                   "Log to this file; reopened on reload, so that it can be rotated.",
                   "When there is no syslog daemon, as in many containers.")
                  .AtStart(),
              Word("log_format", "postfix", "postfix postfix2.2", MAILRACE_FIELD(log.log_format),
                   "Current delivery lines (relay=host[ip]:port, delays=, dsn=), or those of "
                   "Postfix 2.2.",
                   "postfix2.2 for old log parsers."),
              Word("log_output", "${maillog_file?{file}:{stderr}}", "stderr file syslog",
                   MAILRACE_FIELD(log.log_output), "Where log lines go.",
                   "syslog on a classic host; stderr under systemd or in a container.")
                  .AtStart(),
          }};
}

namespace {

// The grammar of the entropy service: "dev:PATH", "egd:PATH", "PATH" or nothing.
absl::Status SetRandomSource(std::string_view text, Options& o) {
  std::string_view path = text;
  if (StartsWithIgnoreCase(path, "dev:") || StartsWithIgnoreCase(path, "egd:")) {
    path.remove_prefix(4);
    if (path.empty()) {
      return absl::InvalidArgumentError(fmt::format("\"{}\" names no path", text));
    }
  }
  if (!path.empty() && path.front() != '/') {
    return absl::InvalidArgumentError(fmt::format(
        "\"{}\" is not dev:/path, egd:/path (also for PRNGD) or /path", text.substr(0, 80)));
  }
  o.entropy.tls_random_source = std::string(text);
  return absl::OkStatus();
}

}  // namespace

ParameterGroup EntropyParameters() {
  return {"Entropy",
          "One central service feeds the TLS library, on top of the kernel's own generator.",
          {
              Custom("tls_random_source", "dev:/dev/urandom", &SetRandomSource,
                     "dev:/path, egd:/path, /path (a file, read once) or empty",
                     "Where fresh entropy comes from. egd: also speaks to PRNGD.",
                     "For a hardware generator, or an EGD service that policy prescribes.")
                  .AtStart(),
              Integer("tls_random_bytes", "32", 1, 65535, MAILRACE_FIELD(entropy.tls_random_bytes),
                      "Octets taken at each reseed; devices and egd give at most 255 at a time.",
                      "Hardly ever.")
                  .AtStart(),
              Integer("tls_daemon_random_bytes", "32", 1, 255,
                      MAILRACE_FIELD(entropy.tls_daemon_random_bytes),
                      "Accepted for compatibility, without effect: no process asks another for a "
                      "seed; the TLS library's generator has the kernel's and what "
                      "tls_random_source adds.",
                      "Never.")
                  .AtStart(),
              Time("tls_random_reseed_period", "3600s", 's', 1, 365 * kDay,
                   MAILRACE_FIELD(entropy.tls_random_reseed_period),
                   "The longest time between reseeds; each is drawn evenly from 0 to this.",
                   "Shorter where policy prescribes frequent reseeding.")
                  .AtStart(),
              Time("tls_random_prng_update_period", "3600s", 's', 1, 365 * kDay,
                   MAILRACE_FIELD(entropy.tls_random_prng_update_period),
                   "The longest time between updates of the exchange file, drawn likewise.",
                   "Hardly ever.")
                  .Alias("tls_random_upd_period")
                  .AtStart(),
              Text("tls_random_exchange_name", "${data_directory}/prng_exch",
                   MAILRACE_FIELD(entropy.tls_random_exchange_name), "an absolute path",
                   "1024 octets of generator state that survive restarts; mode 0600.",
                   "When data_directory is read-only.")
                  .AtStart(),
          }};
}

}  // namespace mailrace::engine::config

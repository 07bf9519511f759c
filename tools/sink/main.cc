// mailrace-sink: an SMTP server that takes everything, counts it and writes down what it
// took. What relays are tried and measured against.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "base/text.h"
#include "fmt/format.h"
#include "tools/common/append_file.h"
#include "tools/common/main_wait.h"
#include "tools/common/password.h"
#include "tools/sink/server.h"

namespace {

using namespace mailrace;
using namespace mailrace::tools;

struct Arguments {
  sink::SinkOptions sink;
  std::string listen = "127.0.0.1:2526";
  std::string password_file;
  std::string pid_file;
  double timeout_seconds = 300;
  double reply_delay_milliseconds = 0;
  double distance_milliseconds = 0;
  double stats_interval_seconds = 0;
  bool json = false;
};

void AddSecurityOptions(CLI::App* app, Arguments* a) {
  app->add_flag("--tls", a->sink.tls, "Offer STARTTLS");
  app->add_flag("--implicit-tls", a->sink.implicit_tls, "Speak TLS from the first octet");
  app->add_option("--cert", a->sink.cert_file,
                  "Certificate chain in PEM; without it a self-signed one is made in memory");
  app->add_option("--key", a->sink.key_file, "Private key in PEM, if not in the --cert file");
  app->add_option("--write-cert", a->sink.write_cert_file,
                  "Write the certificate here, for the client's CAfile");
  app->add_flag("--require-tls", a->sink.require_tls, "Refuse mail and AUTH without TLS");
  app->add_option("--user", a->sink.user, "Offer AUTH for this user");
  app->add_option("--password-file", a->password_file,
                  "Its first line is the user's password (or MAILRACE_SINK_PASSWORD)");
  app->add_flag("--require-auth", a->sink.require_auth, "Refuse mail without AUTH");
  app->add_option("--mechanisms", a->sink.mechanisms, "SASL mechanisms to offer, in order")
      ->delimiter(',');
}

void AddOptions(CLI::App* app, Arguments* a) {
  app->add_option("--listen", a->listen, "HOST:PORT; port 0: the system chooses")
      ->capture_default_str();
  app->add_option("--threads", a->sink.threads)->capture_default_str()->check(CLI::Range(1, 256));
  app->add_option("--hostname", a->sink.host_name, "In the greeting and the certificate")
      ->capture_default_str();
  AddSecurityOptions(app, a);
  app->add_option("--without", a->sink.without, "EHLO keywords not to offer: PIPELINING,CHUNKING")
      ->delimiter(',');
  app->add_option("--max-size", a->sink.message_octets_max, "Of a message, in octets")
      ->capture_default_str();
  app->add_option("--max-recipients", a->sink.recipients_max, "Of a transaction")
      ->capture_default_str();
  app->add_option("--timeout", a->timeout_seconds, "Seconds until an idle session ends")
      ->capture_default_str();
  app->add_option("--reply-delay", a->reply_delay_milliseconds,
                  "Milliseconds to wait before each group of replies, reading nothing");
  app->add_option("--distance", a->distance_milliseconds,
                  "Milliseconds that each reply is on its way while reading goes on, as from a "
                  "relay that is far away; in clear text only");
  app->add_option("--fault", a->sink.faults,
                  "What goes wrong: rcpt:450:0.1 dot:451:1/100 mail:421 rcpt=bad@:550 drop@dot "
                  "lost@dot stall@data garbage@ehlo; may be repeated")
      ->delimiter(',');
  app->add_option("--seed", a->sink.seed, "Of the faults' probabilities")->capture_default_str();
  app->add_option("--record", a->sink.record_file, "Append a JSON line for each message");
  app->add_flag("--record-sync", a->sink.record_sync, "Write it out before the 250");
  app->add_option("--store", a->sink.store_directory, "Directory for each message's octets");
  app->add_option("--max-messages", a->sink.messages_max, "End after so many");
  app->add_option("--stats-interval", a->stats_interval_seconds, "Seconds between totals");
  app->add_flag("--json", a->json, "Totals as JSON");
  app->add_option("--pid-file", a->pid_file, "Write the process id here when ready");
}

// What the options alone cannot say.
absl::Status Complete(Arguments* a) {
  absl::StatusOr<SocketAddress> listen = SocketAddress::Parse(a->listen);
  if (!listen.ok()) return listen.status();
  a->sink.listen = *listen;
  a->sink.timeout = absl::Seconds(a->timeout_seconds);
  a->sink.reply_delay = absl::Milliseconds(a->reply_delay_milliseconds);
  a->sink.distance = absl::Milliseconds(a->distance_milliseconds);
  for (std::string& word : a->sink.without) word = AsciiUppered(word);
  for (std::string& word : a->sink.mechanisms) word = AsciiUppered(word);
  if (!a->sink.cert_file.empty() && !a->sink.implicit_tls) a->sink.tls = true;
  if (a->sink.require_tls && !a->sink.tls && !a->sink.implicit_tls) {
    return absl::InvalidArgumentError("--require-tls needs --tls");
  }
  if (a->sink.user.empty()) {
    if (!a->sink.require_auth) return absl::OkStatus();
    return absl::InvalidArgumentError("--require-auth needs --user");
  }
  absl::StatusOr<std::string> password = ReadPassword(a->password_file, "MAILRACE_SINK_PASSWORD");
  if (!password.ok()) return password.status();
  a->sink.password = *std::move(password);
  return absl::OkStatus();
}

void PrintTotals(const sink::SinkServer& server, bool json) {
  if (json) {
    std::printf("%s\n", server.Totals().ToString().c_str());
  } else {
    using Counters = sink::SinkCounters;
    std::printf(
        "mailrace-sink: %llu messages, %llu recipients, %llu octets, %llu connections, "
        "%llu AUTH, %llu TLS (%llu resumed), %llu faults\n",
        static_cast<unsigned long long>(server.Total(&Counters::messages)),
        static_cast<unsigned long long>(server.Total(&Counters::recipients)),
        static_cast<unsigned long long>(server.Total(&Counters::octets)),
        static_cast<unsigned long long>(server.Total(&Counters::connections)),
        static_cast<unsigned long long>(server.Total(&Counters::auth_successes)),
        static_cast<unsigned long long>(server.Total(&Counters::tls_handshakes)),
        static_cast<unsigned long long>(server.Total(&Counters::tls_resumed)),
        static_cast<unsigned long long>(server.Total(&Counters::faults)));
  }
  std::fflush(stdout);
}

// Until a signal or --max-messages. Records reach their file in between, so that others
// can follow it.
void WaitForEnd(MainWait* wait, sink::SinkServer* server, const Arguments& arguments) {
  constexpr absl::Duration kFlushInterval = absl::Milliseconds(200);
  const absl::Duration interval = absl::Seconds(arguments.stats_interval_seconds);
  absl::Time next = absl::Now() + interval;
  const absl::Duration look =
      interval > absl::ZeroDuration() ? std::min(interval, kFlushInterval) : kFlushInterval;
  while (wait->Wait(look) == MainWait::Reason::kTimeout) {
    server->FlushRecords().IgnoreError();  // Kept, and told at the end.
    if (interval <= absl::ZeroDuration() || absl::Now() < next) continue;
    PrintTotals(*server, arguments.json);
    next += interval;
  }
}

int Fail(const absl::Status& status, int exit_status) {
  std::fprintf(stderr, "mailrace-sink: %s\n", std::string(status.message()).c_str());
  return exit_status;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"mailrace-sink: a fast SMTP server that takes everything and writes it down"};
  Arguments arguments;
  AddOptions(&app, &arguments);
  CLI11_PARSE(app, argc, argv);
  constexpr int kUsage = 64;  // EX_USAGE
  if (absl::Status status = Complete(&arguments); !status.ok()) return Fail(status, kUsage);

  MainWait wait;
  RaiseDescriptorLimit();
  const SystemClock clock;
  sink::SinkServer server(&clock, arguments.sink, [&wait] { wait.Notify(); });
  const absl::StatusOr<SocketAddress> address = server.Start();
  if (!address.ok()) return Fail(address.status(), 1);
  absl::Status status;
  if (!arguments.pid_file.empty()) {
    status = WriteFile(arguments.pid_file, fmt::format("{}\n", getpid()));
  }
  if (status.ok()) {
    std::printf("mailrace-sink: ready on %s\n", address->ToString().c_str());
    std::fflush(stdout);
    WaitForEnd(&wait, &server, arguments);
  }
  const absl::Status stopped = server.Stop();
  PrintTotals(server, arguments.json);
  if (!arguments.pid_file.empty()) unlink(arguments.pid_file.c_str());
  status.Update(stopped);
  return status.ok() ? 0 : Fail(status, 1);
}

// mailrace-blast: sends messages as fast as a server takes them, or at a rate, and keeps
// a ledger of what was acknowledged.
#include <unistd.h>

#include <cstdio>
#include <string>

#include "CLI/CLI.hpp"
#include "base/random.h"
#include "base/text.h"
#include "fmt/format.h"
#include "tools/blast/loader.h"
#include "tools/common/main_wait.h"
#include "tools/common/password.h"

namespace {

using namespace mailrace;
using namespace mailrace::tools;

struct Arguments {
  blast::BlastOptions blast;
  std::string to;
  std::string password_file;
  double duration_seconds = 0;
  double patience_seconds = 30;
  double timeout_seconds = 300;
  bool no_pipelining = false;
  bool progress = false;
  bool json = false;
  CLI::Option* messages = nullptr;
};

void AddMessageOptions(CLI::App* app, Arguments* a) {
  app->add_option("--size", a->blast.size_octets, "Octets of a message")->capture_default_str();
  app->add_option("--recipients", a->blast.recipients, "Of each message")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app->add_option("--from", a->blast.sender,
                  "Sender; {n} is the message's number, {n%M} its remainder")
      ->capture_default_str();
  app->add_option("--rcpt", a->blast.recipient, "Recipient; {r} is its index in the message")
      ->capture_default_str();
  app->add_option("--run", a->blast.run, "Ids are RUN-NUMBER; default: drawn by lot");
  app->add_option("--ledger", a->blast.ledger_file,
                  "Append \"id recipient time\" once its 250 was read");
}

void AddSecurityOptions(CLI::App* app, Arguments* a) {
  app->add_flag("--tls", a->blast.tls, "STARTTLS, or do not send");
  app->add_flag("--implicit-tls", a->blast.implicit_tls, "TLS from the first octet");
  app->add_option("--ca-file", a->blast.ca_file, "Verify the certificate and its name by these");
  app->add_option("--server-name", a->blast.server_name,
                  "Name in the certificate; default: the host of --to");
  app->add_option("--user", a->blast.user, "AUTH as this user");
  app->add_option("--password-file", a->password_file,
                  "Its first line is the password (or MAILRACE_BLAST_PASSWORD)");
  app->add_option("--mechanism", a->blast.mechanism, "Default: the best that is offered");
}

void AddOptions(CLI::App* app, Arguments* a) {
  app->add_option("--to", a->to, "HOST:PORT of the server")->required();
  app->add_option("--connections", a->blast.connections, "At the same time")
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000));
  app->add_option("--messages-per-connection", a->blast.messages_per_connection,
                  "Then QUIT and connect anew");
  a->messages = app->add_option("--messages", a->blast.messages, "How many")->capture_default_str();
  app->add_option("--duration", a->duration_seconds, "Seconds to send for");
  app->add_option("--rate", a->blast.rate, "Messages a second, however slow the server is");
  app->add_flag("--no-pipelining", a->no_pipelining, "One command at a time");
  app->add_option("--attempts", a->blast.attempts, "Times to send a message")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app->add_option("--stop-after-errors", a->blast.stop_after_errors, "Give up after so many");
  app->add_option("--patience", a->patience_seconds,
                  "Seconds without a usable connection until it gives up")
      ->capture_default_str();
  app->add_option("--timeout", a->timeout_seconds, "Seconds that each step may take")
      ->capture_default_str();
  app->add_option("--helo", a->blast.helo_name, "Name to give in EHLO")->capture_default_str();
  AddMessageOptions(app, a);
  AddSecurityOptions(app, a);
  app->add_flag("--progress", a->progress, "A bar on standard error");
  app->add_flag("--json", a->json, "The summary as JSON");
}

// What the options alone cannot say.
absl::Status Complete(Arguments* a) {
  const absl::StatusOr<SocketAddress> server = SocketAddress::Parse(a->to);
  if (!server.ok()) return server.status();
  a->blast.server = *server;
  if (a->blast.server_name.empty()) {
    a->blast.server_name = a->to.substr(0, a->to.rfind(':'));
    if (a->to.starts_with('[')) a->blast.server_name = server->ip.ToString();
  }
  if (a->duration_seconds > 0) {
    a->blast.duration = absl::Seconds(a->duration_seconds);
    if (a->messages->count() == 0) a->blast.messages = 0;
  } else if (a->blast.messages == 0) {
    return absl::InvalidArgumentError("--messages 0 needs --duration");
  }
  a->blast.patience = absl::Seconds(a->patience_seconds);
  a->blast.timeout = absl::Seconds(a->timeout_seconds);
  a->blast.pipelining = !a->no_pipelining;
  a->blast.mechanism = AsciiUppered(a->blast.mechanism);
  if (a->blast.run.empty()) a->blast.run = fmt::format("{:08x}", SystemRandom().Next64() >> 32);
  if (a->blast.run.find_first_of(" \t\r\n") != std::string::npos) {
    return absl::InvalidArgumentError("--run is one word");
  }
  if (a->blast.user.empty()) return absl::OkStatus();
  absl::StatusOr<std::string> password = ReadPassword(a->password_file, "MAILRACE_BLAST_PASSWORD");
  if (!password.ok()) return password.status();
  a->blast.password = *std::move(password);
  return absl::OkStatus();
}

void PrintProgress(const blast::Loader& loader, const Arguments& arguments) {
  constexpr int kWidth = 40;
  const uint64_t done = loader.tally().acknowledged.value();
  const double seconds = absl::ToDoubleSeconds(loader.elapsed());
  double share = seconds / absl::ToDoubleSeconds(arguments.blast.duration);
  if (arguments.blast.messages > 0) {
    share =
        std::max(share, static_cast<double>(done) / static_cast<double>(arguments.blast.messages));
  }
  const int filled = static_cast<int>(kWidth * std::min(1.0, share));
  const std::string bar = std::string(filled, '#') + std::string(kWidth - filled, '.');
  std::fprintf(stderr, "\r[%s] %3d%%  %llu acknowledged, %.0f/s, %llu errors ", bar.c_str(),
               static_cast<int>(100 * std::min(1.0, share)), static_cast<unsigned long long>(done),
               seconds > 0 ? static_cast<double>(done) / seconds : 0.0,
               static_cast<unsigned long long>(loader.tally().errors.value()));
}

// The first signal lets what is under way end; the second ends all.
void WaitForEnd(MainWait* wait, blast::Loader* loader, const Arguments& arguments) {
  int signals = 0;
  const absl::Duration interval = arguments.progress ? absl::Milliseconds(200) : absl::Hours(1);
  while (true) {
    const MainWait::Reason reason = wait->Wait(interval);
    if (arguments.progress) PrintProgress(*loader, arguments);
    if (reason == MainWait::Reason::kNotified) break;
    if (reason != MainWait::Reason::kSignal) continue;
    if (++signals == 1) {
      loader->Stop();
    } else {
      loader->Cancel();
    }
  }
  if (arguments.progress) std::fputc('\n', stderr);
}

int Fail(const absl::Status& status, int exit_status) {
  std::fprintf(stderr, "mailrace-blast: %s\n", std::string(status.message()).c_str());
  return exit_status;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"mailrace-blast: a fast source of mail with a ledger of what was acknowledged"};
  Arguments arguments;
  AddOptions(&app, &arguments);
  CLI11_PARSE(app, argc, argv);
  constexpr int kUsage = 64;  // EX_USAGE
  if (absl::Status status = Complete(&arguments); !status.ok()) return Fail(status, kUsage);

  MainWait wait;
  RaiseDescriptorLimit();
  const SystemClock clock;
  blast::Loader loader(&clock, arguments.blast, [&wait] { wait.Notify(); });
  if (absl::Status status = loader.Start(); !status.ok()) return Fail(status, 1);
  WaitForEnd(&wait, &loader, arguments);
  const absl::Status status = loader.Join();
  const blast::Tally& tally = loader.tally();
  if (arguments.json) {
    JsonObject summary = tally.ToJson(loader.elapsed());
    summary.Number("started", absl::ToDoubleSeconds(loader.started() - absl::UnixEpoch()), 6);
    std::printf("%s\n", summary.ToString().c_str());
  } else {
    std::fputs(tally.ToText(loader.elapsed()).c_str(), stdout);
  }
  std::fflush(stdout);
  if (!status.ok()) return Fail(status, 1);
  return tally.complete() ? 0 : 1;
}

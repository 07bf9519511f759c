// `mailrace`: one program; by other names it is sendmail(1), mailq(1) and newaliases(1).
#include <sysexits.h>

#include <algorithm>
#include <cstring>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "CLI/CLI.hpp"
#include "engine/tables/postmap.h"
#include "tools/mailrace/commands.h"
#include "tools/mailrace/queue_arguments.h"

namespace {

using namespace mailrace::tools;

std::string_view BaseName(const char* path) {
  const char* slash = std::strrchr(path, '/');
  return slash == nullptr ? path : slash + 1;
}

void AddOverrides(CLI::App* command, std::vector<std::string>* overrides) {
  command->add_option("-o", *overrides, "name=value: over main.cf; may be repeated")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
}

void AddBench(CLI::App* app, BenchArguments* arguments, int* status) {
  CLI::App* command = app->add_subcommand(
      "bench", "Measure this configuration, find what limits it, propose settings");
  command->footer(
      "Runs the configuration on a queue of its own, beside the configured one. Without --relay "
      "all "
      "mail goes to a server of its own on this host, and nothing leaves it. See "
      "docs/PERFORMANCE.md.");
  AddDirectory(command, &arguments->directory);
  AddOverrides(command, &arguments->overrides);
  CLI::Option* delay = command->add_option("--sink-delay", arguments->sink_delay_milliseconds,
                                           "Milliseconds that the relay takes for each reply");
  delay->check(CLI::Range(0, 60'000));
  CLI::Option* relay = command->add_flag("--relay", arguments->relay,
                                         "Send real mail by the configured routes, to --recipient");
  CLI::Option* recipient = command->add_option("--recipient", arguments->recipient,
                                               "With --relay: who gets the test mail");
  relay->needs(recipient)->excludes(delay);
  recipient->needs(relay);
  command->add_option("--sender", arguments->sender, "With --relay; default: the recipient")
      ->needs(relay);
  command->add_option("--messages", arguments->messages, "With --relay: so many a run and no more")
      ->capture_default_str()
      ->needs(relay)
      ->check(CLI::Range(1, 100'000));
  command->add_option("--seconds", arguments->seconds, "To measure for, at most")
      ->capture_default_str()
      ->check(CLI::Range(1.0, 3600.0));
  command->add_option("--size", arguments->size, "Octets of a message")
      ->capture_default_str()
      ->check(CLI::Range(200, 50'000'000));
  command->add_option("--connections", arguments->connections, "Of the application")
      ->capture_default_str()
      ->check(CLI::Range(1, 10'000));
  command->add_flag("!--no-rerun", arguments->rerun, "Do not try what is proposed");
  command->add_option("--work-directory", arguments->work_directory,
                      "Where the queue of the run is made; default: beside the configured one");
  command->add_flag("--json", arguments->json, "As one JSON object");
  command->callback([arguments, status] { *status = Bench(*arguments); });
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view name = BaseName(argv[0]);
  if (name == "sendmail" || name == "mailq" || name == "newaliases") return Sendmail(argc, argv);
  if (argc > 1 && std::string_view(argv[1]) == "sendmail") return Sendmail(argc - 1, argv + 1);
  if (argc > 1 && std::string_view(argv[1]) == "mailq") return Sendmail(argc - 1, argv + 1);
  // postmap has its own ways of writing options.
  if (argc > 1 && std::string_view(argv[1]) == "postmap") {
    return mailrace::engine::tables::Postmap({argv + 2, argv + argc}, std::cin, std::cout,
                                             std::cerr);
  }

  CLI::App app{"Mailrace, an outbound mail queue engine"};
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("mailrace ") + MAILRACE_VERSION);
  int status = 0;

  ServeArguments serve;
  CLI::App* serve_command = app.add_subcommand("serve", "Run the engine in the foreground");
  AddDirectory(serve_command, &serve.directory);
  AddOverrides(serve_command, &serve.overrides);
  serve_command->add_flag("--accept-loss", serve.accept_loss,
                          "Open a damaged queue although acknowledged mail is missing; a copy "
                          "of the damaged files is kept");
  serve_command->callback([&] { status = Serve(serve); });

  CheckArguments check;
  CLI::App* check_command = app.add_subcommand("check", "Check the configuration");
  AddDirectory(check_command, &check.directory);
  AddOverrides(check_command, &check.overrides);
  check_command->add_flag("--live", check.live,
                          "Dial the destinations: DNS, connect, EHLO, STARTTLS, certificate, "
                          "AUTH; no message is sent");
  check_command->add_option("--sender", check.sender, "With --live: whose mail (MAIL FROM)");
  check_command->add_option("--recipient", check.recipients,
                            "With --live: ask for this recipient too (RCPT TO); may be repeated");
  check_command->add_option("destination", check.destinations,
                            "With --live: domain, address or relay; none: all that the "
                            "configuration names");
  check_command->callback([&] { status = Check(check); });

  ExplainArguments explain;
  CLI::App* explain_command =
      app.add_subcommand("explain", "Policy for a destination, and the line that decided it");
  AddDirectory(explain_command, &explain.directory);
  AddOverrides(explain_command, &explain.overrides);
  explain_command->add_option("destination", explain.destination, "Domain, address or relay")
      ->required();
  explain_command->add_option("--sender", explain.sender, "Whose mail; none: the null sender");
  explain_command->callback([&] { status = Explain(explain); });

  StatsArguments stats;
  CLI::App* stats_command = app.add_subcommand("stats", "What the engine counted");
  AddDirectory(stats_command, &stats.directory);
  stats_command->add_flag("--json", stats.json, "As one JSON object");
  stats_command->callback([&] { status = Stats(stats); });

  StatsArguments top;
  CLI::App* top_command = app.add_subcommand("top", "The same as a live screen");
  AddDirectory(top_command, &top.directory);
  top_command->callback([&] { status = Top(top); });

  BenchArguments bench;
  AddBench(&app, &bench, &status);

  QueueArguments queue;
  AddQueueCommands(&app, &queue, &status);

  // Only for --help; postmap is taken above.
  app.add_subcommand("postmap", "Check a lookup table, or ask it: postmap [-q KEY] [type:]FILE");

  const int parsed = [&] {
    CLI11_PARSE(app, argc, argv);
    return 0;
  }();
  // CLI11 has numbers of its own.
  return parsed == 0 ? status : EX_USAGE;
}

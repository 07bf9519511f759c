// The subcommands of `mailrace`. Each returns the process's exit status (sysexits).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/config/config.h"
#include "engine/settings.h"

namespace mailrace::tools {

struct ServeArguments {
  std::string directory;
  std::vector<std::string> overrides;  // -o name=value
  bool accept_loss = false;
};
int Serve(const ServeArguments& arguments);

struct CheckArguments {
  std::string directory;
  std::vector<std::string> overrides;
  bool live = false;
  // With live. Empty: every nexthop that the configuration names, and no RCPT.
  std::vector<std::string> destinations;
  std::vector<std::string> recipients;
  std::string sender;
};
int Check(const CheckArguments& arguments);
// The part with --live: dials. `config` and `settings` are what a start would go by.
int CheckLive(std::shared_ptr<const engine::config::Config> config,
              std::shared_ptr<const engine::Settings> settings, const CheckArguments& arguments);

struct ExplainArguments {
  std::string directory;
  std::vector<std::string> overrides;
  std::string destination;
  std::string sender;  // Whose mail; empty: of the null sender.
};
int Explain(const ExplainArguments& arguments);

struct StatsArguments {
  std::string directory;
  bool json = false;
};
int Stats(const StatsArguments& arguments);
// `mailrace top`: the same, again and again until interrupted.
int Top(const StatsArguments& arguments);

struct BenchArguments {
  std::string directory;
  std::vector<std::string> overrides;
  double sink_delay_milliseconds = 0;
  // Real mail, and only if asked for: to whom, by the configuration's own routes.
  bool relay = false;
  std::string recipient;
  std::string sender;
  uint64_t messages = 100;
  double seconds = 10;
  uint64_t size = 4096;
  int connections = 20;
  bool rerun = true;
  bool json = false;
  std::string work_directory;  // Empty: beside the configured queue.
};
// Measures the configuration on a queue of its own, says what limits it and what would help.
int Bench(const BenchArguments& arguments);

struct QueueArguments {
  std::string directory;
  std::string action;  // list, show, hold, release, flush, remove, bounce, suspend …
  // Which messages: all that are given must fit. Empty: not given.
  std::vector<std::string> ids;  // "-": read from standard input.
  std::string sender;
  std::string recipient;
  std::string nexthop;
  std::string message_class;
  std::string tenant;
  std::string state;
  std::string older_than;  // "90", "30m", "2h", "5d", "1w"
  std::string younger_than;
  bool all = false;
  // How.
  bool json = false;
  bool dry_run = false;
  bool verbose = false;
  bool offline = false;
  bool force = false;                // import: also what was imported before.
  std::string reason;                // bounce, suspend.
  std::string target;                // export: directory.
  std::vector<std::string> sources;  // import: directories and files.
};
int Queue(const QueueArguments& arguments);
// mailq: the queue as Postfix prints it.
int Mailq(const std::string& directory);

// sendmail(1): everything behind the program's name.
int Sendmail(int argc, char** argv);

// Where configuration is without -c: $MAIL_CONFIG, else /etc/mailrace.
std::string DefaultDirectory();
// queue_directory of the configuration; empty after a message on stderr.
std::string QueueDirectoryOf(const std::string& directory);

}  // namespace mailrace::tools

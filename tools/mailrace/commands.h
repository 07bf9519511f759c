// The subcommands of `mailrace`. Each returns the process's exit status (sysexits).
#pragma once

#include <string>
#include <vector>

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
};
int Check(const CheckArguments& arguments);

struct ExplainArguments {
  std::string directory;
  std::vector<std::string> overrides;
  std::string destination;
};
int Explain(const ExplainArguments& arguments);

struct StatsArguments {
  std::string directory;
  bool json = false;
};
int Stats(const StatsArguments& arguments);
// `mailrace top`: the same, again and again until interrupted.
int Top(const StatsArguments& arguments);

struct QueueArguments {
  std::string directory;
  std::string action;  // list, show, hold, release, flush, remove
  std::vector<std::string> ids;
  bool all = false;
  bool json = false;
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

#include "tools/mailrace/queue_arguments.h"

namespace mailrace::tools {

namespace {

struct Verb {
  const char* name;
  const char* help;
  bool selects = false;  // Takes ids and selectors.
  bool changes = false;
  bool offline = false;
};

constexpr Verb kVerbs[] = {
    {"list", "List messages as mailq does, or as JSON", true, false, true},
    {"show", "Everything about messages: recipients, attempts, why they wait and until when", true,
     false, true},
    {"export", "Copy messages with their envelopes into a directory", true, false, true},
    {"hold", "Keep messages from being tried until they are released", true, true, false},
    {"release", "Let held messages go", true, true, false},
    {"flush", "Try deferred messages now; all of them, unless told which", true, true, false},
    {"remove", "Delete messages without a notice", true, true, false},
    {"bounce", "Return messages to their senders with a notice", true, true, false},
};

constexpr const char* kFooter =
    "Exit status: 0 done; 64 wrong usage; 65 malformed or damaged data; 66 no such message; "
    "69 the engine is not running; 73 cannot write; 75 not done now, or not all of it; "
    "77 not permitted; 78 configuration.";

void AddSelectors(CLI::App* command, QueueArguments* to) {
  command->add_option("ids", to->ids, "Queue ids; - reads them from standard input");
  command->add_flag("--all", to->all, "All messages");
  command->add_option("--sender", to->sender, "user@domain, @domain, or <>");
  command->add_option("--recipient", to->recipient, "user@domain or @domain, still owed");
  command->add_option("--nexthop", to->nexthop, "Relay or domain, as list --json names it");
  command->add_option("--class", to->message_class, "urgent, normal or bulk")
      ->check(CLI::IsMember({"urgent", "normal", "bulk"}));
  command->add_option("--tenant", to->tenant, "Tenant");
  command->add_option("--state", to->state, "active, deferred or hold")
      ->check(CLI::IsMember({"active", "deferred", "hold"}));
  command->add_option("--older-than", to->older_than, "Age: 90 or 90s, 30m, 2h, 5d, 1w");
  command->add_option("--younger-than", to->younger_than, "Age, likewise");
}

CLI::App* Add(CLI::App* parent, const char* name, const char* help, QueueArguments* arguments,
              int* status) {
  CLI::App* const command = parent->add_subcommand(name, help);
  AddDirectory(command, &arguments->directory);
  command->add_flag("--json", arguments->json, "One JSON object a line");
  command->footer(kFooter);
  command->callback([arguments, status, verb = std::string(name)] {
    arguments->action = verb;
    *status = Queue(*arguments);
  });
  return command;
}

void AddDestinationVerbs(CLI::App* queue, QueueArguments* arguments, int* status) {
  CLI::App* const suspend = Add(queue, "suspend",
                                "Try no mail for a destination until it is resumed, also over "
                                "restarts; new mail for it waits",
                                arguments, status);
  suspend->add_option("nexthop", arguments->nexthop, "Relay or domain")->required();
  suspend->add_option("--reason", arguments->reason, "For list, show and stats");
  CLI::App* const resume =
      Add(queue, "resume", "Try mail for a suspended destination again", arguments, status);
  resume->add_option("nexthop", arguments->nexthop, "Relay or domain")->required();
  for (CLI::App* command : {suspend, resume}) {
    command->add_flag("--dry-run,-n", arguments->dry_run, "Only say what would be done");
  }
}

}  // namespace

void AddDirectory(CLI::App* command, std::string* directory) {
  command->add_option("-c,--config", *directory, "Directory of main.cf")
      ->default_val(DefaultDirectory());
}

void AddQueueCommands(CLI::App* app, QueueArguments* arguments, int* status) {
  CLI::App* const queue = app->add_subcommand("queue", "Look at and change the queue");
  AddDirectory(queue, &arguments->directory);
  queue->require_subcommand(1);
  queue->footer(kFooter);
  for (const Verb& verb : kVerbs) {
    CLI::App* const command = Add(queue, verb.name, verb.help, arguments, status);
    AddSelectors(command, arguments);
    if (verb.changes) {
      command->add_flag("--dry-run,-n", arguments->dry_run, "Only say what would be changed");
      command->add_flag("--verbose,-v", arguments->verbose, "A line for each changed message");
    }
    if (verb.offline) {
      command->add_flag("--offline", arguments->offline,
                        "Read the files of a stopped queue, damaged ones as far as possible; "
                        "changes nothing");
    }
    const std::string name = verb.name;
    if (name == "bounce") {
      command->add_option("--reason", arguments->reason, "For the sender, in the notice");
    }
    if (name == "export") {
      command->add_option("--to", arguments->target, "Directory, made if it is missing")
          ->required();
    }
  }
  AddDestinationVerbs(queue, arguments, status);
  CLI::App* const import =
      Add(queue, "import", "Queue exported messages anew, each once", arguments, status);
  import->add_option("sources", arguments->sources, "Directories of an export, or .json files")
      ->required();
  import->add_flag("--force", arguments->force, "Also what was imported before");
  CLI::App* const verify = Add(
      queue, "verify", "Check every record of a stopped queue; changes nothing", arguments, status);
  verify->add_flag("--offline", arguments->offline, "Implied");
}

}  // namespace mailrace::tools

// sendmail(1) by that name: hands what it is given to the running engine.
#include <cstdio>

#include "engine/config/config.h"
#include "engine/intake/sendmail.h"
#include "tools/mailrace/commands.h"

namespace mailrace::tools {

int Sendmail(int argc, char** argv) {
  const std::string directory = DefaultDirectory();
  engine::config::Diagnostics diagnostics;
  engine::config::LoadEnvironment config_environment;
  config_environment.check_files = false;
  const auto config = engine::config::LoadConfig(directory, config_environment, &diagnostics);
  if (config == nullptr) {
    std::fputs(diagnostics.ToString(false).c_str(), stderr);
    return 78;  // EX_CONFIG
  }
  engine::SendmailEnvironment environment;
  const auto& listen = config->options.submission.submission_listen;
  environment.submission_address = listen.empty() ? "" : listen.front().ToString();
  environment.myhostname = config->options.general.myhostname;
  environment.myorigin = config->options.general.myorigin;
  environment.message_size_limit =
      static_cast<size_t>(config->options.submission.message_size_limit);
  environment.recipient_limit =
      static_cast<size_t>(config->options.submission.smtpd_recipient_limit);
  environment.list_queue = [&] { return Mailq(directory); };
  environment.flush_queue = [&] {
    QueueArguments flush;
    flush.directory = directory;
    flush.action = "flush";
    return Queue(flush);
  };
  return engine::SendmailMain(argc, argv, environment);
}

}  // namespace mailrace::tools

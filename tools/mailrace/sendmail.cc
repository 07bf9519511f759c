// sendmail(1) by that name: hands what it is given to the running engine.
#include <algorithm>
#include <cstdio>

#include "engine/config/config.h"
#include "engine/intake/sendmail.h"
#include "tools/mailrace/commands.h"

namespace mailrace::tools {

namespace {

// The listener that this host's mynetworks admit us at, if there are several: loopback, or all
// addresses.
std::string SubmissionAddress(const std::vector<SocketAddress>& listeners) {
  const auto own =
      std::find_if(listeners.begin(), listeners.end(), [](const SocketAddress& address) {
        return address.ip.loopback() || address.ip == IpAddress{.v6 = address.ip.v6};
      });
  if (own != listeners.end()) return own->ToString();
  return listeners.empty() ? std::string() : listeners.front().ToString();
}

}  // namespace

int Sendmail(int argc, char** argv) {
  const std::string directory = DefaultDirectory();
  // What it needs and no more: whoever calls may not read the tables of passwords, and mail is
  // taken while an administrator has a mistake in main.cf.
  const auto config = engine::config::LoadSettings(
      directory,
      {"submission_listen", "myhostname", "myorigin", "message_size_limit", "smtpd_recipient_limit",
       "smtp_line_length_limit"},
      {});
  if (!config.ok()) {
    std::fprintf(stderr, "%s\n", std::string(config.status().message()).c_str());
    return 78;  // EX_CONFIG
  }
  const engine::config::Options& options = (*config)->options;
  engine::SendmailEnvironment environment;
  environment.submission_address = SubmissionAddress(options.submission.submission_listen);
  environment.myhostname = options.general.myhostname;
  environment.myorigin = options.general.myorigin;
  environment.message_size_limit = static_cast<size_t>(options.submission.message_size_limit);
  environment.recipient_limit = static_cast<size_t>(options.submission.smtpd_recipient_limit);
  environment.line_length_limit = static_cast<size_t>(options.smtp.smtp_line_length_limit);
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

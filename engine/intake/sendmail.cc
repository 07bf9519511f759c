#include "engine/intake/sendmail.h"

#include <pwd.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "base/address.h"
#include "base/text.h"
#include "engine/intake/sendmail_arguments.h"
#include "engine/intake/sendmail_client.h"
#include "engine/intake/sendmail_message.h"
#include "fmt/format.h"

namespace mailrace::engine {

namespace {

class Sendmail {
 public:
  Sendmail(std::string program, const SendmailEnvironment& environment)
      : program_(std::move(program)), environment_(environment) {}

  int Run(const std::vector<std::string>& words) {
    absl::StatusOr<SendmailArguments> arguments = ParseSendmailArguments(program_, words);
    if (!arguments.ok()) return Fail(EX_USAGE, arguments.status());
    arguments_ = *std::move(arguments);
    switch (arguments_.mode) {
      case SendmailMode::kInitAliases:
        return EX_OK;
      case SendmailMode::kListQueue:
        return Elsewhere(environment_.list_queue);
      case SendmailMode::kFlushQueue:
        return Elsewhere(environment_.flush_queue);
      case SendmailMode::kSmtp:
        return RelaySmtp();
      case SendmailMode::kSubmit:
        return SubmitMessage();
    }
    return EX_SOFTWARE;
  }

 private:
  int Fail(int exit_code, const std::string& why) const {
    const std::string line = fmt::format("{}: fatal: {}\n", program_, Printable(why, 1000));
    const ssize_t written = write(environment_.error_fd, line.data(), line.size());
    static_cast<void>(written);  // There is nowhere else to say it; the exit code does.
    return exit_code;
  }
  int Fail(int exit_code, const absl::Status& why) const {
    return Fail(exit_code, std::string(why.message()));
  }

  int Elsewhere(const std::function<int()>& action) const {
    if (!action) return Fail(EX_UNAVAILABLE, "the queue cannot be reached from here");
    return action();
  }

  int NoListener() const {
    return Fail(EX_CONFIG, "submission_listen is empty: there is nobody to hand mail to");
  }

  int NotRunning(const absl::Status& status) const {
    return Fail(EX_TEMPFAIL, fmt::format("mail system is not running or not reachable ({}); "
                                         "the message was not queued",
                                         std::string(status.message())));
  }

  int RelaySmtp() const {
    if (environment_.submission_address.empty()) return NoListener();
    absl::StatusOr<SubmissionSocket> socket =
        SubmissionSocket::Connect(environment_.submission_address, environment_.timeout);
    if (!socket.ok()) return NotRunning(socket.status());
    const absl::Status relayed = socket->Relay(environment_.input_fd, environment_.output_fd);
    return relayed.ok() ? EX_OK : Fail(EX_TEMPFAIL, relayed);
  }

  int SubmitMessage() {
    SubmissionRequest request;
    request.helo_name = environment_.myhostname;
    request.notify = arguments_.notify;
    request.ret = arguments_.ret;
    if (!arguments_.envid.empty()) request.envid = EncodeXtext(arguments_.envid);
    int exit_code = Sender(&request);
    if (exit_code == EX_OK) exit_code = CommandLineRecipients();
    if (exit_code == EX_OK && recipients_.empty() && !arguments_.recipients_from_headers) {
      exit_code = Fail(EX_USAGE,
                       "Recipient addresses must be specified on the command line or "
                       "via the -t option");
    }
    std::string content;
    if (exit_code == EX_OK) exit_code = ReadInput(&content);
    if (exit_code == EX_OK) exit_code = Header(content, &request);
    if (exit_code == EX_OK) exit_code = Recipients(&request);
    return exit_code == EX_OK ? HandOver(request) : exit_code;
  }

  int HandOver(const SubmissionRequest& request) const {
    if (environment_.submission_address.empty()) return NoListener();
    absl::StatusOr<SubmissionSocket> socket =
        SubmissionSocket::Connect(environment_.submission_address, environment_.timeout);
    if (!socket.ok()) return NotRunning(socket.status());
    const SubmissionOutcome outcome = Submit(&*socket, request);
    if (outcome.exit_code != EX_OK) return Fail(outcome.exit_code, outcome.text);
    if (arguments_.verbose) {
      const std::string line = fmt::format("{}\n", outcome.text);
      const ssize_t written = write(environment_.output_fd, line.data(), line.size());
      static_cast<void>(written);
    }
    return EX_OK;
  }

  std::string Origin() const {
    return environment_.myorigin.empty() ? environment_.myhostname : environment_.myorigin;
  }

  // The address, checked, with our domain if it has none. Marks the request as SMTPUTF8
  // when it needs that.
  absl::StatusOr<std::string> Qualified(std::string address, SubmissionRequest* request) const {
    if (address.starts_with('-')) {
      // As in Postfix (allow_min_user): somebody's option came where an address should.
      return absl::InvalidArgumentError(
          fmt::format("bad address \"{}\": it begins with '-'", Printable(address, 256)));
    }
    if (address.find('@') == std::string::npos) address += "@" + Origin();
    const absl::StatusOr<MailAddress> parsed = ParseAddress(address, {.allow_utf8 = true});
    if (!parsed.ok()) {
      return absl::InvalidArgumentError(fmt::format("bad address \"{}\": {}",
                                                    Printable(address, 256),
                                                    std::string(parsed.status().message())));
    }
    if (!IsAscii(address)) request->smtputf8 = true;
    return parsed->ToString();
  }

  int Sender(SubmissionRequest* request) {
    std::string sender = environment_.user;
    if (sender.empty()) {
      if (const passwd* entry = getpwuid(getuid())) sender = entry->pw_name;
    }
    if (arguments_.sender) {
      if (arguments_.sender->empty()) return EX_OK;  // "<>"
      std::vector<std::string> addresses;
      const absl::Status parsed = ParseAddressList(*arguments_.sender, 1, &addresses);
      if (!parsed.ok() || addresses.size() != 1) {
        return Fail(EX_USAGE, fmt::format("-f takes one address, not \"{}\"",
                                          Printable(*arguments_.sender, 256)));
      }
      sender = addresses[0];
    }
    if (sender.empty()) return Fail(EX_OSERR, "you do not exist: no login name for your user id");
    const absl::StatusOr<std::string> qualified = Qualified(sender, request);
    if (!qualified.ok()) return Fail(EX_USAGE, qualified.status());
    request->reverse_path = *qualified;
    return EX_OK;
  }

  int CommandLineRecipients() {
    for (const std::string& word : arguments_.recipients) {
      const absl::Status parsed =
          ParseAddressList(word, environment_.recipient_limit, &recipients_);
      if (!parsed.ok()) return Fail(ExitOf(parsed), parsed);
    }
    return EX_OK;
  }

  static int ExitOf(const absl::Status& status) {
    return absl::IsResourceExhausted(status) ? EX_UNAVAILABLE : EX_DATAERR;
  }

  int ReadInput(std::string* content) const {
    SendmailInput input(arguments_.dot_ends_input, environment_.message_size_limit);
    std::array<char, 64 << 10> buffer;
    while (true) {
      const ssize_t n = read(environment_.input_fd, buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        return Fail(EX_IOERR, fmt::format("error reading the message: {}", std::strerror(errno)));
      }
      if (n == 0) break;
      const absl::StatusOr<bool> more = input.Feed({buffer.data(), static_cast<size_t>(n)});
      if (!more.ok()) return Fail(ExitOf(more.status()), more.status());
      if (!*more) break;
    }
    const absl::Status finished = input.Finish();
    if (!finished.ok()) return Fail(ExitOf(finished), finished);
    *content = input.TakeContent();
    return EX_OK;
  }

  // Reads recipients from it if asked to, and writes it anew: without Bcc, with From.
  int Header(const std::string& content, SubmissionRequest* request) {
    const std::optional<size_t> recipients_max = arguments_.recipients_from_headers
                                                     ? std::optional(environment_.recipient_limit)
                                                     : std::nullopt;
    const absl::StatusOr<HeaderFields> header = ReadHeader(content, recipients_max);
    if (!header.ok()) return Fail(ExitOf(header.status()), header.status());
    recipients_.insert(recipients_.end(), header->recipients.begin(), header->recipients.end());
    const bool has_from = header->resent ? header->has_resent_from : header->has_from;
    if (!has_from) {
      request->content = fmt::format("{}From: {}\r\n", header->resent ? "Resent-" : "",
                                     FromValue(request->reverse_path));
    }
    request->content += header->section;
    const std::string_view body = std::string_view(content).substr(header->body_at);
    // Text without any header: what we added must not run into it.
    if (!body.empty() && !body.starts_with("\r\n")) request->content += "\r\n";
    request->content += body;
    request->content = FoldLongLines(std::move(request->content), environment_.line_length_limit);
    return EX_OK;
  }

  std::string FromValue(const std::string& reverse_path) const {
    const std::string address = reverse_path.empty() ? "MAILER-DAEMON@" + Origin() : reverse_path;
    std::string name = Printable(
        arguments_.full_name.empty() ? environment_.full_name : arguments_.full_name, 128);
    if (name.empty() || !IsAscii(name)) return address;
    std::string quoted;
    for (const char c : name) {
      if (c == '"' || c == '\\') quoted += '\\';
      quoted += c;
    }
    const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
      const char lower = AsciiLower(c);
      return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == ' ' || c == '-';
    });
    return plain ? fmt::format("{} <{}>", name, address)
                 : fmt::format("\"{}\" <{}>", quoted, address);
  }

  int Recipients(SubmissionRequest* request) {
    if (recipients_.empty())
      return Fail(EX_USAGE, "No recipient addresses found in message header");
    if (recipients_.size() > environment_.recipient_limit) {
      return Fail(EX_UNAVAILABLE,
                  fmt::format("more than {} recipients", environment_.recipient_limit));
    }
    for (const std::string& recipient : recipients_) {
      const absl::StatusOr<std::string> qualified = Qualified(recipient, request);
      if (!qualified.ok()) return Fail(EX_DATAERR, qualified.status());
      request->recipients.push_back(*qualified);
    }
    return EX_OK;
  }

  const std::string program_;
  const SendmailEnvironment& environment_;
  SendmailArguments arguments_;
  std::vector<std::string> recipients_;
};

}  // namespace

int SendmailMain(int argc, char** argv, const SendmailEnvironment& environment) {
  std::string program = argc > 0 ? argv[0] : "sendmail";
  program.erase(0, program.rfind('/') + 1);
  const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  return Sendmail(program, environment).Run(words);
}

}  // namespace mailrace::engine

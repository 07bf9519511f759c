#include "engine/intake/sendmail_arguments.h"

#include <algorithm>
#include <string_view>

#include "base/text.h"
#include "fmt/format.h"
#include "transport/smtp/server_machine_commands.h"

namespace mailrace::engine {

namespace {

// As Postfix's sendmail reads them, so that the value of an option without meaning is never
// taken for options ("-eq" for "-q"). Those that take one, in the same word or in the next:
constexpr std::string_view kWithValue = "ABCFLNORVXbefhopr";
// Those that take none. "q" takes what stands in its own word only.
constexpr std::string_view kWithoutValue = "EGIUcimntvx";
constexpr size_t kEnvidOctetsMax = 100;

class Parser {
 public:
  explicit Parser(const std::vector<std::string>& arguments) : arguments_(arguments) {}

  absl::Status Parse(SendmailArguments* out) {
    while (at_ < arguments_.size()) {
      const std::string_view word = arguments_[at_];
      if (word == "--") {
        ++at_;
        break;
      }
      if (word.size() < 2 || word.front() != '-') break;
      ++at_;
      const absl::Status status = Word(word.substr(1), out);
      if (!status.ok()) return status;
    }
    // Behind "--" or the first address there are addresses only, whatever they look like.
    out->recipients.assign(arguments_.begin() + static_cast<ptrdiff_t>(at_), arguments_.end());
    return absl::OkStatus();
  }

 private:
  static absl::Status Usage(std::string why) { return absl::InvalidArgumentError(std::move(why)); }

  absl::Status Word(std::string_view letters, SendmailArguments* out) {
    while (!letters.empty()) {
      const char option = letters.front();
      letters.remove_prefix(1);
      if (option == 'q') {
        out->mode = SendmailMode::kFlushQueue;
        return absl::OkStatus();  // An interval or a pattern may follow; the queue knows better.
      }
      if (kWithoutValue.find(option) != std::string_view::npos) {
        Flag(option, out);
        continue;
      }
      if (kWithValue.find(option) == std::string_view::npos) {
        return Usage(fmt::format("unknown option -{}", Printable({&option, 1})));
      }
      std::string_view value = letters;
      if (value.empty()) {
        if (at_ == arguments_.size()) return Usage(fmt::format("option -{} needs a value", option));
        value = arguments_[at_++];
      }
      return Value(option, value, out);
    }
    return absl::OkStatus();
  }

  static void Flag(char option, SendmailArguments* out) {
    if (option == 'i') out->dot_ends_input = false;
    if (option == 't') out->recipients_from_headers = true;
    if (option == 'v') out->verbose = true;
    if (option == 'I') out->mode = SendmailMode::kInitAliases;
  }

  static absl::Status Value(char option, std::string_view value, SendmailArguments* out) {
    switch (option) {
      case 'b':
        return Mode(value, out);
      case 'f':
      case 'r':
        out->sender = value == "<>" ? std::string() : std::string(value);
        return absl::OkStatus();
      case 'F':
        out->full_name = value;
        return absl::OkStatus();
      case 'o':
        // -oi is -i; every other option of Sendmail's is accepted and means nothing.
        if (value == "i") out->dot_ends_input = false;
        return absl::OkStatus();
      case 'N':
        return Notify(value, out);
      case 'R':
        return Ret(value, out);
      case 'V':
        return Envid(value, out);
      default:
        return absl::OkStatus();
    }
  }

  static absl::Status Mode(std::string_view value, SendmailArguments* out) {
    if (value == "m") {
      out->mode = SendmailMode::kSubmit;
    } else if (value == "s") {
      out->mode = SendmailMode::kSmtp;
    } else if (value == "p") {
      out->mode = SendmailMode::kListQueue;
    } else if (value == "i") {
      out->mode = SendmailMode::kInitAliases;
    } else {
      return Usage(fmt::format("unsupported: -b{}", Printable(value, 20)));
    }
    return absl::OkStatus();
  }

  static absl::Status Notify(std::string_view value, SendmailArguments* out) {
    if (!transport::smtp::ParseNotify(value)) {
      return Usage("-N takes never, or a list of success, failure and delay");
    }
    out->notify = AsciiUppered(value);
    return absl::OkStatus();
  }

  static absl::Status Ret(std::string_view value, SendmailArguments* out) {
    if (!transport::smtp::ParseReturnType(value)) return Usage("-R takes full or hdrs");
    out->ret = AsciiUppered(value);
    return absl::OkStatus();
  }

  static absl::Status Envid(std::string_view value, SendmailArguments* out) {
    const bool printable = std::all_of(value.begin(), value.end(),
                                       [](unsigned char c) { return c >= 0x20 && c < 0x7f; });
    if (value.empty() || value.size() > kEnvidOctetsMax || !printable) {
      return Usage(fmt::format("-V takes 1 to {} printable ASCII characters", kEnvidOctetsMax));
    }
    out->envid = value;
    return absl::OkStatus();
  }

  const std::vector<std::string>& arguments_;
  size_t at_ = 0;
};

}  // namespace

absl::StatusOr<SendmailArguments> ParseSendmailArguments(
    const std::string& program, const std::vector<std::string>& arguments) {
  SendmailArguments out;
  if (program == "mailq") out.mode = SendmailMode::kListQueue;
  if (program == "newaliases") out.mode = SendmailMode::kInitAliases;
  const absl::Status parsed = Parser(arguments).Parse(&out);
  if (!parsed.ok()) return parsed;
  return out;
}

}  // namespace mailrace::engine

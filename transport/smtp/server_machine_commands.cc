#include "transport/smtp/server_machine_commands.h"

#include <array>

#include "base/address.h"
#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::transport::smtp {

namespace {

constexpr std::array<std::string_view, kVerbs> kNames = {
    "HELO", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA",   "BDAT",
    "RSET", "NOOP", "VRFY",     "EXPN", "HELP", "QUIT", "unknown"};

constexpr size_t kEnvidOctetsMax = 100;  // RFC 3461 4.4
constexpr size_t kOrcptOctetsMax = 500;  // RFC 3461 4.2

bool Refuse(std::string* refusal, std::string_view reply) {
  *refusal = reply;
  return false;
}

// Cuts "FROM:<path>" off the front of *rest and gives the path with its brackets. One
// blank behind the colon is common enough to be allowed; a path without brackets is not.
std::optional<std::string_view> TakePath(std::string_view keyword, std::string_view* rest) {
  if (!StartsWithIgnoreCase(*rest, keyword)) return std::nullopt;
  rest->remove_prefix(keyword.size());
  while (rest->starts_with(' ')) rest->remove_prefix(1);
  if (!rest->starts_with('<')) return std::nullopt;
  bool quoted = false;
  for (size_t at = 1; at < rest->size(); ++at) {
    const char c = (*rest)[at];
    if (c == '\\' && quoted) {
      ++at;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == '>' && !quoted) {
      const std::string_view path = rest->substr(0, at + 1);
      rest->remove_prefix(at + 1);
      if (!rest->empty() && !rest->starts_with(' ')) return std::nullopt;
      return path;
    }
  }
  return std::nullopt;
}

struct Parameter {
  std::string_view whole;
  std::string_view keyword;
  std::string_view value;
  bool has_value = false;
};

// The next of the blank-separated parameters; false when there is none left.
bool TakeParameter(std::string_view* rest, Parameter* parameter) {
  while (rest->starts_with(' ') || rest->starts_with('\t')) rest->remove_prefix(1);
  if (rest->empty()) return false;
  parameter->whole = rest->substr(0, rest->find_first_of(" \t"));
  rest->remove_prefix(parameter->whole.size());
  const size_t equals = parameter->whole.find('=');
  parameter->keyword = parameter->whole.substr(0, equals);
  parameter->has_value = equals != std::string_view::npos;
  parameter->value =
      parameter->has_value ? parameter->whole.substr(equals + 1) : std::string_view();
  return true;
}

bool AllDigits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

bool Unsupported(const Parameter& parameter, std::string* refusal) {
  return Refuse(refusal,
                fmt::format("555 5.5.4 Unsupported option: {}", Printable(parameter.whole, 100)));
}

bool ReadSize(std::string_view value, MailCommand* mail, std::string* refusal) {
  if (!AllDigits(value)) return Refuse(refusal, "501 5.5.4 Bad message size syntax");
  mail->size = ParseUint(value);
  // More digits than any number of octets that we could hold.
  if (!mail->size) return Refuse(refusal, "552 5.3.4 Message size exceeds fixed limit");
  return true;
}

bool ReadBody(std::string_view value, MailCommand* mail, std::string* refusal) {
  if (EqualsIgnoreCase(value, "7BIT")) {
    mail->body = BodyType::kSevenBit;
  } else if (EqualsIgnoreCase(value, "8BITMIME")) {
    mail->body = BodyType::kEightBitMime;
  } else {
    return Refuse(refusal, "501 5.5.4 Bad BODY parameter syntax");
  }
  return true;
}

bool ReadEnvid(std::string_view value, MailCommand* mail, std::string* refusal) {
  const absl::StatusOr<std::string> envid = DecodeXtext(value);
  if (value.empty() || value.size() > kEnvidOctetsMax || !mail->envid.empty() || !envid.ok()) {
    return Refuse(refusal, "501 5.5.4 Bad ENVID parameter syntax");
  }
  mail->envid = *envid;
  return true;
}

bool ReadRet(std::string_view value, MailCommand* mail, std::string* refusal) {
  const std::optional<ReturnType> ret = ParseReturnType(value);
  if (!ret || mail->ret != ReturnType::kUnset) {
    return Refuse(refusal, "501 5.5.4 Bad RET parameter syntax");
  }
  mail->ret = *ret;
  return true;
}

// AUTH= is taken from anybody and trusted from nobody (RFC 4954 5): it is checked and
// forgotten.
bool ReadAuth(std::string_view value, std::string* refusal) {
  if (value.empty() || (value != "<>" && !DecodeXtext(value).ok())) {
    return Refuse(refusal, "501 5.5.4 Bad AUTH parameter syntax");
  }
  return true;
}

bool ReadMailParameter(const Parameter& parameter, MailCommand* mail, std::string* refusal) {
  const std::string_view keyword = parameter.keyword;
  if (EqualsIgnoreCase(keyword, "SMTPUTF8") && !parameter.has_value) {
    mail->smtputf8 = true;
    return true;
  }
  if (!parameter.has_value) return Unsupported(parameter, refusal);
  if (EqualsIgnoreCase(keyword, "SIZE")) return ReadSize(parameter.value, mail, refusal);
  if (EqualsIgnoreCase(keyword, "BODY")) return ReadBody(parameter.value, mail, refusal);
  if (EqualsIgnoreCase(keyword, "ENVID")) return ReadEnvid(parameter.value, mail, refusal);
  if (EqualsIgnoreCase(keyword, "RET")) return ReadRet(parameter.value, mail, refusal);
  if (EqualsIgnoreCase(keyword, "AUTH")) return ReadAuth(parameter.value, refusal);
  return Unsupported(parameter, refusal);
}

// address-type ";" xtext. A utf-8 address (RFC 6533 3) has its own escapes, which are
// kept as they are.
std::optional<std::string> DecodeOrcpt(std::string_view value) {
  if (value.size() > kOrcptOctetsMax) return std::nullopt;
  const size_t semicolon = value.find(';');
  if (semicolon == 0 || semicolon == std::string_view::npos || semicolon + 1 == value.size()) {
    return std::nullopt;
  }
  const std::string_view type = value.substr(0, semicolon);
  for (const char c : type) {
    const bool atom = (c >= '0' && c <= '9') || (AsciiLower(c) >= 'a' && AsciiLower(c) <= 'z');
    if (!atom && c != '-') return std::nullopt;
  }
  const std::string_view address = value.substr(semicolon + 1);
  if (EqualsIgnoreCase(type, "utf-8")) {
    if (!IsValidUtf8(address)) return std::nullopt;
    return std::string(value);
  }
  const absl::StatusOr<std::string> decoded = DecodeXtext(address);
  if (!decoded.ok()) return std::nullopt;
  return fmt::format("{};{}", type, *decoded);
}

bool ReadRcptParameter(const Parameter& parameter, RcptCommand* rcpt, std::string* refusal) {
  if (EqualsIgnoreCase(parameter.keyword, "NOTIFY")) {
    const std::optional<uint8_t> notify = ParseNotify(parameter.value);
    if (!notify || rcpt->notify != 0) {
      return Refuse(refusal, "501 5.5.4 Error: Bad NOTIFY parameter syntax");
    }
    rcpt->notify = *notify;
    return true;
  }
  if (EqualsIgnoreCase(parameter.keyword, "ORCPT")) {
    const std::optional<std::string> orcpt = DecodeOrcpt(parameter.value);
    if (!orcpt || !rcpt->orcpt.empty()) {
      return Refuse(refusal, "501 5.5.4 Error: Bad ORCPT parameter syntax");
    }
    rcpt->orcpt = *orcpt;
    return true;
  }
  return Unsupported(parameter, refusal);
}

constexpr std::string_view kNeedsSmtpUtf8 =
    "553 5.6.7 Must declare SMTPUTF8 to send unicode address";

}  // namespace

std::string_view VerbName(Verb verb) { return kNames[static_cast<size_t>(verb)]; }

CommandLine SplitCommand(std::string_view line) {
  CommandLine command;
  line = Trim(line);
  command.word = line.substr(0, line.find_first_of(" \t"));
  command.argument = Trim(line.substr(command.word.size()));
  for (size_t i = 0; i + 1 < kVerbs; ++i) {
    if (EqualsIgnoreCase(command.word, kNames[i])) command.verb = static_cast<Verb>(i);
  }
  return command;
}

bool ParseMail(std::string_view argument, MailCommand* mail, std::string* refusal) {
  const std::optional<std::string_view> path = TakePath("FROM:", &argument);
  if (!path) return Refuse(refusal, "501 5.5.4 Syntax: MAIL FROM:<address>");
  Parameter parameter;
  while (TakeParameter(&argument, &parameter)) {
    if (!IsAscii(parameter.whole)) return Unsupported(parameter, refusal);
    if (!ReadMailParameter(parameter, mail, refusal)) return false;
  }
  if (!mail->smtputf8 && !IsAscii(*path)) return Refuse(refusal, kNeedsSmtpUtf8);
  const absl::StatusOr<MailAddress> address =
      ParsePath(*path, {.allow_utf8 = mail->smtputf8, .allow_null_reverse_path = true});
  if (!address.ok()) {
    return Refuse(refusal, fmt::format("501 5.1.7 Bad sender address syntax: {}",
                                       Printable(std::string(address.status().message()), 200)));
  }
  mail->reverse_path = address->ToString();
  return true;
}

bool ParseRcpt(std::string_view argument, bool smtputf8, RcptCommand* rcpt, std::string* refusal) {
  const std::optional<std::string_view> path = TakePath("TO:", &argument);
  if (!path) return Refuse(refusal, "501 5.5.4 Syntax: RCPT TO:<address>");
  Parameter parameter;
  while (TakeParameter(&argument, &parameter)) {
    if (!smtputf8 && !IsAscii(parameter.whole)) return Unsupported(parameter, refusal);
    if (!ReadRcptParameter(parameter, rcpt, refusal)) return false;
  }
  if (!smtputf8 && !IsAscii(*path)) return Refuse(refusal, kNeedsSmtpUtf8);
  // RFC 5321 4.1.1.3: "postmaster" is the one mailbox that needs no domain.
  if (EqualsIgnoreCase(*path, "<postmaster>")) {
    rcpt->forward_path = path->substr(1, path->size() - 2);
    return true;
  }
  const absl::StatusOr<MailAddress> address = ParsePath(*path, {.allow_utf8 = smtputf8});
  if (!address.ok()) {
    return Refuse(refusal, fmt::format("501 5.1.3 Bad recipient address syntax: {}",
                                       Printable(std::string(address.status().message()), 200)));
  }
  rcpt->forward_path = address->ToString();
  return true;
}

std::optional<BdatCommand> ParseBdat(std::string_view argument) {
  BdatCommand bdat;
  const std::string_view count = argument.substr(0, argument.find_first_of(" \t"));
  const std::string_view rest = Trim(argument.substr(count.size()));
  const std::optional<uint64_t> octets = AllDigits(count) ? ParseUint(count) : std::nullopt;
  if (!octets || (!rest.empty() && !EqualsIgnoreCase(rest, "LAST"))) return std::nullopt;
  bdat.octets = *octets;
  bdat.last = !rest.empty();
  return bdat;
}

std::optional<uint8_t> ParseNotify(std::string_view value) {
  uint8_t bits = 0;
  while (true) {
    const std::string_view word = value.substr(0, value.find(','));
    if (EqualsIgnoreCase(word, "NEVER")) {
      bits |= RcptCommand::kNever;
    } else if (EqualsIgnoreCase(word, "SUCCESS")) {
      bits |= RcptCommand::kSuccess;
    } else if (EqualsIgnoreCase(word, "FAILURE")) {
      bits |= RcptCommand::kFailure;
    } else if (EqualsIgnoreCase(word, "DELAY")) {
      bits |= RcptCommand::kDelay;
    } else {
      return std::nullopt;
    }
    if (word.size() == value.size()) break;
    value.remove_prefix(word.size() + 1);
  }
  // RFC 3461 4.1: NEVER only alone.
  if ((bits & RcptCommand::kNever) != 0 && bits != RcptCommand::kNever) return std::nullopt;
  return bits;
}

std::optional<ReturnType> ParseReturnType(std::string_view value) {
  if (EqualsIgnoreCase(value, "FULL")) return ReturnType::kFull;
  if (EqualsIgnoreCase(value, "HDRS")) return ReturnType::kHeaders;
  return std::nullopt;
}

}  // namespace mailrace::transport::smtp

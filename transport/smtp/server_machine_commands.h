// What a client may say to an SMTP server, read strictly: verbs, MAIL and RCPT with
// their parameters, BDAT. Pure functions; refusals are whole replies without CRLF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mailrace::transport::smtp {

// In the order in which Postfix lists them when a client disconnects.
enum class Verb : uint8_t {
  kHelo,
  kEhlo,
  kStartTls,
  kAuth,
  kMail,
  kRcpt,
  kData,
  kBdat,
  kRset,
  kNoop,
  kVrfy,
  kExpn,
  kHelp,
  kQuit,
  kUnknown,
};
inline constexpr size_t kVerbs = static_cast<size_t>(Verb::kUnknown) + 1;
// "MAIL"; "unknown" for kUnknown.
std::string_view VerbName(Verb verb);

// One line without its end: verb, and what follows it without the spaces around.
struct CommandLine {
  Verb verb = Verb::kUnknown;
  std::string_view word;
  std::string_view argument;
};
CommandLine SplitCommand(std::string_view line);

enum class BodyType : uint8_t { kUnset, kSevenBit, kEightBitMime };
enum class ReturnType : uint8_t { kUnset, kFull, kHeaders };

struct MailCommand {
  std::string reverse_path;      // Without brackets; empty: "<>".
  std::optional<uint64_t> size;  // RFC 1870
  BodyType body = BodyType::kUnset;
  bool smtputf8 = false;
  ReturnType ret = ReturnType::kUnset;
  std::string envid;  // Decoded; empty: none.
};

struct RcptCommand {
  static constexpr uint8_t kNever = 1;
  static constexpr uint8_t kSuccess = 2;
  static constexpr uint8_t kFailure = 4;
  static constexpr uint8_t kDelay = 8;

  std::string forward_path;  // Without brackets; "postmaster" may stand alone.
  uint8_t notify = 0;        // Of the bits above; 0: no NOTIFY.
  std::string orcpt;         // "rfc822;user@example.com", decoded; empty: none.
};

// `argument` is what follows the verb. False: *refusal is the reply.
bool ParseMail(std::string_view argument, MailCommand* mail, std::string* refusal);
// `smtputf8`: the transaction's MAIL had it.
bool ParseRcpt(std::string_view argument, bool smtputf8, RcptCommand* rcpt, std::string* refusal);

struct BdatCommand {
  uint64_t octets = 0;
  bool last = false;
};
std::optional<BdatCommand> ParseBdat(std::string_view argument);

// The values alone, for other intakes (sendmail's -N, -R, -V): as RFC 3461 4 has them.
std::optional<uint8_t> ParseNotify(std::string_view value);
std::optional<ReturnType> ParseReturnType(std::string_view value);

}  // namespace mailrace::transport::smtp

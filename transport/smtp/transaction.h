// Mail transactions as the relay client sees them, between the engine (what is owed)
// and the session (how it is said).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/task.h"
#include "transport/smtp/reply.h"

namespace mailrace::transport::smtp {

// Where in the dialogue something happened. Words for logs: StepCommand ("MAIL FROM",
// "end of DATA") and StepStage ("sending MAIL FROM", …), as Postfix prints them.
enum class Step {
  kConnect,
  kGreeting,
  kEhlo,
  kHelo,
  kStartTls,
  kTlsHandshake,
  kAuth,
  kMail,
  kRcpt,
  kData,
  kBody,       // Octets of the content, before its end.
  kEndOfData,  // The final dot or BDAT LAST may have been sent.
  kRset,
  kQuit,
};
// "(in reply to X command)": "EHLO", "STARTTLS", "AUTH", "MAIL FROM", "RCPT TO",
// "DATA", "end of DATA" … An early reply to the body counts as one to the end of DATA.
std::string_view StepCommand(Step step);
// "while STAGE": "receiving the initial server greeting", "performing the EHLO
// handshake", "sending MAIL FROM", "sending RCPT TO", "sending DATA command",
// "sending message body", "sending end of data -- message may be sent more than once".
std::string_view StepStage(Step step);

// How a step failed.
struct Failure {
  enum class Kind {
    kReply,     // The server said no: `reply`.
    kLost,      // Connection closed or reset.
    kTimeout,   // A deadline passed.
    kProtocol,  // Garbage, wrong order, limits: `text` says what.
    kTls,       // Handshake: `text` has the library's reason.
    kSasl,      // `text` as in postfix-semantics 3.8.
    kLocal,     // Our own side could not go on (body unreadable, cancelled).
  };
  Kind kind = Kind::kLost;
  Step step = Step::kConnect;
  std::optional<Reply> reply;
  std::string text;
  // The session had been in use before, and ended before it answered the message's MAIL:
  // most likely it was over before the message came. Its recipients are kUntried; move
  // it to another connection, uncharged.
  bool stale_session = false;
};

// What Failure::text says in cases that the engine tells apart.
inline constexpr std::string_view kOwnReplyText = "own_reply";  // `reply` is ours.
inline constexpr std::string_view kCancelledText = "cancelled";
// Begins the text of a kLocal failure whose message must be held: its stored content is
// not what intake lets in (bare CR or LF, NUL, a line over 998 octets), O-06.
inline constexpr std::string_view kContentUnfitText = "content unfit for sending: ";

struct OutgoingRecipient {
  std::string forward_path;  // Mailbox without brackets.
  std::string notify;        // Value of NOTIFY= or empty.
  std::string orcpt;         // Value of ORCPT= (type;xtext) or empty.
  uint32_t index = 0;        // The engine's own: recipient's number in its message.

  // Result, set when the transaction is over.
  enum class Result {
    kUntried,    // Never reached the server, or nothing was said about it: not charged.
    kAccepted,   // 2xx to RCPT and to the end of data: `reply` is the latter.
    kRefused,    // `reply` at `step` says no.
    kFailed,     // Broke at `step` before the end of data was sent: `failure`.
    kUncertain,  // The end of data may have been sent and no valid reply came.
  };
  Result result = Result::kUntried;
  Step step = Step::kMail;
  std::optional<Reply> reply;
};

struct OutgoingMessage {
  std::string reverse_path;                   // Empty: "<>".
  uint64_t octets = 0;                        // Content as stored; for SIZE=.
  bool eight_bit = false;                     // Content has 8-bit octets: BODY=8BITMIME if offered.
  bool smtputf8 = false;                      // Needs SMTPUTF8.
  std::string ret;                            // "FULL", "HDRS" or empty.
  std::string envid;                          // xtext or empty.
  std::vector<OutgoingRecipient> recipients;  // At least one.

  // When, by the loop's clock, its content began to be written, and when all of it was, with
  // its end. Zero: not yet.
  MonoTime content_begun;
  MonoTime content_ended;

  // If not the replies, what ended the transaction: for kFailed and kUncertain, for
  // kUntried after a stale session, and for own replies to the whole message.
  std::optional<Failure> failure;

  virtual ~OutgoingMessage() = default;
  // The content, in order, canonical CRLF, not dot-stuffed; empty at the end. The view
  // lives until the next call. Called again from the start after Rewind().
  virtual Task<absl::StatusOr<std::string_view>> NextChunk() = 0;
  virtual void Rewind() = 0;
  // The end of data is about to be sent: from here the server may have the message for
  // those of the first `recipients` that have no result yet.
  virtual void EndOfDataComes(size_t /*recipients*/) {}
};

// What the engine offers a running session. Calls come on the session's shard.
class TransactionSource {
 public:
  virtual ~TransactionSource() = default;
  // The next message for exactly this session, or null when none is ready now. The
  // session may ask while an earlier one's end of data is still unanswered.
  virtual OutgoingMessage* Next() = 0;
  // Another may follow at once, as far as is known. The last one and one alone are not worth
  // a stream.
  virtual bool MoreFollow() const { return false; }
  // All results of `message` are set; the session has forgotten it. In the order of Next().
  virtual void Finished(OutgoingMessage* message) = 0;
};

}  // namespace mailrace::transport::smtp

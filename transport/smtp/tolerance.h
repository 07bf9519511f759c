// What is known of how much one server takes: of a client that runs ahead of its replies, and of
// recipients in one message. Most keep their place; some announce PIPELINING or CHUNKING and lose
// it, and nothing of that may cost a message anything: trust is earned message by message, and lost
// at once.
//
// A stream of BDAT has a danger that DATA has not. Between its commands there is no 354:
// to a server that sends one reply too many, each 250 that follows would be read one
// command too early, and the last of them as the acceptance of a message that it never was
// (reliability.md P-06, P-07). So messages are streamed only to a server whose replies to
// MAIL, RCPT and the end of content can be told apart, learned while nothing was streamed,
// and each reply in a stream has to be of its command's kind. The first BDAT waits for the
// replies to its envelope: to who offers CHUNKING and does not know it, the content would be
// commands.
//
// Recipients: a server that takes n and says 452 to all behind them is asked for no more than n
// (RFC 5321 4.5.3.1.10). Asked for all of them again and again, it may count each as an error and
// hang up before any of the n is served.
//
// One a server, shared by the sessions with it; lives on one shard. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/time/time.h"
#include "base/clock.h"
#include "transport/smtp/reply.h"
#include "transport/smtp/stream_window.h"
#include "transport/smtp/transaction.h"

namespace mailrace::transport::smtp {

struct ToleranceOptions {
  // Messages whose end may be unanswered at a time on one session, at most: smtp_bdat_window.
  // 0: DATA.
  size_t window_max = 32;
  // [end of message n][MAIL n+1] in one group: smtp_cross_message_pipelining.
  bool cross_message = true;
  // For how long a server that lost its place is spoken to with care, and one that took too few
  // recipients is asked for no more: smtp_tolerance_time.
  absl::Duration memory = absl::Hours(1);
};

class Tolerance {
 public:
  // How much may be said before the replies to what was said before.
  enum class Manner {
    kAhead,     // Everything that it offers.
    kOneByOne,  // DATA; nothing behind the end of a message.
    kLockStep,  // Not even PIPELINING.
  };

  explicit Tolerance(ToleranceOptions options = {})
      : options_(options), stream_window_(options.window_max) {}

  Manner manner(MonoTime now);
  bool cross_message(MonoTime now) {
    return options_.cross_message && manner(now) == Manner::kAhead;
  }
  // BDAT may be said for what more mail follows.
  bool chunking(MonoTime now) {
    return options_.window_max > 0 && cross_message(now) && tells_apart();
  }
  // Messages that may be under way at once in a stream; 0: none may be streamed (yet).
  size_t window(MonoTime now) { return chunking(now) && knows_bdat_ ? stream_window_.Now(now) : 0; }

  // A positive reply while nothing was streamed: how this server answers `step` (kMail, kRcpt,
  // kEndOfData).
  void Learn(Step step, const Reply& reply);
  // A positive reply in a stream can be one to `step`.
  bool Fits(Step step, const Reply& reply) const;

  // A whole message was answered as it should be. `ahead`: something had been said behind it
  // before it was.
  void Answered(bool ahead) {
    if (ahead) ++answered_ahead_;
  }
  // A message was accepted by BDAT, that waited for the replies to its envelope.
  void KnowsBdat() { knows_bdat_ = true; }
  // A streamed message was accepted; as StreamWindow::Answered.
  void AnsweredInStream(size_t under_way, MonoTime said, MonoTime now) {
    stream_window_.Answered(under_way, said, now);
  }

  // The server lost its place, or refused to be spoken to in this manner, `spoken`.
  void LostItsPlace(std::string_view what, Manner spoken, MonoTime now);
  // The connection ended while something had been said ahead of replies. A server that took
  // many messages so before is rather being restarted.
  void Dropped(std::string_view what, MonoTime now);

  // So many recipients were accepted, and all others of the message were too many: `said`.
  void TooManyRecipients(size_t accepted, std::string_view said, MonoTime now);
  // Recipients that one transaction may have; 0: no limit is known.
  size_t recipients_max(MonoTime now) const {
    return now < recipients_until_ ? recipients_max_ : 0;
  }

  // What became of it since the last call, for the log, once; it goes on behind the server's
  // name: "was spoken to ahead of its replies: 503 …".
  std::optional<std::string> TakeNews() { return std::exchange(news_, std::nullopt); }
  absl::Duration memory() const { return options_.memory; }

 private:
  // So many messages answered as they should be are worth one lost connection.
  static constexpr uint64_t kProven = 50;

  // The part of a reply's text that stays the same from message to message.
  static std::string Kind(const Reply& reply);
  void StartAgain();
  // Positive replies to MAIL, RCPT and the end of content differ in kind.
  bool tells_apart() const {
    return learned_[0] && learned_[1] && learned_[2] && !kinds_[0].empty() && !kinds_[1].empty() &&
           kinds_[0] != kinds_[1] && kinds_[2] != kinds_[0] && kinds_[2] != kinds_[1];
  }

  const ToleranceOptions options_;
  Manner manner_ = Manner::kAhead;
  MonoTime until_;  // Of a manner other than kAhead.
  bool knows_bdat_ = false;
  StreamWindow stream_window_;
  uint64_t answered_ahead_ = 0;       // Since the last trouble.
  std::array<std::string, 3> kinds_;  // Of replies to MAIL, RCPT and the end of content.
  std::array<bool, 3> learned_{};
  size_t recipients_max_ = 0;
  MonoTime recipients_until_;
  std::optional<std::string> news_;
};

}  // namespace mailrace::transport::smtp

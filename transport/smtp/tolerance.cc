#include "transport/smtp/tolerance.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::transport::smtp {

namespace {

constexpr size_t kKindOctetsMax = 64;

size_t IndexOf(Step step) { return step == Step::kMail ? 0 : step == Step::kRcpt ? 1 : 2; }

}  // namespace

// "2.1.0", or without enhanced status the words that name nobody: "sender ok".
std::string Tolerance::Kind(const Reply& reply) {
  const std::string_view text = reply.lines.empty() ? std::string_view() : reply.lines[0];
  if (EnhancedStatus::ParsePrefix(text)) return std::string(text.substr(0, text.find(' ')));
  std::string kind;
  size_t begin = 0;
  while (begin < text.size() && kind.size() < kKindOctetsMax) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    const std::string_view word = text.substr(begin, end - begin);
    begin = end + 1;
    if (word.empty() || word.find_first_of("0123456789@<>=") != word.npos) continue;
    if (!kind.empty()) kind += ' ';
    kind += AsciiLowered(word);
  }
  return kind;
}

Tolerance::Manner Tolerance::manner(MonoTime now) {
  if (manner_ != Manner::kAhead && now >= until_) {
    manner_ = Manner::kAhead;
    StartAgain();
  }
  return manner_;
}

void Tolerance::StartAgain() {
  knows_bdat_ = false;
  stream_window_.StartAgain();
  answered_ahead_ = 0;
  learned_ = {};
}

void Tolerance::Learn(Step step, const Reply& reply) {
  const size_t index = IndexOf(step);
  std::string kind = Kind(reply);
  // What varies tells nothing apart.
  if (learned_[index] && kinds_[index] != kind) kind.clear();
  kinds_[index] = std::move(kind);
  learned_[index] = true;
}

bool Tolerance::Fits(Step step, const Reply& reply) const {
  const std::string kind = Kind(reply);
  const size_t index = IndexOf(step);
  // The end of content may be answered in many words, but not in those of another command.
  if (step == Step::kEndOfData) return kind != kinds_[0] && kind != kinds_[1];
  return kind == kinds_[index];
}

void Tolerance::LostItsPlace(std::string_view what, Manner spoken, MonoTime now) {
  const Manner before = manner(now);
  // Another session, that ran at the same time, found out before.
  if (spoken != before) return;
  StartAgain();
  until_ = now + options_.memory;
  if (before == Manner::kLockStep) return;  // As careful as it gets.
  manner_ = before == Manner::kAhead ? Manner::kOneByOne : Manner::kLockStep;
  const std::string memory(absl::FormatDuration(options_.memory));
  news_ = fmt::format("was spoken to ahead of its replies: {}; for {} it gets {}", what, memory,
                      manner_ == Manner::kOneByOne ? "one message at a time, and no BDAT"
                                                   : "one command at a time");
}

void Tolerance::TooManyRecipients(size_t accepted, std::string_view said, MonoTime now) {
  const size_t before = recipients_max(now);
  if (accepted == 0 || (before > 0 && before <= accepted)) return;
  recipients_max_ = accepted;
  recipients_until_ = now + options_.memory;
  news_ = fmt::format("takes {} recipients of a message: {}; for {} it is asked for no more",
                      accepted, said, std::string(absl::FormatDuration(options_.memory)));
}

void Tolerance::Dropped(std::string_view what, MonoTime now) {
  if (manner(now) != Manner::kAhead) return;
  const bool proven = answered_ahead_ >= kProven;
  if (!proven) {
    LostItsPlace(what, Manner::kAhead, now);
    return;
  }
  StartAgain();
}

}  // namespace mailrace::transport::smtp

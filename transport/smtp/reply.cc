#include "transport/smtp/reply.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::transport::smtp {

namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// 200..599 from the first three octets, or 0.
int ParseCode(std::string_view line) {
  if (line.size() < 3 || line[0] < '2' || line[0] > '5' || !IsDigit(line[1]) || !IsDigit(line[2])) {
    return 0;
  }
  return (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
}

bool IsPlainText(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

}  // namespace

std::string Reply::ToString() const {
  std::string out;
  for (size_t i = 0; i < lines.size(); ++i) {
    const bool last = i + 1 == lines.size();
    if (i > 0) out += ' ';
    out += fmt::format("{}", code);
    if (!last || !lines[i].empty()) out += last ? ' ' : '-';
    out += lines[i];
  }
  return out;
}

ReplyParser::State ReplyParser::Feed(std::string_view* input) {
  if (!problem_.empty()) return State::kProtocolError;
  while (!input->empty()) {
    const size_t line_feed = input->find('\n');
    const size_t taken = line_feed == std::string_view::npos ? input->size() : line_feed + 1;
    // Before anything is stored: a peer decides how much comes, not how much we keep.
    if (line_.size() + taken > line_octets_max_ + 2) return Error("reply line too long");
    octets_ += taken;
    if (octets_ > kReplyOctetsMax) return Error("reply too long");
    const std::string_view part = input->substr(0, taken);
    input->remove_prefix(taken);
    if (line_feed == std::string_view::npos) {
      line_.append(part);
      return State::kNeedsMore;
    }
    State state;
    if (line_.empty()) {
      state = FinishLine(part);
    } else {
      line_.append(part);
      state = FinishLine(line_);
      line_.clear();
    }
    if (state != State::kNeedsMore) return state;
  }
  return State::kNeedsMore;
}

ReplyParser::State ReplyParser::FinishLine(std::string_view line) {
  line.remove_suffix(1);  // The LF.
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  if (line.size() > line_octets_max_) return Error("reply line too long");
  const int code = ParseCode(line);
  const bool separated =
      line.size() == 3 || (line.size() > 3 && (line[3] == ' ' || line[3] == '-'));
  if (code == 0 || !separated) {
    return Error(fmt::format("malformed reply: {}", Printable(line, 100)));
  }
  if (!reply_.lines.empty() && code != reply_.code) {
    return Error(fmt::format("reply with different codes: {} and {}", reply_.code, code));
  }
  if (reply_.lines.size() == kLinesMax) return Error("reply of too many lines");
  reply_.code = code;
  const std::string_view text = line.size() > 4 ? line.substr(4) : std::string_view();
  if (IsPlainText(text)) {
    reply_.lines.emplace_back(text);
  } else {
    reply_.lines.push_back(Printable(text, text.size()));
  }
  const bool continued = line.size() > 3 && line[3] == '-';
  return continued ? State::kNeedsMore : State::kComplete;
}

ReplyParser::State ReplyParser::Error(std::string problem) {
  problem_ = std::move(problem);
  return State::kProtocolError;
}

Reply ReplyParser::TakeReply() {
  Reply reply = std::move(reply_);
  Reset();
  return reply;
}

void ReplyParser::Reset() {
  reply_ = Reply();
  line_.clear();
  problem_.clear();
  octets_ = 0;
}

}  // namespace mailrace::transport::smtp

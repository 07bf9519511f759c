#include "wire_audit.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "absl/strings/escaping.h"
#include "fmt/format.h"

namespace mailrace::transport::smtp {

namespace {

// A fake handshake (fake_tls_engine.h) shows on the wire; it is no dialogue.
bool IsTls(std::string_view line) { return line.starts_with('<') && line.ends_with('>'); }

// The code of a reply's line, or 0 for what is none.
int CodeOf(std::string_view line) {
  const auto digit = [&line](size_t i) {
    return std::isdigit(static_cast<unsigned char>(line[i]));
  };
  if (line.size() < 3 || line[0] < '2' || line[0] > '5' || !digit(1) || !digit(2)) return 0;
  if (line.size() > 3 && line[3] != ' ' && line[3] != '-') return 0;
  return std::stoi(std::string(line.substr(0, 3)));
}

}  // namespace

WireAudit::WireAudit(std::vector<std::string> secrets) : secrets_(std::move(secrets)) {}

void WireAudit::CheckLineEnds(std::string_view octets) {
  for (const char c : octets) {
    if (c == '\n' && last_ != '\r') Problem("a bare LF");
    if (c != '\n' && last_ == '\r') Problem("a bare CR");
    last_ = c;
  }
}

void WireAudit::CheckSecrets(std::string_view text, bool in_auth) {
  if (in_auth) return;
  for (const std::string& secret : secrets_) {
    if (text.find(secret) != text.npos || text.find(absl::Base64Escape(secret)) != text.npos) {
      Problem("a secret outside of AUTH");
    }
  }
}

void WireAudit::Client(std::string_view octets) {
  if (octets.empty()) return;
  CheckLineEnds(octets);
  client_ += octets;
  while (!client_.empty() && TakeOne()) {
  }
}

bool WireAudit::TakeOne() {
  if (mode_ == Mode::kContent) return TakeContent();
  if (mode_ == Mode::kChunk) {
    const size_t n = std::min(chunk_octets_, client_.size());
    CheckSecrets(std::string_view(client_).substr(0, n), false);
    client_.erase(0, n);
    chunk_octets_ -= n;
    if (chunk_octets_ == 0) mode_ = Mode::kLines;
    return chunk_octets_ == 0;
  }
  const size_t end = client_.find("\r\n");
  if (end == std::string::npos) return false;
  const std::string line = client_.substr(0, end);
  client_.erase(0, end + 2);
  if (!IsTls(line)) TakeLine(line);
  return true;
}

bool WireAudit::TakeContent() {
  const bool empty = client_.starts_with(".\r\n");
  const size_t end = empty ? 0 : client_.find("\r\n.\r\n");
  if (end == std::string::npos) return false;
  Transaction& transaction = transactions_.back();
  if (!empty && transaction.nobody()) Problem("content for nobody");
  CheckSecrets(std::string_view(client_).substr(0, end), false);
  client_.erase(0, end + (empty ? 3 : 5));
  transaction.ended = true;
  mode_ = Mode::kLines;
  Ask(Asked::kEnd);
  return true;
}

void WireAudit::TakeLine(const std::string& line) {
  const std::string verb = line.substr(0, line.find(' '));
  CheckSecrets(line, auth_goes_on_ || verb == "AUTH");
  if (!silence_.empty()) return Problem(fmt::format("{} behind {}", line, silence_));
  if (std::exchange(auth_goes_on_, false)) return Ask(Asked::kAuth);
  if (auth_refused_ && verb != "AUTH" && verb != "QUIT") {
    Problem(fmt::format("{} behind an AUTH that was refused", line));
  }
  if (verb == "MAIL" || verb == "RCPT" || verb == "DATA" || verb == "BDAT") {
    return TakeMailCommand(line);
  }
  if (verb == "AUTH") return Ask(Asked::kAuth);
  if (verb == "STARTTLS") return Ask(Asked::kStartTls);
  if (verb == "QUIT") {
    silence_ = "QUIT";
    return Ask(Asked::kCommand);
  }
  if (verb == "EHLO" || verb == "HELO" || verb == "RSET" || verb == "NOOP") {
    return Ask(Asked::kCommand);
  }
  Problem(fmt::format("no command: {}", line));
}

void WireAudit::TakeMailCommand(const std::string& line) {
  if (line.starts_with("MAIL")) {
    transactions_.emplace_back();
    return Ask(Asked::kMail);
  }
  Transaction& transaction = transactions_.back();
  if (line.starts_with("RCPT")) {
    if (transaction.refused) Problem(fmt::format("{} behind a MAIL that was refused", line));
    ++transaction.unanswered;
    return Ask(Asked::kRcpt);
  }
  if (transaction.nobody()) Problem(fmt::format("{} for nobody", line));
  if (transaction.ended) Problem(fmt::format("{} behind the end of the content", line));
  if (line == "DATA") return Ask(Asked::kData);
  TakeChunk(line);
}

void WireAudit::TakeChunk(const std::string& line) {
  transactions_.back().ended = line.ends_with(" LAST");
  chunk_octets_ = std::stoul(line.substr(5));
  if (chunk_octets_ > 0) mode_ = Mode::kChunk;
  Ask(transactions_.back().ended ? Asked::kEnd : Asked::kChunk);
}

void WireAudit::Server(std::string_view octets) {
  server_ += octets;
  for (size_t end = server_.find("\r\n"); end != std::string::npos; end = server_.find("\r\n")) {
    const std::string line = server_.substr(0, end);
    server_.erase(0, end + 2);
    if (IsTls(line)) continue;
    const int code = CodeOf(line);
    if (code == 0 || (code_ != 0 && code != code_)) {
      silence_ = "garbage";
      return;
    }
    code_ = code;
    if (line.size() > 3 && line[3] == '-') continue;
    code_ = 0;
    Reply(code);
  }
}

void WireAudit::Reply(int code) {
  if (questions_.empty()) {
    silence_ = fmt::format("a {} out of turn", code);
    return;
  }
  const Question question = questions_.front();
  questions_.pop_front();
  if (code == 421) silence_ = "a 421";
  switch (question.asked) {
    case Asked::kGreeting:
    case Asked::kCommand:
      if (code / 100 == 3) silence_ = "a 3xx to no question";
      break;
    case Asked::kAuth:
      auth_goes_on_ = code == 334;
      auth_refused_ = code >= 400;
      break;
    case Asked::kStartTls:
      break;
    default:
      ReplyToTransaction(question, code);
  }
}

void WireAudit::ReplyToTransaction(const Question& question, int code) {
  Transaction& transaction = transactions_[question.transaction];
  const bool positive = code / 100 == 2;
  if (code / 100 == 3 && question.asked != Asked::kData) silence_ = fmt::format("a {}", code);
  switch (question.asked) {
    case Asked::kRcpt:
      --transaction.unanswered;
      if (positive && !transaction.refused) ++transaction.accepted;
      break;
    case Asked::kData:
      if (code == 354) {
        mode_ = Mode::kContent;
      } else if (positive || code / 100 == 3) {
        silence_ = fmt::format("a {} to DATA", code);
      } else {
        transaction.refused = true;
      }
      break;
    default:
      if (!positive) transaction.refused = true;
  }
}

}  // namespace mailrace::transport::smtp

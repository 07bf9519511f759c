#include "tests/sim/world/heard_replies.h"

#include <algorithm>
#include <utility>

namespace mailrace::sim {

namespace {

// '2' to '5', or 0 for what is no reply.
char ClassOf(const std::string& line) {
  const bool code = line.size() >= 3 && std::all_of(line.begin(), line.begin() + 3,
                                                    [](char c) { return c >= '0' && c <= '9'; });
  return code && line[0] >= '2' && line[0] <= '5' ? line[0] : '\0';
}

// A word about the dialogue and not about the mail: out of a relay that was not asked so.
bool IsAboutTheDialogue(const std::string& line) {
  return line.starts_with("500") || line.starts_with("503") ||
         line.find(" 5.5.1 ") != std::string::npos;
}

}  // namespace

void HeardReplies::Asked(std::string_view verb, std::string_view path) {
  asked_.push_back({std::string(verb), std::string(path)});
  Match();
}

void HeardReplies::Said(std::string_view text) {
  while (!text.empty()) {
    const size_t end = std::min(text.find("\r\n"), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 2, text.size()));
    if (line.size() > 3 && line[3] == '-') continue;
    said_.push_back({std::string(line), answered_});
  }
  ++answered_;
  Match();
}

void HeardReplies::Closed() {
  if (!over_) Believe();
  over_ = true;
}

void HeardReplies::Match() {
  while (!over_ && !asked_.empty() && !said_.empty()) {
    late_ = said_.front().meant_for != matched_++;
    Hear(asked_.front(), said_.front());
    asked_.pop_front();
    said_.pop_front();
  }
}

void HeardReplies::Believe() {
  refused_.senders.merge(transaction_.refused.senders);
  refused_.recipients.merge(transaction_.refused.recipients);
  transaction_ = Transaction();
}

void HeardReplies::Contradicted() {
  transaction_ = Transaction();
  over_ = true;
}

void HeardReplies::RefuseAccepted() {
  if (!late_) return;
  for (std::string& to : transaction_.accepted) {
    transaction_.refused.recipients.insert(std::move(to));
  }
}

void HeardReplies::Hear(const Command& command, const Heard& reply) {
  const std::string& line = reply.line;
  if (ClassOf(line) == '\0' || line.starts_with("421")) return Closed();
  if (command.verb == "MAIL") return HearMail(command, line);
  if (command.verb == "RCPT") return HearRcpt(command, line);
  if (command.verb == "DATA") return HearData(line);
  if (command.verb == "." || command.verb == "BDAT LAST") {
    return HearEnd(line, command.verb != ".");
  }
  // Only behind EHLO a client has something else to say.
  if (ClassOf(line) != '2' && command.verb != "EHLO") Closed();
}

void HeardReplies::HearMail(const Command& command, const std::string& line) {
  transaction_ = Transaction();
  const bool used = std::exchange(used_, true);
  if (ClassOf(line) == '3' || (used && IsAboutTheDialogue(line))) return Contradicted();
  transaction_.begun = ClassOf(line) == '2';
  transaction_.odd = transaction_.begun && line.find(" 2.1.0 ") == std::string::npos;
  if (ClassOf(line) == '5' && late_) transaction_.refused.senders.insert(command.path);
}

void HeardReplies::HearRcpt(const Command& command, const std::string& line) {
  if (ClassOf(line) == '3' || (transaction_.begun && IsAboutTheDialogue(line))) {
    return Contradicted();
  }
  if (ClassOf(line) == '2') {
    transaction_.accepted.push_back(command.path);
    if (line.find(" 2.1.5 ") == std::string::npos) transaction_.odd = true;
  }
  const bool refused = transaction_.begun && ClassOf(line) == '5';
  if (refused && late_) transaction_.refused.recipients.insert(command.path);
}

void HeardReplies::HearData(const std::string& line) {
  if (line.starts_with("354")) return;
  const bool positive = ClassOf(line) == '2' || ClassOf(line) == '3';
  const bool nonsense = !transaction_.accepted.empty() && IsAboutTheDialogue(line);
  if (positive || nonsense) return Contradicted();
  if (ClassOf(line) == '5') RefuseAccepted();
  Believe();
}

void HeardReplies::HearEnd(const std::string& line, bool chunk) {
  // Without a 354 a client looks at the words.
  if (ClassOf(line) == '3' || (chunk && transaction_.odd)) return Contradicted();
  if (ClassOf(line) == '5' && !(chunk && IsAboutTheDialogue(line))) RefuseAccepted();
  Believe();
}

}  // namespace mailrace::sim

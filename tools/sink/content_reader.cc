#include "tools/sink/content_reader.h"

#include <algorithm>

#include "base/text.h"

namespace mailrace::sink {

void ContentReader::Begin(bool keep, uint64_t octets_max) {
  keep_ = keep;
  octets_max_ = octets_max;
  at_line_start_ = true;
  header_over_ = false;
  octets_ = 0;
  header_.clear();
  content_.clear();
}

bool ContentReader::ReadData(std::string_view* input) {
  constexpr std::string_view kEnd = ".\r\n";
  while (!input->empty()) {
    if (at_line_start_ && input->front() == '.') {
      if (input->starts_with(kEnd)) {
        input->remove_prefix(kEnd.size());
        return true;
      }
      if (kEnd.starts_with(*input)) return false;
      // RFC 5321 4.5.2: the dot was put there by the sender, what follows is text.
      input->remove_prefix(1);
      at_line_start_ = false;
      continue;
    }
    const size_t next_dot = input->find("\r\n.");
    if (next_dot != input->npos) {
      Take(input->substr(0, next_dot + 2));
      input->remove_prefix(next_dot + 2);
      at_line_start_ = true;
      continue;
    }
    // A CR at the end may begin a CRLF.
    const size_t taken = input->size() - (input->back() == '\r' ? 1 : 0);
    if (taken == 0) return false;
    at_line_start_ = input->substr(0, taken).ends_with("\r\n");
    Take(input->substr(0, taken));
    input->remove_prefix(taken);
    if (!input->empty()) return false;
  }
  return false;
}

void ContentReader::Take(std::string_view octets) {
  octets_ += octets.size();
  if (keep_ && octets_ <= octets_max_) content_.append(octets);
  if (header_over_) return;
  const size_t searched = header_.size() < 3 ? 0 : header_.size() - 3;
  header_.append(octets.substr(0, kHeaderOctetsMax - header_.size()));
  const bool none = header_.starts_with("\r\n");  // The body begins at once.
  const size_t end = none ? 0 : header_.find("\r\n\r\n", searched);
  if (end != header_.npos) header_.resize(none ? 0 : end + 2);
  header_over_ = end != header_.npos || header_.size() == kHeaderOctetsMax;
}

std::string_view ContentReader::MessageId() const {
  constexpr std::string_view kName = "X-Mailrace-Id:";
  std::string_view rest = header_;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size() - 1);
    const std::string_view line = rest.substr(0, end + 1);
    if (StartsWithIgnoreCase(line, kName)) return Trim(line.substr(kName.size()));
    rest.remove_prefix(end + 1);
  }
  return {};
}

}  // namespace mailrace::sink

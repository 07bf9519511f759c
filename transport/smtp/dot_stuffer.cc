#include "transport/smtp/dot_stuffer.h"

#include <cstring>

namespace mailrace::transport::smtp {

namespace {

const char* Find(const char* begin, const char* end, char octet) {
  const void* found = std::memchr(begin, octet, static_cast<size_t>(end - begin));
  return found == nullptr ? end : static_cast<const char*>(found);
}

// Written so that the compiler vectorises it.
bool HasEightBit(std::string_view text) {
  unsigned char all = 0;
  for (const char c : text) all |= static_cast<unsigned char>(c);
  return all >= 0x80;
}

std::string_view Between(const char* begin, const char* end) {
  return {begin, static_cast<size_t>(end - begin)};
}

}  // namespace

bool DotStuffer::FinishSplitLineEnd(std::string_view* content, Buffer* out) {
  if (content->front() != '\n') return Refuse("bare CR");
  out->Append("\r\n");
  content->remove_prefix(1);
  split_line_end_ = false;
  line_octets_ = 0;
  return true;
}

bool DotStuffer::Append(std::string_view content, Buffer* out) {
  if (content.empty()) return true;
  if (std::memchr(content.data(), '\0', content.size()) != nullptr) return Refuse("NUL");
  if (!eight_bit_allowed_ && HasEightBit(content)) return Refuse("8-bit octet");
  if (split_line_end_ && !FinishSplitLineEnd(&content, out)) return false;

  const char* const end = content.data() + content.size();
  const char* line = content.data();
  const char* copied = line;  // Everything before it is in *out.
  while (line != end) {
    if (*line == '.' && line_octets_ == 0 && framing_ == Framing::kDots) {
      out->Append(Between(copied, line));
      out->Append(".");
      copied = line;
    }
    const char* const carriage_return = Find(line, end, '\r');
    if (Find(line, carriage_return, '\n') != carriage_return) return Refuse("bare LF");
    line_octets_ += static_cast<size_t>(carriage_return - line);
    if (line_octets_ > kLineOctetsMax) return Refuse("line over 998 octets");
    if (carriage_return == end) break;
    if (carriage_return + 1 == end) {
      out->Append(Between(copied, carriage_return));
      split_line_end_ = true;
      return true;
    }
    if (carriage_return[1] != '\n') return Refuse("bare CR");
    line = carriage_return + 2;
    line_octets_ = 0;
  }
  out->Append(Between(copied, end));
  return true;
}

bool DotStuffer::Finish(Buffer* out) {
  if (split_line_end_) return Refuse("bare CR");
  if (line_octets_ > 0) out->Append("\r\n");
  if (framing_ == Framing::kDots) out->Append(".\r\n");
  return true;
}

}  // namespace mailrace::transport::smtp

// The content of one message as it comes over the wire: its end found, dots unstuffed,
// octets counted, and kept only where somebody wants them. Exact: bare CR and LF stay
// what they are, and only CRLF "." CRLF ends the data. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mailrace::sink {

class ContentReader {
 public:
  // A new message. `keep`: content() is wanted, at most `octets_max` of it.
  void Begin(bool keep, uint64_t octets_max);

  // DATA: consumes from the front of *input. True once the end of data was consumed.
  // What it leaves while false (at most three octets) needs more behind it.
  bool ReadData(std::string_view* input);
  // BDAT: all of it is content.
  void ReadChunk(std::string_view octets) { Take(octets); }

  uint64_t octets() const { return octets_; }
  bool too_large() const { return octets_ > octets_max_; }
  std::string_view content() const { return content_; }
  // The value of the X-Mailrace-Id header; empty if there is none. Valid until Begin().
  std::string_view MessageId() const;

 private:
  void Take(std::string_view octets);

  // Longer header sections are looked at this far.
  static constexpr size_t kHeaderOctetsMax = 64 * 1024;

  bool keep_ = false;
  uint64_t octets_max_ = 0;
  bool at_line_start_ = true;
  bool header_over_ = false;
  uint64_t octets_ = 0;
  std::string header_;   // Up to the empty line.
  std::string content_;  // With keep_.
};

}  // namespace mailrace::sink

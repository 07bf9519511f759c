// The look over a header section that is just coming in: the same however it is cut, and
// as a reading of the whole lines has it.
//
// Input: the limit, the cuts; then a message, LF or CRLF at its line ends.
#include "engine/intake/header_scan.h"

#include "base/text.h"
#include "fuzz_input.h"

namespace mailrace::engine {
namespace {

// Intake gives it canonical content.
std::string Canonical(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    for (const char c : text.substr(0, end)) {
      if (c != '\r' && c != '\0') out += c;
    }
    out += "\r\n";
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

HeaderScan Scan(std::string_view content, uint8_t seed, size_t octets_max) {
  HeaderScan scan(octets_max);
  scan.LookFor("X-Class", "To");
  size_t come = 0;
  for (const std::string_view piece : fuzz::Pieces(content, seed)) {
    come += piece.size();
    // Intake holds a CR back until it knows that it begins a CRLF.
    if (piece.ends_with('\r')) continue;
    scan.Scan(content.substr(0, come), false);
  }
  scan.Scan(content, true);
  FUZZ_CHECK(scan.done(), std::string(content));
  return scan;
}

// The first line of the section that begins with `name` and a colon, blanks allowed
// between them.
size_t CountFields(std::string_view section, std::string_view name) {
  size_t count = 0;
  while (!section.empty()) {
    const size_t end = std::min(section.find("\r\n"), section.size());
    const std::string_view line = section.substr(0, end);
    section.remove_prefix(std::min(end + 2, section.size()));
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || line[0] == ' ' || line[0] == '\t') continue;
    if (EqualsIgnoreCase(Trim(line.substr(0, colon)), name)) ++count;
  }
  return count;
}

void Check(const HeaderScan& scan, const std::string& content, size_t octets_max) {
  FUZZ_CHECK(scan.section_octets() <= content.size(), content);
  FUZZ_CHECK(scan.section_octets() <= octets_max + 2, content);
  const std::string_view section = std::string_view(content).substr(0, scan.section_octets());
  FUZZ_CHECK(section.empty() || section.ends_with("\r\n"), content);
  FUZZ_CHECK(section.find("\r\n\r\n") == std::string_view::npos, content);
  FUZZ_CHECK(scan.has_date() == (CountFields(section, "Date") > 0), content);
  FUZZ_CHECK(scan.has_message_id() == (CountFields(section, "Message-ID") > 0), content);
  FUZZ_CHECK(scan.received_fields() == CountFields(section, "Received"), content);
  FUZZ_CHECK(
      scan.label_ranges().size() == CountFields(section, "X-Class") + CountFields(section, "To"),
      content);
  size_t end = 0;
  for (const HeaderScan::Range& range : scan.label_ranges()) {
    FUZZ_CHECK(end <= range.begin && range.begin < range.end, content);
    FUZZ_CHECK(range.end <= scan.section_octets(), content);
    end = range.end;
  }
  FUZZ_CHECK(scan.message_class().find_first_of("\r\n") == std::string::npos, content);
  FUZZ_CHECK(scan.message_id().size() <= 998, content);
  FUZZ_CHECK(scan.message_id().empty() || scan.has_message_id(), content);
  FUZZ_CHECK(scan.message_id().find_first_of("\r\n") == std::string::npos, content);
  FUZZ_CHECK(content.find(scan.message_id()) != std::string::npos, content);
}

void Run(const uint8_t* data, size_t size) {
  fuzz::FuzzInput input(data, size);
  const uint8_t limit = input.Octet();
  const size_t octets_max = limit == 0 ? 100'000 : size_t{limit} * 4;
  const uint8_t seed = input.Octet();
  const std::string content = Canonical(input.Rest());
  const HeaderScan whole = Scan(content, 0, octets_max);
  Check(whole, content, octets_max);
  for (const uint8_t cuts : {seed, uint8_t{1}}) {
    const HeaderScan split = Scan(content, cuts, octets_max);
    FUZZ_CHECK(split.section_octets() == whole.section_octets(), content);
    FUZZ_CHECK(split.message_id() == whole.message_id(), content);
    FUZZ_CHECK(split.message_class() == whole.message_class(), content);
    FUZZ_CHECK(split.tenant() == whole.tenant(), content);
    FUZZ_CHECK(split.label_ranges().size() == whole.label_ranges().size(), content);
    FUZZ_CHECK(split.has_date() == whole.has_date(), content);
    FUZZ_CHECK(split.received_fields() == whole.received_fields(), content);
    FUZZ_CHECK(split.begins_folded() == whole.begins_folded(), content);
    FUZZ_CHECK(split.too_large() == whole.too_large(), content);
  }
}

}  // namespace
}  // namespace mailrace::engine

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mailrace::engine::Run(data, size);
  return 0;
}

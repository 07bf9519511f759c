// Notifications made of hostile text: addresses, replies and a message that want to add
// header fields, parts, lines or octets of their own.
//
// Input: kind and flags, RET, size limits; then texts, a form feed between them, in the
// order of DsnRequest (five of each of up to four recipients), and the original.
#include "engine/bounces/dsn.h"

#include <array>
#include <set>

#include "base/address.h"
#include "engine/bounces/dsn_text.h"
#include "fuzz_input.h"

namespace mailrace::engine {
namespace {

constexpr std::string_view kBoundary = "Bvh3xT0pQ9zLm27a";

DsnRequest TakeRequest(fuzz::FuzzInput* input, std::string* original) {
  DsnRequest request;
  const uint8_t bits = input->Octet();
  request.kind = static_cast<DsnAction>(bits % 5);
  request.smtputf8 = (bits & 8) != 0;
  const size_t recipients = bits >> 4 & 3;
  request.ret = static_cast<queue::Ret>(input->Octet() % 3);
  const uint8_t limit = input->Octet();
  request.bounce_size_limit = limit == 0 ? 50'000 : size_t{limit} * 8;
  request.queue_id.value = 0x123456789abcdef;
  request.date = absl::FromUnixSeconds(1'700'000'000);
  request.arrival = request.date - absl::Hours(4);
  request.delay_warning_time = absl::Hours(4);
  request.lifetime = absl::Hours(120);
  request.boundary = kBoundary;
  request.reverse_path = input->Field('\f');
  if (request.reverse_path.empty()) request.postmaster = "a@example.org";
  request.seven_bit = (limit & 1) != 0;
  request.envid = input->Field('\f');
  request.message_id = input->Field('\f');
  request.hostname = input->Field('\f');
  request.mail_name = input->Field('\f');
  for (size_t i = 0; i <= recipients; ++i) {
    DsnRecipient& recipient = request.recipients.emplace_back();
    recipient.action = static_cast<DsnAction>((bits + i) % 5);
    recipient.address = input->Field('\f');
    recipient.orcpt = input->Field('\f');
    recipient.reason = input->Field('\f');
    recipient.remote_mta = input->Field('\f');
    recipient.reply = input->Field('\f');
    recipient.last_attempt = request.date;
    recipient.will_retry_until = request.date + absl::Hours(100);
  }
  *original = input->Rest();
  request.original = *original;
  request.original_octets = original->size();
  return request;
}

// The names of the fields of a header, and that each line is a field or goes on with one.
std::multiset<std::string> FieldNames(std::string_view header) {
  std::multiset<std::string> names;
  const std::string shown(header);
  while (!header.empty()) {
    const size_t end = std::min(header.find("\r\n"), header.size());
    const std::string_view line = header.substr(0, end);
    header.remove_prefix(std::min(end + 2, header.size()));
    FUZZ_CHECK(!line.empty(), shown);
    if (line[0] == ' ' || line[0] == '\t') {
      FUZZ_CHECK(!names.empty(), shown);
      FUZZ_CHECK(line.find_first_not_of(" \t") != std::string_view::npos, shown);
      continue;
    }
    const size_t colon = line.find(": ");
    FUZZ_CHECK(colon != std::string_view::npos, shown);
    names.emplace(line.substr(0, colon));
  }
  return names;
}

void CheckHeader(std::string_view header, const DsnRequest& request) {
  static const std::set<std::string> kKnown = {"Date",
                                               "From",
                                               "Subject",
                                               "To",
                                               "Auto-Submitted",
                                               "Message-Id",
                                               "In-Reply-To",
                                               "References",
                                               "MIME-Version",
                                               "Content-Type",
                                               "Content-Transfer-Encoding"};
  const std::string shown(header);
  const std::multiset<std::string> names = FieldNames(header);
  for (const std::string& name : names) {
    FUZZ_CHECK(kKnown.contains(name) && names.count(name) == 1, shown);
  }
  for (const char* name : {"Date", "From", "To", "Message-Id", "Content-Type", "Auto-Submitted"}) {
    FUZZ_CHECK(names.contains(name), shown);
  }
  FUZZ_CHECK(request.smtputf8 || IsAscii(header), shown);
}

// message/delivery-status: per-message fields, a blank line, those of each recipient.
void CheckStatus(std::string_view part, const Dsn& dsn) {
  const std::string shown(part);
  size_t groups = 0;
  while (!part.empty()) {
    const size_t end = std::min(part.find("\r\n\r\n"), part.size());
    const std::multiset<std::string> names = FieldNames(part.substr(0, end));
    part.remove_prefix(std::min(end + 4, part.size()));
    const bool content_header = groups == 0;
    const bool message = groups == 1;
    const bool recipient = !content_header && !message;
    FUZZ_CHECK(names.count("Content-Type") == (content_header ? 1u : 0u), shown);
    FUZZ_CHECK(names.count("Reporting-MTA") == (message ? 1u : 0u), shown);
    FUZZ_CHECK(names.count("Final-Recipient") == (recipient ? 1u : 0u), shown);
    FUZZ_CHECK(names.count("Action") == (recipient ? 1u : 0u), shown);
    FUZZ_CHECK(names.count("Status") == (recipient ? 1u : 0u), shown);
    ++groups;
  }
  FUZZ_CHECK(groups == 2 + dsn.recipients_reported, shown);
}

std::vector<std::string_view> Parts(std::string_view content, std::string_view boundary) {
  std::vector<std::string_view> parts;
  const std::string delimiter = "\r\n--" + std::string(boundary);
  while (true) {
    const size_t at = content.find(delimiter);
    parts.push_back(content.substr(0, at));
    FUZZ_CHECK(at != std::string_view::npos, std::string(content));
    content.remove_prefix(at + delimiter.size());
    if (content == "--\r\n") return parts;
    FUZZ_CHECK(content.starts_with("\r\n"), std::string(content));
    content.remove_prefix(2);
  }
}

void CheckDsn(const DsnRequest& request) {
  const Dsn dsn = BuildDsn(request);
  const std::string& content = dsn.content;
  FUZZ_CHECK(fuzz::OnlyCrlfLines(content), content);
  FUZZ_CHECK(fuzz::LongestLine(content) <= kLineOctetsMax, content);
  FUZZ_CHECK(content.find('\0') == std::string::npos, content);
  FUZZ_CHECK(dsn.eight_bit || IsAscii(content), content);
  FUZZ_CHECK(request.smtputf8 || !dsn.smtputf8, content);
  FUZZ_CHECK(dsn.eight_bit || !dsn.smtputf8, content);
  // Mail to a plain address that may return nowhere but where 7 bits pass.
  FUZZ_CHECK(!request.seven_bit || dsn.smtputf8 || IsAscii(content), content);
  FUZZ_CHECK(dsn.recipients_reported == request.recipients.size(), content);
  FUZZ_CHECK(!fuzz::HasControls(dsn.message_id) && dsn.message_id.starts_with('<'), content);

  const size_t header_end = content.find("\r\n\r\n");
  FUZZ_CHECK(header_end != std::string::npos, content);
  const std::string_view header = std::string_view(content).substr(0, header_end);
  CheckHeader(header, request);
  const size_t quote = header.find("\r\n\tboundary=\"");
  FUZZ_CHECK(quote != std::string_view::npos, content);
  std::string_view boundary = header.substr(quote + 13);
  boundary = boundary.substr(0, boundary.find('"'));
  FUZZ_CHECK(boundary.starts_with(kBoundary), content);

  // Preamble, text, status, and the original if there is anything of it.
  const std::vector<std::string_view> parts =
      Parts(std::string_view(content).substr(header_end + 2), boundary);
  FUZZ_CHECK(parts.size() == 3 || parts.size() == 4, content);
  CheckStatus(parts[2], dsn);
  FUZZ_CHECK(!dsn.returned_whole || parts.size() == 4, content);
}

// The pieces alone, with their own promises.
void CheckText(std::string_view text, bool utf8, size_t octets_max) {
  const std::string shown(text);
  const std::string line = OneLine(text, utf8, octets_max);
  FUZZ_CHECK(line.size() <= std::max<size_t>(octets_max, 3), shown);
  FUZZ_CHECK(!fuzz::HasControls(line), shown);
  FUZZ_CHECK(utf8 ? IsValidUtf8(line) : IsAscii(line), shown);
  std::string folded;
  AppendFolded(&folded, line);
  FUZZ_CHECK(fuzz::OnlyCrlfLines(folded) && folded.ends_with("\r\n"), shown);
  FUZZ_CHECK(fuzz::LongestLine(folded) <= 78, shown);
  std::string original;
  AppendOriginal(&original, text);
  FUZZ_CHECK(fuzz::OnlyCrlfLines(original), shown);
  FUZZ_CHECK(fuzz::LongestLine(original) <= kLineOctetsMax, shown);
  FUZZ_CHECK(HeaderSectionOctets(text, octets_max) <= std::min(octets_max, text.size()), shown);
}

}  // namespace
}  // namespace mailrace::engine

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mailrace::engine;  // NOLINT: one function.
  mailrace::fuzz::FuzzInput input(data, size);
  std::string original;
  const DsnRequest request = TakeRequest(&input, &original);
  CheckDsn(request);
  CheckText(original, request.smtputf8, request.bounce_size_limit % 200);
  return 0;
}

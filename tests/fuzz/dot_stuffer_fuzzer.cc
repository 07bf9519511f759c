// What DotStuffer sends, ContentScanner reads back: the same octets, and one end of data.
//
// Input: whether 8-bit octets may pass, the split of the content, the split of the wire;
// then the content.
#include "transport/smtp/dot_stuffer.h"

#include <optional>

#include "base/address.h"
#include "fuzz_input.h"
#include "transport/smtp/server_machine_content.h"

namespace mailrace::transport::smtp {
namespace {

std::optional<std::string> Stuff(std::string_view content, uint8_t seed, bool eight_bit) {
  DotStuffer stuffer(eight_bit);
  Buffer out;
  for (const std::string_view piece : fuzz::Pieces(content, seed)) {
    if (!stuffer.Append(piece, &out)) {
      FUZZ_CHECK(!stuffer.problem().empty(), std::string(content));
      return std::nullopt;
    }
  }
  if (!stuffer.Finish(&out)) return std::nullopt;
  FUZZ_CHECK(stuffer.problem().empty(), std::string(content));
  return std::string(out.view());
}

bool MayBeSent(std::string_view content, bool eight_bit) {
  return fuzz::OnlyCrlfLines(content) && content.find('\0') == std::string_view::npos &&
         fuzz::LongestLine(content) <= DotStuffer::kLineOctetsMax &&
         (eight_bit || IsAscii(content));
}

void Run(const uint8_t* data, size_t size) {
  fuzz::FuzzInput input(data, size);
  const bool eight_bit = input.Flag();
  const uint8_t seed = input.Octet();
  const uint8_t wire_seed = input.Octet();
  std::string content(input.Rest());
  const std::optional<std::string> stuffed = Stuff(content, seed, eight_bit);
  FUZZ_CHECK(stuffed.has_value() == MayBeSent(content, eight_bit), content);
  FUZZ_CHECK(stuffed == Stuff(content, 0, eight_bit), content);
  FUZZ_CHECK(stuffed == Stuff(content, 1, eight_bit), content);
  if (!stuffed) return;
  FUZZ_CHECK(stuffed->size() <= content.size() * 2 + 5, content);
  FUZZ_CHECK(("\r\n" + *stuffed).find("\r\n.\r\n") == stuffed->size() - 3, content);

  ContentScanner scanner;
  std::string read;
  bool ended = false;
  for (std::string_view piece : fuzz::Pieces(*stuffed, wire_seed)) {
    FUZZ_CHECK(!ended, content);
    ended = scanner.FeedData(&piece, &read);
    FUZZ_CHECK(piece.empty(), content);
  }
  FUZZ_CHECK(ended && scanner.problem() == ContentScanner::Problem::kNone, content);
  if (!content.empty() && !content.ends_with("\r\n")) content += "\r\n";
  FUZZ_CHECK(read == content, content);
  FUZZ_CHECK(scanner.octets() == content.size(), content);
}

}  // namespace
}  // namespace mailrace::transport::smtp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mailrace::transport::smtp::Run(data, size);
  return 0;
}

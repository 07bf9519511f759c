// Replies of a hostile server: the same at every split, bounded, and as a plain reading
// of RFC 5321 4.2 has them; then what EHLO makes of them.
//
// Input: one octet that decides the split, then what the server sends.
#include "transport/smtp/reply.h"

#include <optional>

#include "base/address.h"
#include "fuzz_input.h"
#include "transport/smtp/capabilities.h"

namespace mailrace::transport::smtp {
namespace {

using State = ReplyParser::State;

struct Parsed {
  std::vector<Reply> replies;
  bool error = false;
};

Parsed Parse(std::string_view wire, uint8_t seed) {
  Parsed parsed;
  ReplyParser parser;
  for (std::string_view piece : fuzz::Pieces(wire, seed)) {
    while (!piece.empty()) {
      const size_t before = piece.size();
      const State state = parser.Feed(&piece);
      if (state == State::kProtocolError) {
        FUZZ_CHECK(!parser.problem().empty() && !fuzz::HasControls(parser.problem()),
                   parser.problem());
        std::string_view more = "250 ok\r\n";
        FUZZ_CHECK(parser.Feed(&more) == State::kProtocolError, std::string(wire));
        parser.Reset();
        more = "250 ok\r\n";
        FUZZ_CHECK(parser.Feed(&more) == State::kComplete && more.empty(), std::string(wire));
        parsed.error = true;
        return parsed;
      }
      FUZZ_CHECK(piece.size() < before, std::string(wire));
      if (state == State::kComplete) parsed.replies.push_back(parser.TakeReply());
      if (state == State::kNeedsMore) FUZZ_CHECK(piece.empty(), std::string(wire));
    }
  }
  return parsed;
}

// How many whole replies the wire begins with, by its lines alone; less than that only
// where limits are met.
size_t CountReplies(std::string_view wire) {
  size_t replies = 0;
  std::string_view code;
  while (true) {
    const size_t end = wire.find('\n');
    if (end == std::string_view::npos) return replies;
    std::string_view line = wire.substr(0, end);
    wire.remove_prefix(end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.size() < 3 || line[0] < '2' || line[0] > '5') return replies;
    for (const char c : line.substr(1, 2)) {
      if (c < '0' || c > '9') return replies;
    }
    if (line.size() > 3 && line[3] != ' ' && line[3] != '-') return replies;
    if (!code.empty() && line.substr(0, 3) != code) return replies;
    code = line.substr(0, 3);
    if (line.size() > 3 && line[3] == '-') continue;
    ++replies;
    code = {};
  }
}

void CheckReply(const Reply& reply) {
  const std::string text = reply.ToString();
  FUZZ_CHECK(reply.code >= 200 && reply.code <= 599, text);
  FUZZ_CHECK(!reply.lines.empty() && reply.lines.size() <= ReplyParser::kLinesMax, text);
  FUZZ_CHECK(!fuzz::HasControls(text) && IsValidUtf8(text), text);
  FUZZ_CHECK(reply.enhanced().klass == reply.code / 100, text);
  size_t octets = 0;
  for (const std::string& line : reply.lines) octets += line.size();
  FUZZ_CHECK(octets <= ReplyParser::kReplyOctetsMax, text);

  const Capabilities capabilities = Capabilities::Parse(reply);
  FUZZ_CHECK(capabilities.esmtp && capabilities.auth_mechanisms.size() <= 64, text);
  FUZZ_CHECK(capabilities.auth_offered || capabilities.auth_mechanisms.empty(), text);
  for (const std::string& mechanism : capabilities.auth_mechanisms) {
    FUZZ_CHECK(!mechanism.empty() && mechanism.find(' ') == std::string::npos, text);
  }
  FUZZ_CHECK(capabilities.size_offered || capabilities.size_octets_max == 0, text);
}

void Run(const uint8_t* data, size_t size) {
  fuzz::FuzzInput input(data, size);
  const uint8_t seed = input.Octet();
  const std::string_view wire = input.Rest();
  const Parsed whole = Parse(wire, 0);
  const Parsed split = Parse(wire, seed);
  const std::string shown(wire);
  FUZZ_CHECK(whole.error == split.error, shown);
  FUZZ_CHECK(whole.replies.size() == split.replies.size(), shown);
  for (size_t i = 0; i < whole.replies.size(); ++i) {
    FUZZ_CHECK(whole.replies[i].code == split.replies[i].code, shown);
    FUZZ_CHECK(whole.replies[i].lines == split.replies[i].lines, shown);
    CheckReply(whole.replies[i]);
  }
  const size_t expected = CountReplies(wire);
  FUZZ_CHECK(whole.replies.size() <= expected, shown);
  // Below every limit the two readings agree.
  if (wire.size() <= ReplyParser::kLineOctetsMax &&
      std::count(wire.begin(), wire.end(), '\n') < static_cast<int>(ReplyParser::kLinesMax)) {
    FUZZ_CHECK(whole.replies.size() == expected, shown);
  }
}

}  // namespace
}  // namespace mailrace::transport::smtp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mailrace::transport::smtp::Run(data, size);
  return 0;
}

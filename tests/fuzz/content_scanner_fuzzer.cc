// ContentScanner against a model that looks at one octet at a time.
//
// Input: options, the split, whether it is DATA or BDAT; then the content on the wire.
#include "base/address.h"
#include "fuzz_input.h"
#include "transport/smtp/server_machine_content.h"

namespace mailrace::transport::smtp {
namespace {

using Problem = ContentScanner::Problem;

struct Scanned {
  bool ended = false;
  std::string content;
  std::string rest;
  Problem problem = Problem::kNone;
  uint64_t octets = 0;
  bool eight_bit = false;
};

// The rules of server_machine_content.h, as plainly as they can be said: the end is the
// first CRLF "." CRLF, known by its place; everything before it is content.
class Model {
 public:
  explicit Model(const ContentScanner::Options& options) : options_(options) {}

  Scanned Data(std::string_view wire) {
    size_t end = 0;
    while (true) {
      end = wire.find(".\r\n", end);
      if (end == std::string_view::npos) break;
      if (end == 0 || (end >= 2 && wire.substr(end - 2, 2) == "\r\n")) break;
      ++end;
    }
    if (end == std::string_view::npos) return {};
    Content(wire.substr(0, end), true);
    out_.ended = true;
    out_.rest = wire.substr(end + 3);
    return out_;
  }

  Scanned Chunk(std::string_view content) {
    Content(content, false);
    if (line_octets_ > 0 || !line_start_) EndLine();
    out_.ended = true;
    return out_;
  }

 private:
  void Content(std::string_view content, bool dots) {
    for (size_t i = 0; i < content.size(); ++i) {
      const char c = content[i];
      const bool cr_lf = c == '\r' && content.substr(i, 2) == "\r\n";
      if (static_cast<unsigned char>(c) >= 0x80) out_.eight_bit = true;
      if (dots && c == '.' && line_start_) {
        line_start_ = false;
      } else if (cr_lf) {
        EndLine();
        ++i;
      } else if (c == '\n') {
        if (options_.bare_newline == BareNewline::kReject) Found(Problem::kBareNewline);
        EndLine();
      } else {
        if (c == '\r' && options_.bare_newline == BareNewline::kReject) {
          Found(Problem::kBareNewline);
        }
        if (c == '\0') Found(Problem::kNul);
        Text(c == '\r' ? ' ' : c);
      }
    }
  }

  void Text(char c) {
    line_start_ = false;
    if (++line_octets_ > options_.line_octets_max && options_.line_octets_max != 0) {
      Found(Problem::kLongLine);
    }
    Append(std::string_view(&c, 1));
  }
  void EndLine() {
    Append("\r\n");
    line_octets_ = 0;
    line_start_ = true;
  }
  void Append(std::string_view octets) {
    out_.octets += octets.size();
    out_.content += octets;
    if (options_.octets_max != 0 && out_.octets > options_.octets_max) {
      if (out_.problem == Problem::kLongLine) out_.problem = Problem::kNone;
      Found(Problem::kTooLarge);
    }
  }
  void Found(Problem problem) {
    if (out_.problem == Problem::kNone) out_.problem = problem;
  }

  const ContentScanner::Options options_;
  Scanned out_;
  size_t line_octets_ = 0;
  bool line_start_ = true;
};

Scanned Scan(std::string_view wire, uint8_t seed, bool data,
             const ContentScanner::Options& options) {
  ContentScanner scanner(options);
  Scanned out;
  for (std::string_view piece : fuzz::Pieces(wire, seed)) {
    if (!data) {
      scanner.FeedChunk(piece, &out.content);
      continue;
    }
    if (!out.ended) {
      out.ended = scanner.FeedData(&piece, &out.content);
      FUZZ_CHECK(out.ended || piece.empty(), std::string(wire));
    }
    out.rest += piece;
  }
  if (!data) {
    scanner.FinishChunks(&out.content);
    out.ended = true;
  }
  out.problem = scanner.problem();
  out.octets = scanner.octets();
  out.eight_bit = scanner.eight_bit();
  return out;
}

void Compare(const Scanned& is, const Scanned& wanted, const std::string& wire) {
  FUZZ_CHECK(is.ended == wanted.ended, wire);
  if (!is.ended) return;
  FUZZ_CHECK(is.rest == wanted.rest, wire);
  FUZZ_CHECK(is.problem == wanted.problem, wire);
  FUZZ_CHECK(is.octets == wanted.octets, wire);
  FUZZ_CHECK(is.eight_bit == wanted.eight_bit, wire);
  if (is.problem != Problem::kNone) return;
  FUZZ_CHECK(is.content == wanted.content, wire);
  // What is queued is canonical.
  FUZZ_CHECK(fuzz::OnlyCrlfLines(is.content), wire);
  FUZZ_CHECK(is.content.find('\0') == std::string::npos, wire);
  FUZZ_CHECK(is.content.empty() || is.content.ends_with("\r\n"), wire);
  FUZZ_CHECK(is.eight_bit == !IsAscii(is.content), wire);
}

void Run(const uint8_t* data, size_t size) {
  fuzz::FuzzInput input(data, size);
  const uint8_t bits = input.Octet();
  const uint8_t seed = input.Octet();
  ContentScanner::Options options;
  options.bare_newline = (bits & 1) != 0 ? BareNewline::kNormalize : BareNewline::kReject;
  options.octets_max = (bits & 2) != 0 ? 300 : 0;
  options.line_octets_max = (bits & 4) != 0 ? 64 : (bits & 8) != 0 ? 0 : 998;
  const bool is_data = (bits & 16) == 0;
  const std::string wire(input.Rest());
  Model model(options);
  const Scanned wanted = is_data ? model.Data(wire) : model.Chunk(wire);
  Compare(Scan(wire, 0, is_data, options), wanted, wire);
  Compare(Scan(wire, seed, is_data, options), wanted, wire);
  Compare(Scan(wire, 1, is_data, options), wanted, wire);
}

}  // namespace
}  // namespace mailrace::transport::smtp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mailrace::transport::smtp::Run(data, size);
  return 0;
}

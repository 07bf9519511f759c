#include "tools/blast/pattern.h"

#include <iterator>
#include <optional>

#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::blast {

absl::StatusOr<Pattern> Pattern::Parse(std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return absl::InvalidArgumentError(fmt::format("pattern '{}': {}", Printable(text), why));
  };
  if (text.find_first_of(" \r\n<>") != text.npos) {
    return bad("an address in a path has no spaces, line ends or angle brackets");
  }
  Pattern pattern;
  std::string_view rest = text;
  while (!rest.empty()) {
    Piece piece;
    const size_t open = rest.find('{');
    piece.text = rest.substr(0, open);
    rest.remove_prefix(piece.text.size());
    if (!rest.empty()) {
      const size_t close = rest.find('}');
      if (close == rest.npos) return bad("a { without its }");
      const std::string_view inside = rest.substr(1, close - 1);
      rest.remove_prefix(close + 1);
      piece.variable = inside.empty() ? '\0' : inside[0];
      if (piece.variable != 'n' && piece.variable != 'r') return bad("{} holds n or r");
      if (inside.size() > 1) {
        const std::optional<uint64_t> modulus =
            inside[1] == '%' ? ParseUint(inside.substr(2)) : std::nullopt;
        if (modulus.value_or(0) == 0) return bad("{n%M} needs a number above zero");
        piece.modulus = *modulus;
      }
    }
    pattern.pieces_.push_back(std::move(piece));
  }
  return pattern;
}

void Pattern::AppendTo(uint64_t message, uint64_t recipient, std::string* out) const {
  for (const Piece& piece : pieces_) {
    out->append(piece.text);
    if (piece.variable == 0) continue;
    uint64_t value = piece.variable == 'n' ? message : recipient;
    if (piece.modulus > 0) value %= piece.modulus;
    fmt::format_to(std::back_inserter(*out), "{}", value);
  }
}

}  // namespace mailrace::blast

// Text with numbers in it: "user{n%1000}+{r}@d{n%7}.example".
//
//   {n} the message's sequence number, {r} the recipient's index in the message;
//   {n%M} and {r%M} the remainder of the division by M
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace mailrace::blast {

class Pattern {
 public:
  // Errors quote the pattern and say what is wrong with it.
  static absl::StatusOr<Pattern> Parse(std::string_view text);

  void AppendTo(uint64_t message, uint64_t recipient, std::string* out) const;

 private:
  struct Piece {
    std::string text;      // Before the number.
    char variable = 0;     // 'n', 'r', or 0 for no number.
    uint64_t modulus = 0;  // 0: none.
  };
  std::vector<Piece> pieces_;
};

}  // namespace mailrace::blast

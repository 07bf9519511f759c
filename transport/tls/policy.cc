#include "transport/tls/policy.h"

#include <array>
#include <cstdlib>
#include <optional>

#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::transport::tls {
namespace {

struct Protocol {
  std::string_view name;
  int version;
  unsigned bit;  // 0: the library does not have it.
};

constexpr std::array<Protocol, 6> kProtocols{{{"SSLv2", 0x0002, 0},
                                              {"SSLv3", 0x0300, 0},
                                              {"TLSv1", 0x0301, kTls10},
                                              {"TLSv1.1", 0x0302, kTls11},
                                              {"TLSv1.2", 0x0303, kTls12},
                                              {"TLSv1.3", 0x0304, kTls13}}};
constexpr unsigned kAll = kTls10 | kTls11 | kTls12 | kTls13;

const Protocol* Find(std::string_view name) {
  for (const Protocol& protocol : kProtocols) {
    if (EqualsIgnoreCase(protocol.name, name)) return &protocol;
  }
  return nullptr;
}

// A limit is a name or a version number, decimal or hexadecimal.
std::optional<int> ParseLimit(std::string_view text) {
  if (const Protocol* protocol = Find(text)) return protocol->version;
  const std::string copy(text);
  char* end = nullptr;
  const long number = std::strtol(copy.c_str(), &end, 0);
  const bool whole = !copy.empty() && *end == '\0';
  // 0x0300 is SSLv3, 0x03ff leaves room for versions that this library does not know.
  if (!whole || number < 0x0300 || number > 0x03ff) return std::nullopt;
  return static_cast<int>(number);
}

std::vector<std::string_view> Words(std::string_view list) {
  constexpr std::string_view kSeparators = " \t\r\n,:";
  std::vector<std::string_view> words;
  size_t begin = list.find_first_not_of(kSeparators);
  while (begin != std::string_view::npos) {
    size_t end = list.find_first_of(kSeparators, begin);
    if (end == std::string_view::npos) end = list.size();
    words.push_back(list.substr(begin, end - begin));
    begin = list.find_first_not_of(kSeparators, end);
  }
  return words;
}

unsigned Allowed(const ProtocolRange& range) {
  unsigned allowed = kAll & ~range.excluded;
  for (const Protocol& protocol : kProtocols) {
    if (protocol.version < range.lowest) allowed &= ~protocol.bit;
    if (range.highest != 0 && protocol.version > range.highest) allowed &= ~protocol.bit;
  }
  return allowed;
}

}  // namespace

absl::StatusOr<ProtocolRange> ParseProtocols(std::string_view list) {
  ProtocolRange range;
  unsigned included = 0;
  bool any_included = false;
  for (std::string_view word : Words(list)) {
    if (word.starts_with(">=") || word.starts_with("<=")) {
      const std::optional<int> limit = ParseLimit(word.substr(2));
      if (!limit) return absl::InvalidArgumentError(fmt::format("unknown protocol '{}'", word));
      (word[0] == '>' ? range.lowest : range.highest) = *limit;
      continue;
    }
    const bool excluded = word.starts_with('!');
    const Protocol* protocol = Find(excluded ? word.substr(1) : word);
    if (protocol == nullptr) {
      return absl::InvalidArgumentError(fmt::format("unknown protocol '{}'", word));
    }
    (excluded ? range.excluded : included) |= protocol->bit;
    any_included = any_included || !excluded;
  }
  if (any_included) range.excluded |= kAll & ~included;
  if (Allowed(range) == 0) {
    return absl::InvalidArgumentError(fmt::format("'{}' allows no TLS protocol", list));
  }
  return range;
}

absl::StatusOr<std::string> CipherList(std::string_view grade,
                                       const std::vector<std::string>& exclude) {
  std::string list;
  if (EqualsIgnoreCase(grade, "high")) {
    list = "aNULL:-aNULL:HIGH:@STRENGTH";
  } else if (EqualsIgnoreCase(grade, "medium") || EqualsIgnoreCase(grade, "low") ||
             EqualsIgnoreCase(grade, "export")) {
    list = "aNULL:-aNULL:HIGH:MEDIUM:+RC4:@STRENGTH";
  } else if (EqualsIgnoreCase(grade, "null")) {
    list = "eNULL:!aNULL";
  } else {
    return absl::InvalidArgumentError(fmt::format("unknown cipher grade '{}'", grade));
  }
  for (const std::string& element : exclude) {
    for (std::string_view word : Words(element)) {
      if (std::string_view("!+-@").find(word[0]) != std::string_view::npos) {
        return absl::InvalidArgumentError(
            fmt::format("invalid unary '!+-@' in cipher exclusion '{}'", word));
      }
      list += fmt::format(":!{}", word);
    }
  }
  return list;
}

bool ExcludesAnonymous(const std::vector<std::string>& exclude) {
  for (const std::string& element : exclude) {
    for (std::string_view word : Words(element)) {
      if (word == "aNULL") return true;
    }
  }
  return false;
}

}  // namespace mailrace::transport::tls

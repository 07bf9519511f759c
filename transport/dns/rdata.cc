#include "transport/dns/rdata.h"

#include <algorithm>
#include <cstring>

#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::transport::dns {
namespace {

constexpr size_t kLabelOctetsMax = 63;
constexpr size_t kNameOctetsMax = 253;  // As text; 255 on the wire.

bool FitForLabel(char c) {
  const auto octet = static_cast<unsigned char>(c);
  return octet > 0x20 && octet != 0x7f && c != '.' && c != '\\' && c != '/';
}

bool FitForLabel(std::string_view label) {
  return !label.empty() && label.size() <= kLabelOctetsMax &&
         std::all_of(label.begin(), label.end(), [](char c) { return FitForLabel(c); });
}

}  // namespace

std::optional<std::string> ParseName(std::string_view wire) {
  std::string name;
  while (!wire.empty()) {
    const size_t octets = static_cast<unsigned char>(wire[0]);
    wire.remove_prefix(1);
    if (octets == 0) return wire.empty() ? std::optional(std::move(name)) : std::nullopt;
    if (octets > wire.size() || !FitForLabel(wire.substr(0, octets))) return std::nullopt;
    if (!name.empty()) name += '.';
    name += wire.substr(0, octets);
    if (name.size() > kNameOctetsMax) return std::nullopt;
    wire.remove_prefix(octets);
  }
  return std::nullopt;
}

std::optional<MxRecord> ParseMx(std::string_view rdata) {
  if (rdata.size() < 3) return std::nullopt;
  std::optional<std::string> host = ParseName(rdata.substr(2));
  if (!host) return std::nullopt;
  const int preference =
      static_cast<unsigned char>(rdata[0]) << 8 | static_cast<unsigned char>(rdata[1]);
  return MxRecord{preference, std::move(*host)};
}

std::optional<IpAddress> ParseAddress(std::string_view rdata) {
  if (rdata.size() != 4 && rdata.size() != 16) return std::nullopt;
  IpAddress ip;
  ip.v6 = rdata.size() == 16;
  std::memcpy(ip.octets.data(), rdata.data(), rdata.size());
  return ip;
}

absl::StatusOr<std::string> CheckedName(std::string_view name) {
  const auto bad = [&] {
    return absl::InvalidArgumentError(fmt::format("'{}' is not a host name", Printable(name, 260)));
  };
  std::string_view rest = name;
  if (rest.ends_with('.')) rest.remove_suffix(1);
  if (rest.empty() || rest.size() > kNameOctetsMax) return bad();
  std::string checked(rest);
  while (true) {
    const size_t dot = rest.find('.');
    if (!FitForLabel(rest.substr(0, dot))) return bad();
    if (dot == rest.npos) return checked;
    rest.remove_prefix(dot + 1);
  }
}

std::vector<IpAddress> Interleave(const std::vector<IpAddress>& v6,
                                  const std::vector<IpAddress>& v4) {
  std::vector<IpAddress> all;
  for (size_t i = 0; i < std::max(v6.size(), v4.size()); ++i) {
    if (i < v6.size()) all.push_back(v6[i]);
    if (i < v4.size()) all.push_back(v4[i]);
  }
  return all;
}

}  // namespace mailrace::transport::dns

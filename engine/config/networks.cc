#include "engine/config/networks.h"

#include <fmt/format.h>

#include <optional>
#include <string>

#include "base/text.h"
#include "engine/config/values.h"

namespace mailrace::engine::config {
namespace {

absl::Status Bad(std::string message) { return absl::InvalidArgumentError(std::move(message)); }

// The first `bits` bits of `ip`, the others 0.
IpAddress Masked(IpAddress ip, int bits) {
  const int octets = ip.v6 ? 16 : 4;
  for (int i = 0; i < octets; ++i) {
    const int keep = bits - i * 8;
    if (keep >= 8) continue;
    ip.octets[static_cast<size_t>(i)] &= static_cast<uint8_t>(keep <= 0 ? 0 : 0xff << (8 - keep));
  }
  return ip;
}

}  // namespace

absl::StatusOr<NetworkList::Network> NetworkList::ParseOne(std::string_view pattern) {
  const std::string_view whole = pattern;
  Network out;
  while (pattern.starts_with('!')) {
    out.negated = !out.negated;
    pattern.remove_prefix(1);
  }
  if (pattern.starts_with('/') ||
      (pattern.find(':') != std::string_view::npos && !pattern.starts_with('['))) {
    return Bad(fmt::format(
        "\"{}\": files and tables are not supported here; list the networks (IPv6 in brackets)",
        whole));
  }
  std::string_view address = pattern;
  std::string_view bits;
  const size_t close = pattern.starts_with('[') ? pattern.find(']') : 0;
  if (close == std::string_view::npos) return Bad(fmt::format("missing ']' in \"{}\"", whole));
  const size_t slash = pattern.find('/', close);
  if (slash != std::string_view::npos) {
    address = pattern.substr(0, slash);
    bits = pattern.substr(slash + 1);
  }
  if (address.starts_with('[') && address.ends_with(']')) {
    address = address.substr(1, address.size() - 2);
  }
  const absl::StatusOr<IpAddress> ip = IpAddress::Parse(address);
  if (!ip.ok()) return Bad(fmt::format("\"{}\" is not a network such as 192.0.2.0/24", whole));
  const int most = ip->v6 ? 128 : 32;
  out.bits = most;
  if (slash != std::string_view::npos) {
    const std::optional<uint64_t> parsed = ParseUint(bits);
    if (!parsed || *parsed > static_cast<uint64_t>(most)) {
      return Bad(fmt::format("bad net mask \"/{}\" in \"{}\"; at most {}", bits, whole, most));
    }
    out.bits = static_cast<int>(*parsed);
  }
  out.address = Masked(*ip, out.bits);
  if (out.address != *ip) {
    return Bad(fmt::format(
        "non-null host address bits in \"{}\", perhaps you should use \"{}/{}\" instead", whole,
        out.address.ToString(), out.bits));
  }
  return out;
}

absl::StatusOr<NetworkList> NetworkList::Parse(std::string_view list) {
  const absl::StatusOr<std::vector<std::string>> words = SplitList(list);
  if (!words.ok()) return words.status();
  NetworkList out;
  for (const std::string& word : *words) {
    const absl::StatusOr<Network> network = ParseOne(word);
    if (!network.ok()) return network.status();
    out.networks_.push_back(*network);
  }
  return out;
}

bool NetworkList::Contains(const IpAddress& ip) const {
  for (const Network& network : networks_) {
    if (network.address.v6 == ip.v6 && Masked(ip, network.bits) == network.address) {
      return !network.negated;
    }
  }
  return false;
}

}  // namespace mailrace::engine::config

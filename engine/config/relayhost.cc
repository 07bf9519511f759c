#include "engine/config/relayhost.h"

#include <fmt/format.h>

#include <optional>

#include "base/socket_address.h"
#include "base/text.h"
#include "engine/config/values.h"

namespace mailrace::engine::config {
namespace {

absl::Status Bad(std::string message) { return absl::InvalidArgumentError(std::move(message)); }

}  // namespace

absl::Status CheckHostName(std::string_view name) {
  if (name.empty()) return Bad("the host name is empty");
  if (name.size() > 253) return Bad("the host name is longer than 253 octets");
  size_t label = 0;
  for (const char c : name) {
    if (c == '.') {
      if (label == 0) return Bad(fmt::format("empty label in host name \"{}\"", name));
      label = 0;
      continue;
    }
    const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '-' || c == '_' || (c & 0x80) != 0;
    if (!fine) return Bad(fmt::format("bad character '{}' in host name \"{}\"", c, name));
    if (++label > 63) return Bad(fmt::format("label longer than 63 octets in \"{}\"", name));
  }
  if (name.front() == '-') return Bad(fmt::format("host name \"{}\" begins with '-'", name));
  return absl::OkStatus();
}

absl::StatusOr<uint16_t> ParsePort(std::string_view text) {
  const std::string service = AsciiLowered(text);
  if (service == "smtp") return uint16_t{25};
  if (service == "submission") return uint16_t{587};
  if (service == "smtps" || service == "submissions") return uint16_t{465};
  const std::optional<uint64_t> port = ParseUint(text);
  if (!port || *port < 1 || *port > 65535) {
    return Bad(
        fmt::format("bad port \"{}\"; expected 1..65535, smtp, submission or submissions", text));
  }
  return static_cast<uint16_t>(*port);
}

absl::StatusOr<Nexthop> ParseNexthop(std::string_view text, uint16_t default_port) {
  Nexthop out;
  out.text = std::string(text);
  std::string_view host = text;
  std::string_view port;
  bool has_port = false;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return Bad(fmt::format("missing ']' in \"{}\"", text));
    host = text.substr(1, end - 1);
    const std::string_view rest = text.substr(end + 1);
    if (!rest.empty() && rest.front() != ':') {
      return Bad(fmt::format("unexpected \"{}\" after ']' in \"{}\"", rest, text));
    }
    has_port = !rest.empty();
    if (has_port) port = rest.substr(1);
    out.lookup_mx = false;
  } else if (const size_t colon = text.find(':'); colon != std::string_view::npos) {
    if (text.find(':', colon + 1) != std::string_view::npos) {
      return Bad(fmt::format("an IPv6 address stands in brackets: \"[{}]\"", text));
    }
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    has_port = true;
  }
  out.port = default_port;
  if (has_port) {
    const absl::StatusOr<uint16_t> parsed = ParsePort(port);
    if (!parsed.ok()) return parsed.status();
    out.port = *parsed;
  }
  const std::string_view literal = StartsWithIgnoreCase(host, "ipv6:") ? host.substr(5) : host;
  if (const absl::StatusOr<IpAddress> ip = IpAddress::Parse(literal); ip.ok()) {
    out.host = ip->ToString();
    out.address_literal = true;
    out.lookup_mx = false;
    return out;
  }
  if (host.ends_with('.')) host.remove_suffix(1);
  const absl::Status status = CheckHostName(host);
  if (!status.ok()) return status;
  if (host.find_first_not_of("0123456789.") == std::string_view::npos) {
    return Bad(fmt::format(
        "\"{}\" is a number, no host; a port follows a colon, as in relay.example.net:587", host));
  }
  out.host = AsciiLowered(host);
  return out;
}

absl::StatusOr<std::vector<Nexthop>> ParseNexthops(std::string_view list, uint16_t default_port) {
  const absl::StatusOr<std::vector<std::string>> words = SplitList(list);
  if (!words.ok()) return words.status();
  std::vector<Nexthop> out;
  for (const std::string& word : *words) {
    absl::StatusOr<Nexthop> nexthop = ParseNexthop(word, default_port);
    if (!nexthop.ok()) return nexthop.status();
    out.push_back(*std::move(nexthop));
  }
  return out;
}

}  // namespace mailrace::engine::config

// Resource data that a resolver was lied to about.
#include "transport/dns/rdata.h"

#include "fuzz_input.h"

namespace mailrace::transport::dns {
namespace {

// What comes out may be logged and asked for again.
void CheckName(const std::string& name, const std::string& wire) {
  FUZZ_CHECK(name.size() <= 253 && !fuzz::HasControls(name), wire);
  FUZZ_CHECK(name.find(' ') == std::string::npos, wire);
  if (name.empty()) return;
  const absl::StatusOr<std::string> checked = CheckedName(name);
  FUZZ_CHECK(checked.ok() && *checked == name, wire);
  const absl::StatusOr<std::string> rooted = CheckedName(name + ".");
  FUZZ_CHECK(rooted.ok() && *rooted == name, wire);
}

std::string OnTheWire(std::string_view name) {
  std::string wire;
  while (true) {
    const size_t dot = std::min(name.find('.'), name.size());
    wire += static_cast<char>(dot);
    wire += name.substr(0, dot);
    if (dot == name.size()) break;
    name.remove_prefix(dot + 1);
  }
  return wire + '\0';
}

void Run(const std::string& wire) {
  if (const auto name = ParseName(wire)) {
    CheckName(*name, wire);
    FUZZ_CHECK(name->empty() ? wire.size() == 1 : OnTheWire(*name) == wire, wire);
  }
  if (const auto mx = ParseMx(wire)) {
    FUZZ_CHECK(mx->preference >= 0 && mx->preference <= 65535, wire);
    CheckName(mx->host, wire);
  }
  const auto ip = ParseAddress(wire);
  FUZZ_CHECK(ip.has_value() == (wire.size() == 4 || wire.size() == 16), wire);
  if (ip) {
    const auto again = IpAddress::Parse(ip->ToString());
    FUZZ_CHECK(again.ok() && *again == *ip, wire);
  }
  // Text that may be asked for is a name on the wire too.
  if (const auto checked = CheckedName(wire); checked.ok()) {
    FUZZ_CHECK(ParseName(OnTheWire(*checked)) == *checked, wire);
  }
}

}  // namespace
}  // namespace mailrace::transport::dns

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mailrace::transport::dns::Run(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}

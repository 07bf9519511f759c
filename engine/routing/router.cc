#include "engine/routing/router.h"

#include "base/text.h"
#include "engine/routing/routes.h"

namespace mailrace::engine {

std::string NexthopOf(const queue::Envelope& envelope, size_t recipient, const Settings& settings) {
  const std::string& address = envelope.recipients[recipient].address;
  if (settings.routes != nullptr) {
    return settings.routes->Resolve(envelope.reverse_path, address).ToString();
  }
  if (!settings.relayhost.empty()) return settings.relayhost;
  const size_t at = address.rfind('@');
  if (at == std::string::npos) return settings.myhostname;
  return AsciiLowered(std::string_view(address).substr(at + 1));
}

bool RoutesDiffer(const Settings& a, const Settings& b) {
  return a.routes != b.routes || a.relayhost != b.relayhost || a.myhostname != b.myhostname;
}

}  // namespace mailrace::engine

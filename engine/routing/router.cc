#include "engine/routing/router.h"

#include "base/text.h"

namespace mailrace::engine {

std::string NexthopOf(const queue::Recipient& recipient, const Settings& settings) {
  if (!settings.relayhost.empty()) return settings.relayhost;
  const size_t at = recipient.address.rfind('@');
  if (at == std::string::npos) return settings.myhostname;
  return AsciiLowered(std::string_view(recipient.address).substr(at + 1));
}

}  // namespace mailrace::engine

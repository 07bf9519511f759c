// Which mechanism to use: what the server offers, what the options allow, what binds
// best to the TLS connection.
#include <algorithm>
#include <array>
#include <span>

#include "base/text.h"
#include "transport/sasl/client.h"
#include "transport/sasl/oauth_client.h"

namespace mailrace::transport::sasl {
namespace {

// Properties as Cyrus SASL defines them (SASL_SEC_*), which Postfix's words name.
struct Mechanism {
  std::string_view name;
  bool binding;      // Needs channel binding.
  bool plaintext;    // The password itself crosses the wire.
  bool active_safe;  // Withstands an active attacker (SASL_SEC_NOACTIVE).
  bool mutual;       // The server proves that it knows the password too.
};

// In order of preference. Every one of them can be attacked with a dictionary by whoever
// records the exchange or impersonates the server, and none has forward secrecy: those
// two options leave no mechanism at all, as with Cyrus' own password mechanisms.
constexpr std::array<Mechanism, 8> kMechanisms{{
    {"SCRAM-SHA-256-PLUS", true, false, true, true},
    {"SCRAM-SHA-1-PLUS", true, false, true, true},
    {"SCRAM-SHA-256", false, false, true, true},
    {"SCRAM-SHA-1", false, false, true, true},
    {"DIGEST-MD5", false, false, false, true},
    {"CRAM-MD5", false, false, false, false},
    {"PLAIN", false, true, false, false},
    {"LOGIN", false, true, false, false},
}};

// For bearer tokens, which whoever reads them can use: plaintext in every sense.
constexpr std::array<Mechanism, 2> kBearerMechanisms{{
    {kOauthBearer, false, true, false, false},
    {kXoauth2, false, true, false, false},
}};

bool Allowed(const Mechanism& mechanism, const SecurityOptions& options) {
  if (options.noplaintext && mechanism.plaintext) return false;
  if (options.noactive && !mechanism.active_safe) return false;
  if (options.mutual_auth && !mechanism.mutual) return false;
  return !options.nodictionary && !options.forward_secrecy;
}

}  // namespace

namespace {

bool IsOffered(const std::vector<std::string>& offered, std::string_view mechanism) {
  return std::any_of(offered.begin(), offered.end(),
                     [&](const std::string& name) { return EqualsIgnoreCase(name, mechanism); });
}

}  // namespace

bool OffersExternal(const std::vector<std::string>& offered, const SecurityOptions& options) {
  const bool allowed = !options.noactive && !options.mutual_auth && !options.forward_secrecy;
  return allowed && IsOffered(offered, kExternal);
}

std::string ChooseMechanism(const std::vector<std::string>& offered, const SecurityOptions& options,
                            bool channel_binding_available, bool bearer) {
  const std::span<const Mechanism> mechanisms =
      bearer ? std::span<const Mechanism>(kBearerMechanisms) : kMechanisms;
  for (const Mechanism& mechanism : mechanisms) {
    if (mechanism.binding && !channel_binding_available) continue;
    if (!Allowed(mechanism, options)) continue;
    if (IsOffered(offered, mechanism.name)) return std::string(mechanism.name);
  }
  return "";
}

}  // namespace mailrace::transport::sasl

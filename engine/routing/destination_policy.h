// What policy says about one server: TLS level and what must match, trust, credentials.
// An interface, so that a simulation needs no files. Immutable; any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/enhanced_status.h"
#include "base/socket_address.h"
#include "engine/config/tls_options.h"
#include "engine/tokens/token_source.h"
#include "transport/sasl/client.h"
#include "transport/tls/context.h"

namespace mailrace::engine {

using config::TlsLevel;

// "Must match": the certificate has to prove who the server is.
inline bool MustMatch(TlsLevel level) { return level > TlsLevel::kEncrypt; }

struct ServerTls {
  TlsLevel level = TlsLevel::kNone;
  std::vector<std::string> match_names;   // For kVerify and kSecure, already expanded.
  std::optional<IpAddress> match_ip;      // The same for an address literal.
  std::vector<std::string> fingerprints;  // For kFingerprint: certificate or public key, SHA-256.
  std::string server_name;                // SNI; empty: none.
  bool match_subject_cn = false;
  std::shared_ptr<const transport::tls::Context> context;  // Null only for kNone.
  bool wrapper_mode = false;                               // TLS from the first octet.
  std::string rules;  // Canonical text of all of the above, for DestinationKey.
};

// Policy that cannot be applied: mail defers with these words, nothing is sent.
struct PolicyTrouble {
  EnhancedStatus status{4, 7, 5};
  std::string text;
};

struct CredentialQuery {
  std::string_view sender;   // Envelope sender or its entry's key; empty: not by sender.
  std::string_view host;     // The server's name, without brackets and port.
  std::string_view nexthop;  // The next-hop verbatim, with brackets and port.
};

class DestinationPolicy {
 public:
  virtual ~DestinationPolicy() = default;

  struct Tls {
    ServerTls tls;
    std::optional<PolicyTrouble> trouble;
    std::vector<std::string> warnings;  // For the log.
  };
  // `nexthop` as routed, with brackets and port; `host` without.
  virtual Tls TlsFor(std::string_view nexthop, std::string_view host) const = 0;

  struct Sasl {
    std::optional<transport::sasl::Credentials> credentials;
    // The credentials' password is a bearer token from here.
    std::optional<tokens::TokenSpec> token;
    std::optional<PolicyTrouble> trouble;
  };
  // None if smtp_sasl_auth_enable is off or the tables have none.
  virtual Sasl CredentialsFor(const CredentialQuery& query) const = 0;

  // Which mechanisms may be used: without TLS, with TLS, with TLS whose certificate
  // was demanded to match and did.
  enum class Security { kClear, kTls, kVerifiedTls };
  virtual transport::sasl::SecurityOptions SaslOptions(Security security) const = 0;
  // smtp_sasl_mechanism_filter: keeps what it allows, in the server's order.
  virtual std::vector<std::string> FilterMechanisms(
      const std::vector<std::string>& offered) const = 0;
  virtual bool sasl_enabled() const = 0;
};

}  // namespace mailrace::engine

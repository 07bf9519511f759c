// How much TLS a delivery needs and what its certificate must show: a pure function of
// options, tables, next-hop and host (docs/CONFIGURATION.md, "TLS to the relay"). The
// rules are Postfix's, cell by cell.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/enhanced_status.h"
#include "base/socket_address.h"
#include "engine/config/options.h"
#include "engine/tables/lookup_table.h"

namespace mailrace::engine {

using config::TlsLevel;

// What the connection must be. Part of a DestinationKey, hence comparable.
struct TlsPolicy {
  TlsLevel level = TlsLevel::kNone;

  // Levels verify and secure: the certificate must bear one of these names (".example.net"
  // stands for its sub-domains), or the address if the name asked for is one.
  std::vector<std::string> match_names;
  std::optional<IpAddress> match_ip;
  // Level fingerprint: SHA-256 of certificate or public key, upper-case hex with colons.
  std::vector<std::string> fingerprints;

  std::string protocols;     // Postfix syntax; empty at level none.
  std::string cipher_grade;  // "medium" …
  std::vector<std::string> exclude_ciphers;
  std::string server_name;  // SNI; empty: none.
  // If not empty, these files alone are trusted, instead of CAfile and CApath.
  std::vector<std::string> trust_anchor_files;

  bool encrypted() const { return level >= TlsLevel::kEncrypt; }         // No TLS, no mail.
  bool must_match() const { return level > TlsLevel::kEncrypt; }         // Postfix: TLS_MUST_MATCH
  bool must_verify_chain() const { return level >= TlsLevel::kVerify; }  // TLS_MUST_PKIX
  friend bool operator==(const TlsPolicy&, const TlsPolicy&) = default;
};

struct TlsPolicyResult {
  // Without a policy the delivery is deferred with `status` and `reason`.
  std::optional<TlsPolicy> policy;
  EnhancedStatus status;
  std::string reason;
  std::vector<std::string> warnings;  // To be logged, in Postfix's words.
  // For `explain`: how the level came about, each step with the line that decided it.
  std::vector<std::string> steps;
  // The parameter or "FILE:LINE" that decided the level.
  std::string decided_by;
};

// `nexthop` is the next-hop verbatim, with brackets and port; `host` the server's name,
// without either. Thread-safe.
TlsPolicyResult ResolveTlsPolicy(const config::TlsOptions& options,
                                 const tables::TableList& per_site,
                                 const tables::TableList& policies, std::string_view nexthop,
                                 std::string_view host);

// "encrypted, certificate not checked" …: what a level means, in words for people.
std::string_view DescribeTlsLevel(TlsLevel level);

// --- For the parts of the resolver; tests use them alone. ---

// The level of one lookup or of two combined; nothing: not found.
using SiteLevel = std::optional<TlsLevel>;
// MUST, MUST_NOPEERMATCH, MAY, NONE (any case); outer nothing: unknown word.
std::optional<TlsLevel> ParsePerSiteWord(std::string_view word);
// Results for next-hop and host. Symmetric: the stronger, but NONE beats MAY.
SiteLevel CombinePerSite(SiteLevel nexthop, SiteLevel host);
// A per-site MAY yields to a stronger global level; any other result replaces it.
TlsLevel ApplyPerSite(TlsLevel global, SiteLevel site);

}  // namespace mailrace::engine

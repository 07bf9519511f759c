#include "engine/routing/destination_key.h"

#include "absl/hash/hash.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace mailrace::engine {

// Each structure is taken apart with a name for each of its fields: one field more, and the
// compiler asks what becomes of it here (invariant I6).

std::string CanonicalContext(const TlsPolicy& policy) {
  return fmt::format("{}\n{}\n{}\n{}", policy.protocols, policy.cipher_grade,
                     fmt::join(policy.exclude_ciphers, ","),
                     fmt::join(policy.trust_anchor_files, ","));
}

std::string CanonicalRules(const TlsPolicy& policy) {
  const auto& [level, match_names, match_ip, fingerprints, protocols, cipher_grade, exclude_ciphers,
               server_name, trust_anchor_files] = policy;
  return fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}", static_cast<int>(level), protocols,
                     cipher_grade, fmt::join(exclude_ciphers, ","),
                     fmt::join(trust_anchor_files, ","), fmt::join(match_names, ","),
                     match_ip ? match_ip->ToString() : "", fmt::join(fingerprints, ","),
                     server_name);
}

DestinationKey KeyOf(std::string hop, std::string host, SocketAddress address, const ServerTls& tls,
                     const std::optional<transport::sasl::Credentials>& credentials,
                     uint64_t generation) {
  const auto& [level, match_names, match_ip, fingerprints, server_name, match_subject_cn, context,
               wrapper_mode, rules] = tls;
  DestinationKey key;
  key.nexthop = std::move(hop);
  key.host = std::move(host);
  key.address = address;
  key.tls_level = static_cast<int>(level);
  // The context's own: protocols, ciphers and trust anchors are in `rules`, the files' content
  // and the client's certificate in the generation.
  static_cast<void>(context);
  key.tls_rules = fmt::format("{}\n{}\n{}\n{}\n{}\n{}{}", rules, fmt::join(match_names, ","),
                              match_ip ? match_ip->ToString() : "", fmt::join(fingerprints, ","),
                              server_name, match_subject_cn ? "cn" : "", wrapper_mode ? "w" : "");
  if (credentials) {
    // A bearer's password is its token, which changes by itself: not yet filled in.
    const auto& [user, password, bearer] = *credentials;
    key.sasl_user = user;
    key.sasl_secret = absl::HashOf(user, password, bearer);
  }
  key.trust = generation;
  return key;
}

}  // namespace mailrace::engine

// Whom to log in as, and which mechanisms may be used for it. Pure functions; what they
// say for `explain` never contains a secret.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/enhanced_status.h"
#include "engine/config/config.h"
#include "engine/config/diagnostics.h"
#include "engine/config/options.h"
#include "engine/routing/destination_policy.h"
#include "engine/tables/lookup_table.h"
#include "transport/sasl/client.h"

namespace mailrace::engine {

struct CredentialResult {
  // Nothing: go on without a login, unless `failed`.
  std::optional<transport::sasl::Credentials> credentials;
  // The user has an entry in sasl_token_maps: a token is used, and no password.
  std::optional<tokens::TokenSpec> token;
  // The table could not answer: defer with `status` and `reason`.
  bool failed = false;
  EnhancedStatus status;
  std::string reason;
  // The key that was found and where: "smtp.example.net", "/etc/mailrace/saslpw:3".
  std::string key;
  std::string decided_by;
  std::vector<std::string> steps;  // For `explain`: each key that was tried.
  // True if the sender decided: such sessions are not for other senders.
  bool by_sender = false;
};

// Postfix's order: sender (only with smtp_sender_dependent_authentication), then the
// server's host name, then the next-hop. Nothing unless smtp_sasl_auth_enable = yes.
CredentialResult FindCredentials(const config::SaslOptions& options,
                                 const config::GeneralOptions& general,
                                 const tables::TableList& passwords,
                                 const tables::TableList& token_sources,
                                 const CredentialQuery& query);

// A relayhost without an entry is mostly a key that was written in another way: Postfix sends
// without a login and the relay refuses. Warns, with the entry that was probably meant.
void WarnOfMissingLogins(const config::Config& config, config::Diagnostics* diagnostics);

// The state of a connection as far as login cares. `matched` is true only where the
// policy demanded a match (TlsPolicy::must_match) and the certificate did.
enum class ConnectionSecurity { kClear, kTls, kTlsMatched };

struct SecurityOptionsChoice {
  transport::sasl::SecurityOptions options;
  std::string_view parameter;  // Which of the three parameters it was.
};
SecurityOptionsChoice ChooseSecurityOptions(const config::SaslOptions& options,
                                            ConnectionSecurity security);

// The server's list cut down by smtp_sasl_mechanism_filter, in the server's order.
std::vector<std::string> FilterMechanisms(const std::vector<std::string>& offered,
                                          const std::vector<std::string>& filter);

}  // namespace mailrace::engine

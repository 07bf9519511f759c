// TLS on a session that stands: what policy demands, what the server offers, what becomes
// of the difference (postfix-semantics 3.6).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/task.h"
#include "engine/logs/log_lines.h"
#include "engine/outcome.h"
#include "engine/routing/destination_key.h"
#include "engine/routing/destination_policy.h"
#include "engine/shard_context.h"
#include "transport/smtp/client_session.h"

namespace mailrace::engine {

struct StartTlsOutcome {
  enum class State {
    kSecured,        // TLS is up and is what policy demands.
    kRefusedUsable,  // STARTTLS was refused; the session goes on in clear if policy lets it.
    kFailed,         // The session is over.
  };
  State state = State::kFailed;
  bool handshake = false;  // kFailed: by the handshake itself.
  Trouble trouble;         // Unless kSecured.
};

// Says STARTTLS and shakes hands. All pointers are borrowed and outlive the task.
Task<StartTlsOutcome> StartTlsByCommand(ShardContext* context,
                                        std::shared_ptr<const Settings> settings,
                                        transport::smtp::ClientSession* session, ServerTls tls,
                                        DestinationKey key, logs::Peer peer);

// TLS from the first octet. Nothing on success, else why not.
Task<std::optional<std::string>> WrapSessionTls(ShardContext* context,
                                                std::shared_ptr<const Settings> settings,
                                                transport::smtp::ClientSession* session,
                                                ServerTls tls, DestinationKey key, logs::Peer peer);

// Keeps the tickets that came meanwhile for the next session with this key.
void SaveTlsSessions(ShardContext* context, const Settings& settings,
                     transport::smtp::ClientSession* session, const DestinationKey& key);

}  // namespace mailrace::engine

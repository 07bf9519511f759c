// AUTH on a session that stands: what the server offers, what may be used, what becomes
// of a refusal (postfix-semantics 3.8).
#pragma once

#include <memory>
#include <optional>

#include "base/task.h"
#include "engine/logs/log_lines.h"
#include "engine/outcome.h"
#include "engine/routing/destination_policy.h"
#include "engine/shard_context.h"
#include "transport/smtp/client_session.h"

namespace mailrace::engine {

// Why there is no login, and whether the mail fails by it (smtp_sasl_auth_soft_bounce = no).
struct LoginRefusal {
  Trouble trouble;
  bool permanent = false;
};

struct Login {
  std::optional<transport::sasl::Credentials> credentials;
  std::optional<tokens::TokenSpec> token;  // Where their token comes from.
};

// Logs in if there are credentials and the server announces AUTH. Nothing if mail may go
// (also without a login: no AUTH announced is no reason to keep mail back).
Task<std::optional<LoginRefusal>> LogInToServer(ShardContext* context,
                                                std::shared_ptr<const Settings> settings,
                                                transport::smtp::ClientSession* session,
                                                ServerTls tls, Login login, logs::Peer peer);

}  // namespace mailrace::engine

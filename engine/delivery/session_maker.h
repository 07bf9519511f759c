// From a nexthop to a session that may carry its mail: names, addresses, connect, EHLO,
// the TLS policy, AUTH. Every rule of when credentials or mail may leave is here.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "base/task.h"
#include "engine/outcome.h"
#include "engine/routing/destination_key.h"
#include "engine/shard_context.h"
#include "engine/stages.h"
#include "transport/smtp/client_session.h"

namespace mailrace::engine {

struct SessionSetup {
  // Null if none could be had.
  std::unique_ptr<transport::smtp::ClientSession> session;
  DestinationKey key;
  // The server of the session, or the one that was tried last; none before an address
  // was known ("relay=none").
  std::optional<logs::Peer> relay;
  // What became of the TLS policy, as delivery lines say it (logs::TlsFeatureText).
  std::string tls_features;
  Trouble trouble;
  SessionCosts costs;  // Of all tries.
  // The nexthop takes no mail at all (null MX, RFC 7505; no such domain; we are its only
  // exchanger), or refused our login and smtp_sasl_auth_soft_bounce = no: the mail fails.
  // Never so for a configured relayhost that cannot be found, whose errors are ours.
  bool permanent = false;
};

// `hop_name` is the queue's (engine/routing/hop_name.h), for SMTP. smtp_fallback_relay is
// tried after its own hosts. `mail_age` is of the message that wants the session: plain text after
// a failed handshake is for mail that waited (postfix-semantics 3.6). `running` is set to the
// session being set up, so that it can be cancelled. Borrowed; outlive the task.
Task<SessionSetup> MakeSession(ShardContext* context, std::string hop_name, absl::Duration mail_age,
                               transport::smtp::ClientSession** running);

}  // namespace mailrace::engine

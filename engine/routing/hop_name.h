// What the queue calls a nexthop: the name of a line of mail, of its sessions, of its
// limits, and of what operators suspend. Text, because it is shown, stored and typed:
//
//   hop      = nexthops [ " as " key ]        "[relay.example.net]:587"
//            / transport ":" status " " text  "error:5.1.2 no such place"
//   nexthops = as relayhost writes them, several between ", "
//   key      = the sender's entry in smtp_sasl_password_maps that its mail logs in by
//
// Who has an own login has an own line: no session is shared with another sender's.
#pragma once

#include <string>
#include <string_view>

#include "base/enhanced_status.h"
#include "engine/config/transport.h"

namespace mailrace::engine {

struct HopName {
  config::Transport transport = config::Transport::kSmtp;
  std::string nexthops;    // kSmtp only.
  std::string sender_key;  // kSmtp only; mostly empty.
  EnhancedStatus status;   // Of the others.
  std::string text;

  std::string ToString() const;
  // Total: what is not a verdict is for SMTP. A configured nexthop contains no blank but
  // behind a comma, so none is taken for a verdict or a key.
  static HopName Parse(std::string_view name);
  friend bool operator==(const HopName&, const HopName&) = default;
};

}  // namespace mailrace::engine

// What a blast is told to send. Filled by main.cc, constant afterwards.
#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "base/socket_address.h"

namespace mailrace::blast {

struct BlastOptions {
  SocketAddress server;
  std::string server_name;  // As given: for SNI, and what the certificate has to bear.
  std::string helo_name = "localhost";
  uint32_t connections = 10;
  uint64_t messages_per_connection = 0;  // 0: no limit.

  uint64_t messages = 1000;  // 0: until `duration` is over.
  absl::Duration duration = absl::InfiniteDuration();
  double rate = 0;  // Messages a second, whatever the server does; 0: as fast as it takes them.
  bool pipelining = true;
  int attempts = 1;                             // Of a message.
  uint64_t stop_after_errors = 0;               // 0: never.
  absl::Duration patience = absl::Seconds(30);  // Without a session.
  absl::Duration timeout = absl::Minutes(5);    // Of each step of the dialogue.

  uint64_t size_octets = 4096;  // Of a message; the header section is not cut for it.
  uint32_t recipients = 1;
  std::string sender = "sender@example.com";  // Pattern's grammar, and the next too.
  std::string recipient = "recipient{r}@example.net";
  std::string run;  // The first half of each id.

  bool tls = false;  // STARTTLS or nothing.
  bool implicit_tls = false;
  std::string ca_file;  // Empty: whatever certificate.
  std::string user;     // Empty: no AUTH.
  std::string password;
  std::string mechanism;  // Empty: the best that is offered.

  std::string ledger_file;
};

}  // namespace mailrace::blast

// What a sink is told to be. Filled by main.cc, constant afterwards.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/socket_address.h"

namespace mailrace::sink {

struct SinkOptions {
  SocketAddress listen;
  std::string host_name = "localhost";  // In the greeting and the certificate.
  int threads = 1;

  bool tls = false;           // Offer STARTTLS.
  bool implicit_tls = false;  // TLS from the first octet; nothing is offered.
  std::string cert_file;      // Empty: a self-signed certificate in memory.
  std::string key_file;       // Empty: in cert_file.
  std::string write_cert_file;
  bool require_tls = false;

  bool require_auth = false;
  std::string user;  // Empty: AUTH is not offered.
  std::string password;
  std::vector<std::string> mechanisms;  // Empty: all that the library has.

  std::vector<std::string> without;  // EHLO keywords not to offer, upper case.
  uint64_t message_octets_max = 100'000'000;
  uint32_t recipients_max = 1000;
  absl::Duration timeout = absl::Minutes(5);
  absl::Duration reply_delay;  // Before each group of replies: it is slow.
  absl::Duration distance;     // Until replies arrive, while it reads on: it is far away.

  std::vector<std::string> faults;  // FaultPlan's grammar.
  uint64_t seed = 1;

  std::string record_file;
  bool record_sync = false;
  std::string store_directory;
  uint64_t messages_max = 0;  // Stop after so many; 0: never.
};

}  // namespace mailrace::sink

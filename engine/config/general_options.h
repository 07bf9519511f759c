// Who this host is and where its things are. Each member is the parameter of its name;
// meaning, unit, default and range: docs/CONFIGURATION.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "engine/config/relayhost.h"

namespace mailrace::engine::config {

struct GeneralOptions {
  std::string myhostname;
  std::string mydomain;
  std::string myorigin;
  std::string mail_name;
  std::string config_directory;
  std::string queue_directory;
  std::string data_directory;
  std::string compatibility_level;
  std::string recipient_delimiter;
  int64_t engine_shards = 0;  // After loading: at least 1.
  int64_t queue_memory_limit = 0;
  int64_t queue_log_reserve = 0;
  absl::Duration shutdown_grace_time;
};

struct LogOptions {
  std::string syslog_name;
  std::string syslog_facility;
  std::string maillog_file;
  std::string log_format;  // "postfix" or "postfix2.2".
  std::string log_output;  // After loading: "stderr", "file" or "syslog".
};

struct EntropyOptions {
  std::string tls_random_source;
  int64_t tls_random_bytes = 0;
  int64_t tls_daemon_random_bytes = 0;
  absl::Duration tls_random_reseed_period;
  absl::Duration tls_random_prng_update_period;
  std::string tls_random_exchange_name;
};

}  // namespace mailrace::engine::config

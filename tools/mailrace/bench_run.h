// One run of `mailrace bench`: the operator's configuration on a queue of its own, a load source,
// and either a relay of ours or his. Blocks; one thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "tools/mailrace/bench_model.h"

namespace mailrace::tools {

// What relays the mail.
struct BenchTarget {
  // Ours: mailrace-sink, which thinks so long before each group of replies, with TLS and a login
  // where the configuration has them.
  absl::Duration sink_delay;
  bool tls = false;
  bool login = false;
  // His: real mail for this address, by the routes of the configuration. Empty: ours.
  std::string recipient;
  std::string sender;
  uint64_t messages_most = 0;  // So many and no more.
};

struct BenchRunOptions {
  std::string directory;               // Of main.cf.
  std::vector<std::string> overrides;  // name=value, over main.cf.
  std::string work_directory;          // Exists; the queue and the rest of the run go into it.
  std::string programs;                // Where mailrace, mailrace-sink and mailrace-blast are.
  BenchTarget target;
  absl::Duration length = absl::Seconds(10);
  uint64_t size_octets = 4096;
  int connections = 20;
  std::function<bool()> interrupted;  // An operator wants it to end.
};

struct BenchRun {
  BenchFigures figures;
  int shards = 1;         // As started.
  nlohmann::json before;  // The engine's stats at the beginning and the end of what was measured.
  nlohmann::json after;
};

absl::StatusOr<BenchRun> RunBench(const BenchRunOptions& options);

// What happened between two looks at an engine's stats, in `seconds`. What only other looks tell
// (sessions, waiting, parked, the machine, the disk alone) is left at zero.
BenchFigures FiguresBetween(const nlohmann::json& before, const nlohmann::json& after,
                            double seconds);

}  // namespace mailrace::tools

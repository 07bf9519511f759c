// What limits a run, and what a setting would change: the model behind `mailrace bench`
// (docs/PERFORMANCE.md, "The advisor's model"). Pure: figures in, verdict out.
//
// Operational analysis: each message visits stations (a shard's processor, the committer, the
// disk, a session …) and occupies each for its demand. A station that was busy for a share U of
// the time while X messages a second went through it allows X / U of them, whatever else is
// changed. The lowest of these bounds is the limit; a setting gives a station more servers or a
// message less demand, and the prediction is the lowest bound after that.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mailrace::tools {

// What one run showed. Shares are of the run's time; a share of a thread is of one core.
struct BenchFigures {
  double seconds = 0;            // The run.
  double delivered = 0;          // Messages a second, and about as many were accepted.
  double shard_cpu = 0;          // Of the busiest shard.
  double commit_cpu = 0;         // Of the commit thread.
  double reader_cpu = 0;         // Of the thread that reads mail back.
  double disk_busy = 0;          // A group was being written.
  double machine_busy = 0;       // Of all cores: engine, load source and sink together.
  double others_busy = 0;        // Likewise: programs that have nothing to do with the run.
  double sync_seconds = 0;       // Mean of a group.
  double changes_a_sync = 0;     // Mean.
  double changes_a_message = 2;  // Its acceptance and its outcome; large ones have more.
  double fdatasync_seconds = 0;  // Of 4 KiB alone, measured before.
  double sessions = 0;           // Open, on average; not those that are being made.
  double waiting = 0;            // Share of the looks at which mail was ready.
  double parked = 0;             // Share of the looks at which mail was beyond memory.
  double connects = 0;           // Sessions made a second.
  // Means in seconds: of a session that was made, and of a message on it.
  double setup = 0;  // Connect, TLS, login.
  double tls = 0;
  double transfer = 0;  // Envelope, data, end of data.
  double deferred = 0;  // Share of recipients that the relay put off.
};

// The settings that the model knows, as they were in force.
struct BenchKnobs {
  int cores = 1;
  int engine_shards = 1;
  int concurrency_limit = 20;  // 0: none.
  // The one of its two names that counts.
  std::string concurrency_parameter = "default_destination_concurrency_limit";
  int reuse_count_limit = 0;      // smtp_connection_reuse_count_limit; 0: none.
  bool connection_reuse = true;   // smtp_connection_cache_on_demand
  double rate_delay_seconds = 0;  // default_destination_rate_delay
  bool cross_message_pipelining = true;
  uint64_t queue_memory_limit = 512ull << 20;
};

// One thing that a message needs.
struct BenchStation {
  enum class Kind : uint8_t {
    kSessions,
    kShards,
    kCommitThread,
    kDisk,
    kMachine,
    kStoreReader,
    kRateDelay
  };
  Kind kind;
  std::string name;   // For people.
  double used = 0;    // Share of the time.
  double allows = 0;  // Messages a second, as things are; infinite if it was not used.
  // The same if all else allowed more. A disk is synced once for a group, and groups grow.
  double at_most = 0;
};

// A setting, and what the model says of it.
struct BenchProposal {
  std::string parameter;
  std::string from;
  std::string to;
  double predicted = 0;  // Messages a second.
  // The station whose bound that is, if another one's than what the setting widens: two stations
  // that are both nearly full wait for each other now and then, so this is what can be had at best.
  // Empty: none.
  std::string next_limit;
  // A message needs less then; else there is more of what it needs, and others may miss it.
  bool saves = false;
  std::string why;
};

struct BenchVerdict {
  // Most used first.
  std::vector<BenchStation> stations;
  // The first of them is the limit: it was busy nearly all of the time.
  bool limited = false;
  // What it comes from, in a sentence or two.
  std::string diagnosis;
  // Best first; empty: no setting would gain anything. Each alone, not added up.
  std::vector<BenchProposal> proposals;
};

// From this use on, a station is the limit: queues before it grow without bound at 1.
inline constexpr double kLimitUsed = 0.75;
// What is not worth a change.
inline constexpr double kGainLeast = 1.10;

BenchVerdict Diagnose(const BenchFigures& figures, const BenchKnobs& knobs);

}  // namespace mailrace::tools

// Dials a nexthop as a delivery would and says how far it came, step by step, without
// sending a message: what `mailrace check --live` shows. The rules of what may be said to
// whom are the delivery's own.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/task.h"
#include "engine/config/relayhost.h"
#include "engine/shard_context.h"

namespace mailrace::engine {

enum class ProbeStepKind {
  kDns,
  kConnect,
  kGreeting,
  kEhlo,
  kHelo,  // STARTTLS was not asked for, as only HELO was said.
  kStartTls,
  kChain,
  kName,
  kMechanism,  // AUTH cannot be tried.
  kAuth,
  kMail,
  kRcpt,
  kPolicy,  // Our own configuration forbids to go on.
};
// "DNS", "connect" … as a person reads it.
std::string_view ProbeStepName(ProbeStepKind kind);

struct ProbeStep {
  enum class Result { kGood, kSkipped, kBad };
  ProbeStepKind kind = ProbeStepKind::kDns;
  Result result = Result::kGood;
  std::string text;  // Printable, without a secret.
};

// One address of the nexthop.
struct ProbedServer {
  std::string host;
  std::vector<ProbeStep> steps;  // Up to the first that is bad.
  bool good() const { return steps.empty() || steps.back().result != ProbeStep::Result::kBad; }
};

struct ProbeOptions {
  config::Nexthop nexthop;
  std::string sender_key;  // As in HopName.
  std::string reverse_path;
  std::vector<std::string> recipients;  // None: the dialogue ends behind AUTH.
  size_t addresses_max = 4;             // Of one nexthop.
};

// All servers of the nexthop, or one without a host and with the failed lookup. `context`
// needs what a session needs, and no queue.
Task<std::vector<ProbedServer>> ProbeNexthop(ShardContext* context,
                                             std::shared_ptr<const Settings> settings,
                                             ProbeOptions options);

}  // namespace mailrace::engine

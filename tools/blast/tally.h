// What became of a run: written by the thread that sends, counters readable by any.
#pragma once

#include <map>
#include <string>

#include "absl/time/time.h"
#include "base/metrics.h"
#include "tools/common/json_object.h"
#include "tools/common/latencies.h"

namespace mailrace::blast {

struct Tally {
  // Any thread may read these.
  Counter begun;                    // Messages taken from the schedule.
  Counter acknowledged;             // Messages with a 250 for every recipient.
  Counter recipients_acknowledged;  // A 250 for the content, after one for the recipient.
  Counter refused;                  // Messages that the server refused, in part or whole.
  Counter failed;                   // Messages whose session broke under them.
  Counter repeated;                 // Attempts after the first.
  Counter errors;                   // Refusals, broken sessions, failed connects.
  Counter sessions;                 // That got as far as MAIL.
  Counter tls_resumed;
  Counter octets;  // Content of acknowledged messages, final dots excluded.

  // Of the sending thread, until it has ended.
  tools::Latencies latency;  // From due, or the writing of MAIL, to the 250.
  std::string tls_protocol;
  std::string tls_cipher;
  std::string mechanism;
  std::map<std::string, uint64_t> problems;  // What errors said, the first kProblemsMax.

  static constexpr size_t kProblemsMax = 20;
  void CountProblem(const std::string& text);

  // Every message that was begun is acknowledged, and there was one.
  bool complete() const { return begun.value() > 0 && acknowledged.value() == begun.value(); }
  tools::JsonObject ToJson(absl::Duration elapsed) const;
  // A few lines for people.
  std::string ToText(absl::Duration elapsed) const;
};

}  // namespace mailrace::blast

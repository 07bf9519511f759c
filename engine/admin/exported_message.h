// The form in which messages leave one queue and enter another: an envelope as JSON beside
// the content as it was stored (RFC 5322, CRLF). Documented for people in docs/QUEUE.md.
// Pure; any thread.
//
//   {"mailrace_export": 1, "queue_id", "arrival": RFC 3339, "sender" ("" for the null one),
//    "recipients": [{"address", "state", "notify": ["never" | "success" | "failure" |
//    "delay"…], "orcpt"}], "size", "message_id", "envelope_id", "ret": "full" | "headers",
//    "smtputf8", "eight_bit", "submitter", "class", "tenant"}
//
// Recipients whose state is not "pending" are for the record; an import leaves them out.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json_fwd.hpp"
#include "queue/store.h"

namespace mailrace::engine {

inline constexpr int kExportVersion = 1;
inline constexpr size_t kImportRecipientsMax = 50'000;

nlohmann::json ExportJson(const queue::RecoveredMessage& message);

// The envelope of what is still owed, without id, octets and chunks: those are the new
// queue's. InvalidArgument names the member that is missing or wrong; NotFound: nothing is
// owed any more.
absl::StatusOr<queue::Envelope> ParseExport(const nlohmann::json& json);

// Looks at content as it comes in pieces: it must be lines that end with CRLF and nothing
// else (no bare CR or LF: SMTP smuggling).
class ContentCheck {
 public:
  // False: refused for good.
  bool Feed(std::string_view piece);
  // After the last piece: there was something, and its last line has its end.
  bool complete() const { return !refused_ && fed_ && last_ == '\n'; }
  bool eight_bit() const { return eight_bit_; }

 private:
  char last_ = '\0';
  bool fed_ = false;
  bool refused_ = false;
  bool eight_bit_ = false;
};

}  // namespace mailrace::engine

// What a sink does wrong, and when: the trouble that a client has to survive, made to
// order.
//
//   fault     = step [ "=" text ] ":" code [ ":" frequency ]
//             / action "@" step [ "=" text ] [ ":" frequency ]
//   step      = "greeting" / "ehlo" / "starttls" / "auth" / "mail" / "rcpt" / "data" /
//               "bdat" / "dot" / "rset" / "quit"
//   code      = 400..599                  ; 421 ends the session
//   action    = "drop"                    ; close without a reply; nothing was done
//             / "lost"                    ; do it, close without a reply
//             / "stall"                   ; never answer again
//             / "garbage"                 ; a line that is no SMTP reply
//   frequency = "0." digits               ; with this probability
//             / "1/" number               ; every number-th time
//                                         ; absent: always
//
// "dot" is the end of a message, by DATA or BDAT LAST; its text is compared with the
// message's X-Mailrace-Id. With "=text" only commands whose argument contains it count:
// "rcpt=bad@:550".
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/random.h"

namespace mailrace::sink {

enum class SinkStep : uint8_t {
  kGreeting,
  kEhlo,
  kStarttls,
  kAuth,
  kMail,
  kRcpt,
  kData,
  kBdat,
  kDot,
  kRset,
  kQuit,
  kNone,  // Where no fault can happen.
};

struct Fault {
  enum class Action : uint8_t { kReply, kDrop, kLost, kStall, kGarbage };
  Action action = Action::kReply;
  int code = 0;  // With kReply.
  SinkStep step = SinkStep::kNone;
  std::string text;  // Empty: any argument.
  double probability = 1;
  uint64_t every = 0;  // 0: by probability.
};

// Thread-safe once made.
class FaultPlan {
 public:
  // Errors quote the specification and say what is wrong with it.
  static absl::StatusOr<std::unique_ptr<FaultPlan>> Parse(const std::vector<std::string>& specs);

  // The first fault that happens now, or null. Valid as long as the plan.
  const Fault* Consult(SinkStep step, std::string_view argument, Random* random) const;

 private:
  struct Entry {
    Fault fault;
    std::atomic<uint64_t> seen{0};  // Across all threads, so that "1/100" is exact.
  };
  static constexpr size_t kSteps = static_cast<size_t>(SinkStep::kNone) + 1;
  std::array<std::vector<std::unique_ptr<Entry>>, kSteps> entries_;
};

}  // namespace mailrace::sink

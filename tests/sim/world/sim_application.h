// An application that submits by SMTP: pipelines what it may, believes only a complete
// reply, and now and then tries to smuggle a second message into its content, which no
// relay may ever see (reliability.md 2.3).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/random.h"
#include "transport/connection.h"
#include "transport/stream.h"

namespace mailrace::sim {

struct Submission {
  std::string tag;
  std::string reverse_path;
  std::vector<std::string> recipients;
  bool never = false;   // NOTIFY=NEVER for all of them.
  std::string content;  // Canonical, not stuffed.
  // Put behind the content, before the real end of data: the beginning of a smuggled
  // message. The submission must be refused then.
  std::string smuggled;
};

class SimApplication {
 public:
  // Told of each message that got its 250.
  using Acknowledged = std::function<void(const std::string& tag)>;

  // Borrowed; outlive the task.
  SimApplication(Loop* loop, transport::Network* network, Random* random)
      : loop_(loop), network_(network), random_(random) {}

  // One connection, its messages one after another. Ends at the first thing that is not
  // as it should be.
  Task<void> Submit(std::vector<Submission> messages, Acknowledged acknowledged);

 private:
  struct Dialogue;
  Task<bool> Transaction(Dialogue* dialogue, Submission message);
  Task<bool> Send(Dialogue* dialogue, std::string octets);
  Task<bool> Expect(Dialogue* dialogue, std::string code);

  Loop* const loop_;
  transport::Network* const network_;
  Random* const random_;
};

}  // namespace mailrace::sim

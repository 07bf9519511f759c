// A program of ours that `mailrace bench` runs beside itself. It ends with its owner, whatever
// becomes of that. One thread.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace mailrace::tools {

class ChildProcess {
 public:
  ChildProcess() = default;
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  // Kills what still runs.
  ~ChildProcess();

  // Again once the one before has ended. `arguments[0]` is the program's path. `environment`:
  // "NAME=value", on top of ours. Its standard output comes to ReadLine(), its errors too.
  absl::Status Start(const std::vector<std::string>& arguments,
                     const std::vector<std::string>& environment);
  // The next line that it prints, without its end. Nothing: it ended, or printed none in time.
  std::optional<std::string> ReadLine(absl::Duration timeout);
  // The first line that begins so. What was printed before it is in the error.
  absl::StatusOr<std::string> AwaitLine(const std::string& beginning, absl::Duration timeout);

  bool running();
  // CPU that all programs started here have used so far.
  absl::Duration cpu();
  // Ended by itself, with status 0.
  bool succeeded() const { return status_ == 0; }
  // SIGTERM, and after `grace` SIGKILL; waits for the end.
  void Stop(absl::Duration grace);

 private:
  void Reap(bool wait);

  pid_t pid_ = -1;
  int output_ = -1;
  int status_ = -1;  // As of waitpid(2); -1: not ended.
  std::string pending_;
  absl::Duration cpu_of_ended_;
};

}  // namespace mailrace::tools

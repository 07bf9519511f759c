// What the main thread of a tool waits for while others work: a signal to stop, word
// from the workers, or its turn to print something.
#pragma once

#include "absl/time/time.h"

namespace mailrace::tools {

class MainWait {
 public:
  // Takes SIGINT and SIGTERM for Wait() in this thread and all threads made later, and
  // ignores SIGPIPE. Make it before any thread.
  MainWait();
  ~MainWait();
  MainWait(const MainWait&) = delete;
  MainWait& operator=(const MainWait&) = delete;

  enum class Reason { kSignal, kNotified, kTimeout };
  Reason Wait(absl::Duration at_most);
  // Any thread. Heard by one Wait(), now or later.
  void Notify();

 private:
  int signals_ = -1;
  int notices_ = -1;
};

// As many connections as the administrator allows: the soft limit of descriptors goes up
// to the hard one.
void RaiseDescriptorLimit();

}  // namespace mailrace::tools

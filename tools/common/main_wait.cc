#include "tools/common/main_wait.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>

namespace mailrace::tools {

MainWait::MainWait() {
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGINT);
  sigaddset(&stop, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &stop, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  signals_ = signalfd(-1, &stop, SFD_CLOEXEC | SFD_NONBLOCK);
  notices_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (signals_ < 0 || notices_ < 0) {
    std::perror("signalfd or eventfd");
    std::abort();
  }
}

MainWait::~MainWait() {
  close(signals_);
  close(notices_);
}

MainWait::Reason MainWait::Wait(absl::Duration at_most) {
  std::array<pollfd, 2> watched{{{signals_, POLLIN, 0}, {notices_, POLLIN, 0}}};
  const absl::Duration longest = absl::Hours(1);
  const int milliseconds = static_cast<int>(absl::ToInt64Milliseconds(std::min(at_most, longest)));
  if (poll(watched.data(), watched.size(), milliseconds) <= 0) return Reason::kTimeout;
  if ((watched[0].revents & POLLIN) != 0) {
    signalfd_siginfo ignored{};
    if (read(signals_, &ignored, sizeof ignored) > 0) return Reason::kSignal;
  }
  eventfd_t count = 0;
  return eventfd_read(notices_, &count) == 0 ? Reason::kNotified : Reason::kTimeout;
}

void MainWait::Notify() { eventfd_write(notices_, 1); }

void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace mailrace::tools

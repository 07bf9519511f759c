#include "engine/entropy/entropy_service.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace mailrace::entropy {

EntropyService::EntropyService(int cancel_fd, const Clock* clock)
    : cancel_fd_(cancel_fd), clock_(clock) {}

absl::StatusOr<std::unique_ptr<EntropyService>> EntropyService::Start(EntropyOptions options,
                                                                      const Clock* clock,
                                                                      Random* random,
                                                                      Logger* logger, Sink sink) {
  const int cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (cancel_fd < 0) return absl::UnavailableError(std::strerror(errno));
  std::unique_ptr<EntropyService> service(new EntropyService(cancel_fd, clock));
  options.cancel_fd = cancel_fd;
  service->core_ =
      std::make_unique<EntropyCore>(std::move(options), clock, random, logger, std::move(sink));
  if (absl::Status started = service->core_->Start(); !started.ok()) return started;
  service->Publish();
  service->thread_ = std::thread(&EntropyService::Run, service.get());
  return service;
}

EntropyService::~EntropyService() {
  if (thread_.joinable()) {
    eventfd_write(cancel_fd_, 1);
    thread_.join();
    core_->Stop();
  }
  close(cancel_fd_);
}

void EntropyService::Run() {
  pthread_setname_np(pthread_self(), "entropy");
  while (true) {
    // Rounded up, so that a wake-up is never a moment early and goes round for nothing.
    const int64_t wait = absl::ToInt64Milliseconds(core_->next_due() - clock_->Mono()) + 1;
    pollfd cancelled{cancel_fd_, POLLIN, 0};
    poll(&cancelled, 1, static_cast<int>(std::clamp<int64_t>(wait, 0, INT32_MAX)));
    if (cancelled.revents != 0) return;
    if (clock_->Mono() < core_->next_due()) continue;
    core_->Tick();
    Publish();
  }
}

void EntropyService::Publish() {
  const std::lock_guard lock(mutex_);
  published_ = core_->stats();
}

EntropyStats EntropyService::stats() const {
  const std::lock_guard lock(mutex_);
  return published_;
}

}  // namespace mailrace::entropy

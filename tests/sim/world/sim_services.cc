#include "tests/sim/world/sim_services.h"

#include <algorithm>
#include <memory>

namespace mailrace::sim {

// An answer on its way. Deletes itself once it was given.
class SimReader::Later final : public Timer {
 public:
  Later(SimReader* reader, std::function<void()> answer)
      : reader_(reader), answer_(std::move(answer)) {
    reader_->waiting_.push_back(this);
  }
  ~Later() override { std::erase(reader_->waiting_, this); }

 private:
  void Fire() override {
    const std::unique_ptr<Later> self(this);
    answer_();
  }
  SimReader* const reader_;
  const std::function<void()> answer_;
};

SimReader::SimReader(Loop* loop, Random* random, queue::Store* store)
    : loop_(loop), random_(random), store_(store) {}

SimReader::~SimReader() {
  const std::vector<Later*> waiting = waiting_;
  for (Later* later : waiting) delete later;
}

void SimReader::Answer(std::function<void()> answer) {
  absl::Duration delay;
  if (!dead_ && delay_max_ > absl::ZeroDuration()) {
    delay = absl::Microseconds(static_cast<int64_t>(
        random_->Below(static_cast<uint64_t>(absl::ToInt64Microseconds(delay_max_)) + 1)));
  }
  loop_->timers().Arm(new Later(this, std::move(answer)), loop_->now() + delay);
}

void SimReader::ReadMessage(QueueId id,
                            std::function<void(absl::StatusOr<queue::RecoveredMessage>)> answer) {
  ++messages_read_;
  if (forgets_one_in_ > 0 && random_->Below(static_cast<uint64_t>(forgets_one_in_)) == 0) return;
  absl::StatusOr<queue::RecoveredMessage> found = store_->ReadMessage(id);
  if (dead_ || Fails()) found = absl::UnavailableError("I/O error");
  Answer([found = std::move(found), answer = std::move(answer)] { answer(found); });
}

void SimReader::ReadChunk(QueueId id, uint32_t chunk,
                          std::function<void(absl::StatusOr<std::string>)> answer) {
  absl::StatusOr<std::string> found = store_->ReadChunk(id, chunk);
  if (dead_ || Fails()) found = absl::UnavailableError("I/O error");
  Answer([found = std::move(found), answer = std::move(answer)] { answer(found); });
}

void SimReader::Walk(std::function<absl::Status(queue::Store*)> work,
                     std::function<void(absl::Status)> answer) {
  ++walks_;
  const absl::Status status = dead_ || Fails() ? absl::UnavailableError("I/O error") : work(store_);
  Answer([status, answer = std::move(answer)] { answer(status); });
}

void SimReader::Crash() {
  dead_ = true;
  for (Later* later : waiting_) loop_->timers().Arm(later, loop_->now());
}

Task<absl::StatusOr<transport::MxAnswer>> SimResolver::Mx(std::string name, MonoTime deadline) {
  if (!cancelled_) co_await wait_.Wait(std::min(deadline, loop_->now() + delay_));
  if (cancelled_) co_return absl::CancelledError("lookup cancelled");
  if (Fails() || mx_failing_.contains(name)) co_return absl::UnavailableError("SERVFAIL");
  if (const auto it = mx_.find(name); it != mx_.end()) {
    co_return transport::MxAnswer{it->second};
  }
  if (!names_.contains(name)) co_return absl::NotFoundError("NXDOMAIN");
  co_return transport::MxAnswer();
}

Task<absl::StatusOr<transport::AddressAnswer>> SimResolver::Addresses(std::string name, Family,
                                                                      MonoTime deadline) {
  if (!cancelled_) co_await wait_.Wait(std::min(deadline, loop_->now() + delay_));
  if (cancelled_) co_return absl::CancelledError("lookup cancelled");
  if (Fails()) co_return absl::UnavailableError("SERVFAIL");
  const auto it = names_.find(name);
  if (it == names_.end()) co_return absl::NotFoundError("NXDOMAIN");
  co_return transport::AddressAnswer{it->second};
}

}  // namespace mailrace::sim

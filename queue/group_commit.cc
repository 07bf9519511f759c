#include "queue/group_commit.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

namespace mailrace::queue {

GroupCommit::GroupCommit(Store* store, Options options)
    : store_(store), options_(std::move(options)) {
  store_->set_on_durable([this] { HandBack(absl::OkStatus()); });
  thread_ = std::thread([this] { Run(); });
}

GroupCommit::~GroupCommit() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
  store_->set_on_durable(nullptr);
}

void GroupCommit::Submit(CommitRequest* request) {
  bool wake;
  {
    const std::lock_guard lock(mutex_);
    pending_.push_back({request, Now()});
    ++submitted_;
    if (request->urgent) urgent_until_ = submitted_;
    // Nobody sleeps while a group is being written, and a lazy request behind another
    // one changes nothing: most submissions cost no wake-up.
    wake = sleeping_ && (MustCommit() || pending_.size() == 1);
  }
  if (wake) wake_.notify_one();
}

void GroupCommit::Flush() {
  std::unique_lock lock(mutex_);
  const uint64_t until = submitted_;
  urgent_until_ = std::max(urgent_until_, until);
  wake_.notify_one();
  finished_wake_.wait(lock, [&] { return finished_ >= until; });
}

bool GroupCommit::MustCommit() const {
  return stopping_ || taken_ < urgent_until_ || pending_.size() >= options_.group_requests_max;
}

// Waits until something is to be committed and moves it to group_. False: all is done
// and the thread is to end.
bool GroupCommit::TakeGroup(std::unique_lock<std::mutex>* lock) {
  sleeping_ = true;
  while (!MustCommit()) {
    if (pending_.empty()) {
      wake_.wait(*lock);
      continue;
    }
    const TimePoint due =
        pending_.front().submitted + absl::ToChronoNanoseconds(options_.lazy_delay);
    if (Now() >= due) break;
    wake_.wait_until(*lock, due);
  }
  sleeping_ = false;
  LetGather(lock);
  // In the order of submission, lazy ones too: a later request may undo an earlier one.
  group_.clear();
  size_t octets = 0;
  while (!pending_.empty() && group_.size() < options_.group_requests_max) {
    octets += pending_.front().request->writes.octets();
    if (!group_.empty() && octets > options_.group_octets_max) break;
    group_.push_back(pending_.front());
    pending_.pop_front();
  }
  taken_ += group_.size();
  return !group_.empty();
}

// Where all cores are busy, whoever has something to submit is not running: they go first,
// and one sync serves more. Where one is idle this returns at once, so that nobody waits for
// company that may not come.
void GroupCommit::LetGather(std::unique_lock<std::mutex>* lock) {
  if (stopping_) return;
  lock->unlock();
  std::this_thread::yield();
  lock->lock();
}

void GroupCommit::Run() {
  pthread_setname_np(pthread_self(), "commit");
  std::unique_lock lock(mutex_);
  while (TakeGroup(&lock)) {
    lock.unlock();
    CommitGroup();
    lock.lock();
    finished_ += group_.size();
    finished_wake_.notify_all();
  }
}

void GroupCommit::CommitGroup() {
  const TimePoint begin = Now();
  sets_.clear();
  for (const Pending& pending : group_) {
    sets_.push_back(&pending.request->writes);
    pending.request->waited = absl::FromChrono(begin - pending.submitted);
    stats_.wait_time.Record(pending.request->waited);
  }
  handed_back_ = false;
  const absl::Status status = store_->Commit(sets_);
  if (!handed_back_) {
    HandBack(status);
  } else if (!status.ok() && options_.broken != nullptr) {
    options_.broken(status);
  }
  stats_.sync_time.Record(absl::FromChrono(Now() - begin));
  stats_.groups.Add();
  stats_.requests.Add(group_.size());
  stats_.group_requests.RecordValue(static_cast<int64_t>(group_.size()));
}

// One call a sink. A request may be gone as soon as its sink was called, so all are
// sorted out before the first call. There are few sinks: one a shard.
void GroupCommit::HandBack(const absl::Status& status) {
  handed_back_ = true;
  for (const Pending& pending : group_) {
    pending.request->status = status;
    CommitSink* const sink = pending.request->sink;
    auto line = std::find_if(lines_.begin(), lines_.end(),
                             [&](const Line& known) { return known.sink == sink; });
    if (line == lines_.end()) line = lines_.insert(line, Line{sink, {}});
    line->finished.push_back(pending.request);
  }
  for (Line& line : lines_) {
    if (line.finished.empty()) continue;
    line.sink->Committed(line.finished);
    line.finished.clear();
  }
}

}  // namespace mailrace::queue

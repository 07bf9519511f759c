#include "engine/backlog.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace mailrace::engine {

namespace {

const int64_t kIntervalNanos = absl::ToInt64Nanoseconds(Backlog::kInterval);

// The end of the interval that `due` lies in, counted in intervals.
int64_t IntervalOf(MonoTime due) {
  if (due.infinite()) return INT64_MAX;
  return due.nanos / kIntervalNanos + (due.nanos % kIntervalNanos > 0 ? 1 : 0);
}

// absl's containers know its own string_view alone.
absl::string_view Key(std::string_view name) { return {name.data(), name.size()}; }

QueueId After(QueueId id) { return {id.value == UINT64_MAX ? id.value : id.value + 1}; }

// A message has one retry state for all of its jobs: one that was parked before another was
// deferred or held is found as that one's.
void TakeOne(Backlog::Counts* counts, size_t* count) {
  for (size_t* each : {count, &counts->deferred, &counts->ready, &counts->held}) {
    if (*each == 0) continue;
    --*each;
    return;
  }
}

}  // namespace

void IdRange::Include(const IdRange& other) {
  from = std::min(from, other.from);
  to = std::max(to, other.to);
}

BacklogWishes::Line* BacklogWishes::Find(std::string_view nexthop) {
  const auto line = lines.find(Key(nexthop));
  if (line != lines.end()) return &line->second;
  if (!others || unwanted.contains(Key(nexthop))) return nullptr;
  return &*others;
}

size_t& Backlog::CountOf(Counts* counts, ParkedAs as) {
  switch (as) {
    case ParkedAs::kReady:
      return counts->ready;
    case ParkedAs::kDeferred:
      return counts->deferred;
    case ParkedAs::kHeld:
      break;
  }
  return counts->held;
}

const Backlog::Line* Backlog::Find(std::string_view nexthop) const {
  const auto line = lines_.find(Key(nexthop));
  return line == lines_.end() ? nullptr : &line->second;
}

// A name gets a line of its own only while the common one is empty, so that a job is in
// the common line for as long as it was parked there.
Backlog::Line* Backlog::LineOf(std::string_view nexthop) {
  const auto known = lines_.find(Key(nexthop));
  if (known != lines_.end()) return &known->second;
  const bool common = others_.counts.total() > 0 || !others_.wanted.empty();
  if (common || lines_.size() >= kNexthopsMax) return &others_;
  return &lines_[std::string(nexthop)];
}

void Backlog::Want(Line* line, const IdRange& range) {
  if (range.empty()) return;
  line->wanted.Include(range);
  if (scanning_) line->fresh.Include(range);
}

void Backlog::Park(QueueId id, std::string_view nexthop, ParkedAs as, MonoTime due, bool wanted) {
  Line* const line = LineOf(nexthop);
  ++CountOf(&line->counts, as);
  ++CountOf(&total_, as);
  if (!wanted) return;
  if (as == ParkedAs::kHeld) return;
  const bool due_now = as == ParkedAs::kReady || due == MonoTime();
  if (due_now) {
    Want(line, {id, id});
  } else {
    Postpone({id, id}, due);
  }
}

void Backlog::Unpark(std::string_view nexthop, ParkedAs as) {
  const auto known = lines_.find(Key(nexthop));
  Line* const line = known == lines_.end() ? &others_ : &known->second;
  TakeOne(&line->counts, &CountOf(&line->counts, as));
  TakeOne(&total_, &CountOf(&total_, as));
  ForgetIfEmpty(nexthop);
}

void Backlog::ForgetIfEmpty(std::string_view nexthop) {
  const auto known = lines_.find(Key(nexthop));
  if (known == lines_.end() || scanning_) return;
  const Line& line = known->second;
  if (line.counts.total() == 0 && line.wanted.empty()) lines_.erase(known);
}

// Any interval that ends no later than it should will do: the scan that is made then
// postpones what is not due. So a full map takes the nearest earlier one.
void Backlog::Postpone(const IdRange& range, MonoTime due) {
  if (range.empty() || due.infinite()) return;
  const int64_t interval = IntervalOf(due);
  auto at = intervals_.find(interval);
  if (at == intervals_.end() && intervals_.size() >= kIntervalsMax) {
    at = intervals_.upper_bound(interval);
    if (at != intervals_.begin()) --at;
  }
  if (at == intervals_.end()) at = intervals_.emplace(interval, IdRange()).first;
  at->second.Include(range);
}

MonoTime Backlog::NextDue() const {
  if (intervals_.empty()) return MonoTime::Infinite();
  return {intervals_.begin()->first * kIntervalNanos};
}

void Backlog::Advance(MonoTime now) {
  IdRange due;
  while (!intervals_.empty() && NextDue() <= now) {
    due.Include(intervals_.begin()->second);
    intervals_.erase(intervals_.begin());
  }
  if (due.empty()) return;
  for (auto& [name, line] : lines_) {
    if (line.counts.total() > 0) Want(&line, due);
  }
  if (others_.counts.total() > 0) Want(&others_, due);
}

void Backlog::Look(QueueId id, std::string_view nexthop) {
  const auto known = lines_.find(Key(nexthop));
  Line* const line = known == lines_.end() ? &others_ : &known->second;
  if (line->counts.total() > 0) Want(line, {id, id});
}

void Backlog::Flush() {
  const IdRange all{QueueId{0}, QueueId{UINT64_MAX}};
  const auto flush = [&](Line* line) {
    if (line->counts.ready + line->counts.deferred == 0 && line->wanted.empty()) return;
    line->all_due = true;
    Want(line, all);
  };
  for (auto& [name, line] : lines_) flush(&line);
  flush(&others_);
  intervals_.clear();
}

void Backlog::Forget() {
  forgotten_ = counts();
  total_ = Counts();
  lines_.clear();
  others_ = Line();
  intervals_.clear();
  scanning_ = false;
}

void Backlog::Rediscovered(size_t jobs) {
  for (size_t* count : {&forgotten_.ready, &forgotten_.deferred, &forgotten_.held}) {
    const size_t taken = std::min(*count, jobs);
    *count -= taken;
    jobs -= taken;
  }
}

Backlog::Counts Backlog::counts() const {
  return {total_.ready + forgotten_.ready, total_.deferred + forgotten_.deferred,
          total_.held + forgotten_.held};
}

std::optional<BacklogWishes> Backlog::Wishes(const std::function<Room(std::string_view)>& room) {
  BacklogWishes wishes;
  IdRange range;
  bool worth_it = false;
  const auto wish = [&](const Line& line, const Room& has) {
    worth_it = worth_it || has.worth_a_scan;
    range.Include(line.wanted);
    return BacklogWishes::Line{has.jobs, line.wanted.from, line.all_due};
  };
  for (const auto& [name, line] : lines_) {
    if (line.wanted.empty()) continue;
    const Room has = room(name);
    if (has.jobs > 0) wishes.lines.emplace(name, wish(line, has));
  }
  if (!others_.wanted.empty()) {
    const Room has = room({});
    if (has.jobs > 0) {
      wishes.others = wish(others_, has);
      for (const auto& [name, line] : lines_) {
        if (!wishes.lines.contains(name)) wishes.unwanted.emplace(name, true);
      }
    }
  }
  if (!worth_it) return std::nullopt;
  wishes.from = range.from;
  wishes.to = range.to;
  scanning_ = true;
  return wishes;
}

bool Backlog::wants_any() const {
  return !others_.wanted.empty() ||
         std::any_of(lines_.begin(), lines_.end(),
                     [](const auto& entry) { return !entry.second.wanted.empty(); });
}

void Backlog::Refused(std::string_view nexthop, QueueId id) {
  const auto known = lines_.find(Key(nexthop));
  Line* const line = known == lines_.end() ? &others_ : &known->second;
  line->refused_from = std::min(line->refused_from, id);
}

// What was looked at and not refused is wanted no more, unless it became so meanwhile.
bool Backlog::SettleScan(Line* line, const BacklogWishes::Line& wish, std::optional<QueueId> next,
                         QueueId end) {
  const QueueId refused = line->refused_from;
  const bool any_refused = refused.value != UINT64_MAX;
  const bool common = line == &others_;
  QueueId from = next ? std::min(*next, After(end)) : After(end);
  from = std::max(from, wish.from);
  if (any_refused && common) line->left_behind.Include({refused, line->wanted.to});
  if (any_refused && !common) from = std::min(from, refused);
  const IdRange fresh = std::exchange(line->fresh, IdRange());
  bool further = from > wish.from;
  line->wanted.from = from;
  if (line->wanted.empty() || (!next && (common || !any_refused))) {
    line->wanted = std::exchange(line->left_behind, IdRange());
    further = line->wanted.empty();
  }
  line->wanted.Include(fresh);
  if (line->wanted.empty()) line->all_due = false;
  return further;
}

bool Backlog::Scanned(const BacklogWishes& wishes, std::optional<QueueId> next) {
  bool further = false;
  for (const auto& [name, wish] : wishes.lines) {
    const auto line = lines_.find(name);
    if (line != lines_.end() && SettleScan(&line->second, wish, next, wishes.to)) further = true;
  }
  if (wishes.others && SettleScan(&others_, *wishes.others, next, wishes.to)) further = true;
  ScanFailed();
  return further;
}

void Backlog::ScanFailed() {
  scanning_ = false;
  others_.fresh = IdRange();
  others_.refused_from = QueueId{UINT64_MAX};
  absl::erase_if(lines_, [](auto& entry) {
    Line& line = entry.second;
    line.fresh = IdRange();
    line.refused_from = QueueId{UINT64_MAX};
    return line.counts.total() == 0 && line.wanted.empty();
  });
}

bool Backlog::HasReady(std::string_view nexthop) const {
  const Line* const line = Find(nexthop);
  return (line != nullptr ? line->counts.ready : others_.counts.ready) > 0;
}

size_t Backlog::ReadyOf(std::string_view nexthop) const {
  const Line* const line = Find(nexthop);
  return line != nullptr ? line->counts.ready : 0;
}

}  // namespace mailrace::engine

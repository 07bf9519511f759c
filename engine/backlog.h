// What is known of mail that is parked: jobs that wait in the store alone, since memory
// for jobs is bounded (queue_memory_limit) and a backlog is not. Of ten million parked
// messages some kilobytes are known: for each nexthop how many, and in which range of
// queue ids those may be that are wanted next; and for each minute to come in which range
// of ids mail is due then. Parked mail is found again by scanning such ranges in the store.
//
// Ranges may be too wide (a scan is wasted) and never too narrow (mail would be stuck):
// every parked job that is not held lies in its nexthop's range or in an interval's.
// Counts are for people and for the share of arrivals, and nothing is lost by them.
//
// Pure logic, one a shard, not thread-safe: time is an argument. engine/parking.h runs it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/queue_id.h"

namespace mailrace::engine {

// Ids from `from` to `to`, both included; empty if from > to.
struct IdRange {
  QueueId from{UINT64_MAX};
  QueueId to{0};
  bool empty() const { return from > to; }
  void Include(QueueId id) { Include(IdRange{id, id}); }
  void Include(const IdRange& other);
  friend bool operator==(const IdRange&, const IdRange&) = default;
};

// How a parked job is counted; its record in the store says the same.
enum class ParkedAs : uint8_t { kReady, kDeferred, kHeld };

// Which parked jobs a scan is to bring back. A copy for the thread that reads the store.
struct BacklogWishes {
  struct Line {
    size_t room = 0;       // At most so many jobs.
    QueueId from;          // None before it is wanted.
    bool all_due = false;  // Flushed: also what is not yet due.
  };
  QueueId from;  // The scan begins here and
  QueueId to;    // ends behind this.
  // By nexthop. One that is not there is wanted if `others` is, unless it is in `unwanted`.
  absl::flat_hash_map<std::string, Line> lines;
  std::optional<Line> others;
  absl::flat_hash_map<std::string, bool> unwanted;

  // Null: not wanted.
  Line* Find(std::string_view nexthop);
};

class Backlog {
 public:
  // So many nexthops are known by name; parked mail for more of them shares one line.
  static constexpr size_t kNexthopsMax = 1024;
  // Deferred mail that is parked is looked for at most this long after it is due.
  static constexpr absl::Duration kInterval = absl::Minutes(1);
  static constexpr size_t kIntervalsMax = 256;

  struct Counts {
    size_t ready = 0, deferred = 0, held = 0;
    size_t total() const { return ready + deferred + held; }
  };

  // A job is in the store only from now on. `due`: when it is deferred; zero: now. `wanted`: it may
  // be taken back when there is room; otherwise only a flush brings it (defer_transports).
  void Park(QueueId id, std::string_view nexthop, ParkedAs as, MonoTime due, bool wanted = true);
  // A parked job is not parked any more: it was taken into memory, or it is gone.
  void Unpark(std::string_view nexthop, ParkedAs as);
  // The parked job of this message for this nexthop, if there is one, may be due sooner than
  // was said: another job's outcome, or a release, is the message's new retry state.
  void Look(QueueId id, std::string_view nexthop);
  // A scan met deferred jobs in this range that are due no earlier than then.
  void Postpone(const IdRange& range, MonoTime due);

  // Everything that is not held is due now.
  void Flush();
  // Nothing is known any more (routes changed): the counts become one estimate, from which
  // Rediscovered() takes, until Forgotten mail was all found again.
  void Forget();
  void Rediscovered(size_t jobs);
  void RediscoveryEnded() { forgotten_ = Counts(); }

  // Deferred mail whose interval is over is wanted. Call when NextDue() has come.
  void Advance(MonoTime now);
  MonoTime NextDue() const;

  // What to look for now, from the lowest id on; nothing if no line with room for a good
  // share has anything. `room` tells how many more jobs of a nexthop may be in memory, and
  // whether that is enough to begin a scan for; an empty name asks for any nexthop's.
  struct Room {
    size_t jobs = 0;
    bool worth_a_scan = false;
  };
  std::optional<BacklogWishes> Wishes(const std::function<Room(std::string_view)>& room);
  // Something is wanted, whether there is room for it or not.
  bool wants_any() const;
  // The scan for the last Wishes() has come to `next` (the first id that it did not look
  // at; nothing: the end). REQUIRES: one call for each Wishes(), after its finds were
  // taken or Refused(). False: no line came further; another scan would find the same.
  bool Scanned(const BacklogWishes& wishes, std::optional<QueueId> next);
  // The scan failed or was in vain: all of it is still wanted.
  void ScanFailed();
  // A find of this scan, or a wanted job that it left out for want of room: all from it on
  // are wanted still.
  void Refused(std::string_view nexthop, QueueId id);

  // Whether mail for it is parked that was never tried: new arrivals then take a part of
  // the room only.
  bool HasReady(std::string_view nexthop) const;
  // Never tried, of a nexthop that is known by name.
  size_t ReadyOf(std::string_view nexthop) const;
  bool empty() const { return total_.total() + forgotten_.total() == 0; }
  Counts counts() const;
  size_t lines() const { return lines_.size(); }
  size_t intervals() const { return intervals_.size(); }

 private:
  struct Line {
    Counts counts;
    IdRange wanted;
    bool all_due = false;
    IdRange fresh;  // Became wanted while a scan was under way.
    QueueId refused_from{UINT64_MAX};
    // The common line alone, for it has nexthops of which some are full: what a pass over
    // its range left behind is for the next pass.
    IdRange left_behind;
  };
  static size_t& CountOf(Counts* counts, ParkedAs as);
  const Line* Find(std::string_view nexthop) const;
  Line* LineOf(std::string_view nexthop);
  void Want(Line* line, const IdRange& range);
  bool SettleScan(Line* line, const BacklogWishes::Line& wish, std::optional<QueueId> next,
                  QueueId end);
  void ForgetIfEmpty(std::string_view nexthop);

  absl::flat_hash_map<std::string, Line> lines_;
  Line others_;
  std::map<int64_t, IdRange> intervals_;  // By the end, in kInterval since the clock's zero.
  Counts total_;
  Counts forgotten_;
  bool scanning_ = false;
};

}  // namespace mailrace::engine

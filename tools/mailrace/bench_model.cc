#include "tools/mailrace/bench_model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "fmt/format.h"

namespace mailrace::tools {

namespace {

using Kind = BenchStation::Kind;

constexpr double kUnlimited = std::numeric_limits<double>::infinity();
// More sessions than this many times as many are another relay's agreement.
constexpr double kMoreSessionsMost = 10;
// A server that was busy all the time serves a bit less than that: turns, measuring, luck.
constexpr double kFull = 1.0;
constexpr uint64_t kMoreMemory = 4;
// From this share on, others disturb a run.
constexpr double kOthersBusy = 0.2;

BenchStation Station(Kind kind, std::string name, double used, double delivered) {
  const double share = std::clamp(used, 0.0, kFull);
  const double allows = share > 0 ? delivered / share : kUnlimited;
  return {kind, std::move(name), share, allows, allows};
}

// What each change adds to the time of a group, beside the sync that it takes anyway.
double SecondsAChange(const BenchFigures& f) {
  if (f.changes_a_sync <= 0) return 0;
  return std::max(0.0, f.sync_seconds - f.fdatasync_seconds) / f.changes_a_sync;
}

BenchStation Disk(const BenchFigures& f) {
  BenchStation disk = Station(Kind::kDisk, "writing and syncing", f.disk_busy, f.delivered);
  const double each = SecondsAChange(f) * f.changes_a_message;
  disk.at_most = each > 0 ? std::max(disk.allows, 1 / each) : kUnlimited;
  return disk;
}

// Seconds that a session is occupied by one message, its share of making sessions included.
double Occupied(const BenchFigures& f) {
  const double made = f.delivered > 0 ? f.connects / f.delivered : 0;
  return f.transfer + made * f.setup;
}

std::vector<BenchStation> Stations(const BenchFigures& f, const BenchKnobs& knobs) {
  std::vector<BenchStation> stations;
  const double rate = f.delivered;
  if (knobs.concurrency_limit > 0) {
    // Messages overlap on a session, so that their own times may be more than the sessions'; an
    // idle session is open and not busy. The smaller is the better bound.
    const double standing = f.sessions + f.connects * f.setup;  // Or being made.
    const double busy = std::min(standing, rate * Occupied(f));
    stations.push_back(
        Station(Kind::kSessions, "sessions with the relay", busy / knobs.concurrency_limit, rate));
  }
  stations.push_back(Station(Kind::kShards, "CPU of the busiest shard", f.shard_cpu, rate));
  stations.push_back(Station(Kind::kCommitThread, "CPU of the commit thread", f.commit_cpu, rate));
  stations.push_back(Disk(f));
  stations.push_back(Station(Kind::kMachine, "all cores of the machine", f.machine_busy, rate));
  stations.push_back(Station(Kind::kStoreReader, "reading mail back", f.reader_cpu, rate));
  if (knobs.rate_delay_seconds > 0) {
    stations.push_back(
        Station(Kind::kRateDelay, "rate delay", rate * knobs.rate_delay_seconds, rate));
  }
  std::sort(stations.begin(), stations.end(), [](const BenchStation& a, const BenchStation& b) {
    return a.used != b.used ? a.used > b.used : a.kind < b.kind;
  });
  return stations;
}

// The one with the lowest bound beside that of `kind`, or null.
const BenchStation* LowestOther(const std::vector<BenchStation>& stations, Kind kind) {
  const BenchStation* lowest = nullptr;
  for (const BenchStation& station : stations) {
    if (station.kind == kind) continue;
    if (lowest == nullptr || station.at_most < lowest->at_most) lowest = &station;
  }
  return lowest;
}

double OthersAllow(const std::vector<BenchStation>& stations, Kind kind) {
  const BenchStation* lowest = LowestOther(stations, kind);
  return lowest == nullptr ? kUnlimited : lowest->at_most;
}

using Proposals = std::vector<BenchProposal>;

// What a setting is predicted to do that makes `kind` allow `allows`.
BenchProposal Propose(const std::vector<BenchStation>& stations, Kind kind, double allows,
                      std::string parameter, std::string from, std::string to, std::string why) {
  const BenchStation* other = LowestOther(stations, kind);
  const bool other_limits = other != nullptr && other->at_most < allows;
  BenchProposal proposal;
  proposal.parameter = std::move(parameter);
  proposal.from = std::move(from);
  proposal.to = std::move(to);
  proposal.predicted = other_limits ? other->at_most : allows;
  if (other_limits) proposal.next_limit = other->name;
  proposal.why = std::move(why);
  return proposal;
}

void ProposeSessions(const BenchFigures& f, const BenchKnobs& knobs,
                     const std::vector<BenchStation>& stations, Proposals* proposals) {
  const double bound = stations.front().allows;
  const double others = OthersAllow(stations, Kind::kSessions);
  const double factor = std::clamp(others / bound, 1.0, kMoreSessionsMost);
  const int limit = static_cast<int>(std::ceil(knobs.concurrency_limit * factor));
  const auto propose = [&](double allows, std::string parameter, std::string from, std::string to,
                           std::string why) {
    proposals->push_back(Propose(stations, Kind::kSessions, allows, std::move(parameter),
                                 std::move(from), std::move(to), std::move(why)));
  };
  propose(bound * limit / knobs.concurrency_limit, knobs.concurrency_parameter,
          fmt::format("{}", knobs.concurrency_limit), fmt::format("{}", limit),
          fmt::format("a session carries {:.1f} messages/s; more of them carry more, if the relay "
                      "takes them",
                      bound / knobs.concurrency_limit));
  const double occupied = Occupied(f);
  const double with_reuse = f.transfer > 0 ? bound * occupied / f.transfer : bound;
  const std::string why = fmt::format("{:.0f} % of a session's time goes into making it",
                                      occupied > 0 ? (1 - f.transfer / occupied) * 100 : 0);
  const size_t first_that_saves = proposals->size();
  if (!knobs.connection_reuse) {
    propose(with_reuse, "smtp_connection_cache_on_demand", "no", "yes", why);
  } else if (knobs.reuse_count_limit > 0) {
    propose(with_reuse, "smtp_connection_reuse_count_limit",
            fmt::format("{}", knobs.reuse_count_limit), "0", why);
  }
  if (!knobs.cross_message_pipelining) {
    // Envelope and end of data are a round trip each, and then share one.
    const double saved = occupied - f.transfer / 2;
    propose(bound * occupied / saved, "smtp_cross_message_pipelining", "no", "yes",
            "an envelope may travel with the end of the message before it");
  }
  for (size_t i = first_that_saves; i < proposals->size(); ++i) (*proposals)[i].saves = true;
}

void ProposeShards(const BenchKnobs& knobs, const std::vector<BenchStation>& stations,
                   Proposals* proposals) {
  if (knobs.engine_shards >= knobs.cores) return;
  const double each = stations.front().allows / knobs.engine_shards;
  proposals->push_back(Propose(stations, Kind::kShards, each * knobs.cores, "engine_shards",
                               fmt::format("{}", knobs.engine_shards),
                               fmt::format("{}", knobs.cores),
                               fmt::format("a shard carries {:.0f} messages/s, and {} of {} cores "
                                           "have one",
                                           each, knobs.engine_shards, knobs.cores)));
}

// Mail that stays in memory is not read back at all.
BenchProposal MoreMemory(const BenchKnobs& knobs, const std::vector<BenchStation>& stations) {
  return Propose(stations, Kind::kStoreReader, kUnlimited, "queue_memory_limit",
                 fmt::format("{}", knobs.queue_memory_limit),
                 fmt::format("{}", knobs.queue_memory_limit * kMoreMemory),
                 "mail that stays in memory is not read back");
}

// Reading back is a wait for the disk more than work: the reader's time does not show all of it.
bool OutOfMemory(const BenchFigures& f) { return f.parked >= 0.5 && f.waiting >= 0.5; }

Proposals ForTheLimit(const BenchFigures& f, const BenchKnobs& knobs,
                      const std::vector<BenchStation>& stations) {
  Proposals proposals;
  switch (stations.front().kind) {
    case Kind::kSessions:
      ProposeSessions(f, knobs, stations, &proposals);
      break;
    case Kind::kShards:
      ProposeShards(knobs, stations, &proposals);
      break;
    case Kind::kStoreReader:
      proposals.push_back(MoreMemory(knobs, stations));
      break;
    case Kind::kRateDelay:
      proposals.push_back(Propose(stations, Kind::kRateDelay, kUnlimited,
                                  "default_destination_rate_delay",
                                  fmt::format("{}s", knobs.rate_delay_seconds), "0s",
                                  "it is a limit by itself; without it the relay may be offended"));
      break;
    case Kind::kCommitThread:
    case Kind::kDisk:
    case Kind::kMachine:
      break;  // No setting makes a disk or a machine faster.
  }
  return proposals;
}

// Whatever helps nobody is left out, and what helps most comes first.
void KeepWhatGains(const BenchFigures& f, Proposals* proposals) {
  std::erase_if(*proposals, [&](const BenchProposal& proposal) {
    return proposal.predicted < f.delivered * kGainLeast;
  });
  std::sort(proposals->begin(), proposals->end(),
            [](const BenchProposal& a, const BenchProposal& b) {
              if (a.predicted != b.predicted) return a.predicted > b.predicted;
              return a.saves != b.saves ? a.saves : a.parameter < b.parameter;
            });
}

std::string OfSessions(const BenchFigures& f, const BenchKnobs& knobs) {
  const double occupied = Occupied(f);
  const double setup = occupied > 0 ? 1 - f.transfer / occupied : 0;
  std::string text = fmt::format(
      "all {} sessions that {} allows were busy, while mail waited: the limit is the relay's round "
      "trips and thinking ({:.1f} ms a message)",
      knobs.concurrency_limit, knobs.concurrency_parameter, f.transfer * 1000);
  if (setup > 0.25) {
    text += fmt::format(
        ", and {:.0f} % of the sessions' time goes into making them ({:.1f} ms "
        "each, TLS {:.1f} ms)",
        setup * 100, f.setup * 1000, f.tls * 1000);
  }
  return text;
}

// What the disk would allow if groups were as large as one likes: a group takes the sync and
// so much for each change.
std::string OfDisk(const BenchFigures& f) {
  const double each = SecondsAChange(f);
  std::string text = fmt::format(
      "the disk was being written and synced all the time: a sync alone takes {:.2f} ms, a group "
      "of {:.1f} changes {:.2f} ms",
      f.fdatasync_seconds * 1000, f.changes_a_sync, f.sync_seconds * 1000);
  if (each > 0 && each * f.changes_a_sync < f.sync_seconds / 2) {
    text +=
        ". Most of it is the sync itself: more clients at once, or clients that pipeline, make "
        "larger groups; no setting does";
  } else {
    text += ". queue_directory on a faster disk is what helps";
  }
  return text;
}

std::string Explain(const BenchFigures& f, const BenchKnobs& knobs, const BenchStation& most) {
  switch (most.kind) {
    case Kind::kSessions:
      return OfSessions(f, knobs);
    case Kind::kShards:
      return knobs.engine_shards < knobs.cores
                 ? "the busiest shard had no time left"
                 : "the busiest shard had no time left, and every core has a shard";
    case Kind::kCommitThread:
      return "the commit thread had no time left: it is one, and nothing can be set";
    case Kind::kDisk:
      return OfDisk(f);
    case Kind::kMachine:
      return "all cores of the machine were busy, with the load source and the sink that run here "
             "too: no setting makes it faster";
    case Kind::kStoreReader:
      return "mail beyond queue_memory_limit is read back from the store, by one thread, and that "
             "had no time left";
    case Kind::kRateDelay:
      return "default_destination_rate_delay is a pause after each delivery to a destination";
  }
  return {};
}

std::string ExplainNothing(const BenchFigures& f, const BenchStation& most) {
  std::string text =
      fmt::format("nothing was busy all the time ({}: {:.0f} %)", most.name, most.used * 100);
  if (f.waiting >= 0.5 && f.deferred > 0.01) {
    return text + fmt::format(
                      ", and mail waited: the relay put off {:.0f} % of the recipients, "
                      "and each such reply makes the number of sessions smaller",
                      f.deferred * 100);
  }
  if (OutOfMemory(f)) {
    return text + ", but mail was beyond queue_memory_limit and had to be read back";
  }
  if (f.waiting >= 0.5) {
    return text +
           ", and mail waited: the number of sessions was still growing from "
           "initial_destination_concurrency, or the run was too short";
  }
  return text + ": mail was relayed as fast as it came";
}

}  // namespace

BenchVerdict Diagnose(const BenchFigures& figures, const BenchKnobs& knobs) {
  BenchVerdict verdict;
  verdict.stations = Stations(figures, knobs);
  const BenchStation& most = verdict.stations.front();
  if (figures.delivered <= 0) {
    verdict.diagnosis = "nothing was delivered in the time of the run";
    return verdict;
  }
  verdict.limited = most.used >= kLimitUsed;
  if (verdict.limited) {
    verdict.diagnosis = Explain(figures, knobs, most);
    verdict.proposals = ForTheLimit(figures, knobs, verdict.stations);
  } else {
    verdict.diagnosis = ExplainNothing(figures, most);
    if (OutOfMemory(figures)) verdict.proposals = {MoreMemory(knobs, verdict.stations)};
  }
  KeepWhatGains(figures, &verdict.proposals);
  if (figures.others_busy >= kOthersBusy) {
    verdict.diagnosis += fmt::format(
        "; other programs used {:.0f} % of the machine meanwhile, so that the figures are low and "
        "the predictions unsure",
        figures.others_busy * 100);
  }
  return verdict;
}

}  // namespace mailrace::tools

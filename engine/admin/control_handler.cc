#include "engine/admin/control_handler.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/text.h"
#include "engine/admin/control_protocol.h"
#include "engine/admin/histogram_json.h"
#include "engine/admin/import_command.h"
#include "engine/admin/process_usage.h"
#include "engine/config/message_class.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace mailrace::engine {

namespace {

using Json = nlohmann::json;

struct Oldest {
  std::optional<QueueId> id;  // Nothing: the queue is empty.
  absl::Time arrival;
};

Oldest FindOldest(queue::Store* store, QueueId from) {
  Oldest oldest;
  const auto scanned =
      store->Scan(from, 1, [&oldest](QueueId id, absl::StatusOr<queue::RecoveredMessage> found) {
        oldest.id = id;
        if (found.ok()) oldest.arrival = found->envelope.arrival;
      });
  static_cast<void>(scanned.ok());  // A store that cannot be read says so elsewhere.
  return oldest;
}

struct ShardFigures {
  std::vector<std::pair<std::string, uint64_t>> counters;
  std::vector<std::pair<std::string, const Histogram*>> histograms;
  const StageTimes* stages = nullptr;
  queue::Scheduler::Counts counts;
  std::vector<std::pair<std::string, std::string>> suspended;
};

ShardFigures Figures(ShardRuntime* runtime) {
  const ShardStats& s = runtime->shard->stats();
  const IntakeStats& intake = *runtime->intake_stats;
  ShardFigures figures;
  figures.counters = {{"accepted", s.accepted_messages.value()},
                      {"accepted_recipients", s.accepted_recipients.value()},
                      {"accepted_octets", s.accepted_octets.value()},
                      {"intake_refused", s.intake_refused.value()},
                      {"intake_sessions", intake.sessions.value()},
                      {"intake_sessions_open", intake.sessions_open.value()},
                      {"delivered", s.delivered.value()},
                      {"deferred", s.deferred.value()},
                      {"failed", s.failed.value()},
                      {"discarded", s.discarded.value()},
                      {"expired", s.expired.value()},
                      {"uncertain", s.uncertain.value()},
                      {"notices_sent", s.dsn_sent.value()},
                      {"delay_notices_left_out", s.delay_notices_left_out.value()},
                      {"removed", s.removed_messages.value()},
                      {"connects", s.connects.value()},
                      {"connect_failures", s.connect_failures.value()},
                      {"sessions_open", s.sessions_open.value()},
                      {"sessions_reused", s.sessions_reused.value()},
                      {"tls_handshakes", s.tls_handshakes.value()},
                      {"tls_resumed", s.tls_resumed.value()},
                      {"auth_successes", s.auth_successes.value()},
                      {"auth_failures", s.auth_failures.value()},
                      {"memory_octets", s.memory_octets.value()},
                      {"parked_jobs", runtime->shard->parking().counts().total()},
                      {"uncommitted_outcomes", s.uncommitted_outcomes.value()},
                      {"possible_duplicates", runtime->shard->context().flights->recipients()}};
  figures.histograms = {{"commit", &s.commit_time},    {"queue", &s.queue_time},
                        {"connect", &s.connect_time},  {"tls", &s.tls_time},
                        {"auth", &s.auth_time},        {"transaction", &s.transaction_time},
                        {"delivery", &s.delivery_time}};
  figures.stages = &s.stages;
  for (uint8_t priority = 0; priority < queue::kPriorities; ++priority) {
    const ShardStats::Class& its = s.of_class[priority];
    const std::string_view name = config::MessageClassName(priority);
    figures.counters.emplace_back(fmt::format("accepted_{}", name), its.accepted_messages.value());
    figures.counters.emplace_back(fmt::format("delivered_{}", name), its.delivered.value());
    figures.histograms.emplace_back(fmt::format("queue_{}", name), &its.queue_time);
    figures.histograms.emplace_back(fmt::format("delivery_{}", name), &its.delivery_time);
  }
  figures.counts = runtime->shard->counts();
  const MonoTime now = runtime->ring->loop().now();
  runtime->shard->scheduler().ForEachNexthop([&](queue::NexthopQueue& nexthop) {
    if (!nexthop.suspended(now)) return;
    const size_t ready = nexthop.ready() + runtime->shard->parking().parked_ready(nexthop.name());
    figures.counts.ready -= ready;
    figures.counts.deferred += ready;
    if (figures.suspended.size() < 100) {
      figures.suspended.emplace_back(nexthop.name(), nexthop.suspend_reason());
    }
  });
  return figures;
}

Json HistogramJson(const Histogram& histogram) {
  HistogramSum sum;
  sum.Add(histogram);
  return sum.ToJson();
}

// Of all shards: what was measured by name, and where the time of delivered mail went.
void AddTimes(const std::vector<ShardFigures>& all, Json* totals) {
  std::map<std::string, HistogramSum> by_name;
  HistogramSum stages[kStages];
  for (const ShardFigures& figures : all) {
    for (const auto& [name, histogram] : figures.histograms) by_name[name].Add(*histogram);
    for (size_t i = 0; i < kStages; ++i) stages[i].Add(figures.stages->of[i]);
  }
  for (const auto& [name, sum] : by_name) (*totals)["microseconds"][name] = sum.ToJson();
  for (size_t i = 0; i < kStages; ++i) {
    const std::string name(StageName(static_cast<Stage>(i)));
    (*totals)["stages"][name] = stages[i].ToJson();
  }
}

Json UsageJson(const ProcessUsage& usage) {
  return {{"cpu_seconds", absl::ToDoubleSeconds(usage.cpu)},
          {"resident_octets", usage.resident_octets},
          {"resident_octets_max", usage.resident_octets_max},
          {"written_octets", usage.written_octets},
          {"read_octets", usage.read_octets}};
}

Json ThreadsJson(const ProcessUsage& usage) {
  Json threads = Json::object();
  for (const auto& [name, time] : usage.threads) threads[name] = absl::ToDoubleSeconds(time);
  return threads;
}

// What the TLS library was given, from where, and when it is given more. Seconds of what
// has not happened or will not are -1.
Json EntropyJson(const entropy::EntropyService& service, MonoTime now) {
  const entropy::EntropyStats stats = service.stats();
  const auto seconds = [](absl::Duration duration) -> int64_t {
    return duration == absl::InfiniteDuration() ? -1 : absl::ToInt64Seconds(duration);
  };
  return {{"source", stats.source},
          {"source_open", stats.source_open},
          {"octets_from_source", stats.octets_from_source},
          {"reseeds", stats.reseeds},
          {"source_failures", stats.source_failures},
          {"last_reseed_seconds_ago",
           stats.last_reseed.infinite() ? -1 : seconds(now - stats.last_reseed)},
          {"next_reseed_seconds", seconds(stats.next_reseed - now)},
          {"exchange_file", stats.exchange_file},
          {"exchange_file_open", stats.exchange_file_open},
          {"octets_from_exchange_file", stats.octets_from_exchange_file},
          {"exchange_updates", stats.exchange_updates},
          {"exchange_failures", stats.exchange_failures},
          {"next_exchange_update_seconds", seconds(stats.next_exchange_update - now)},
          {"epoch", service.epoch()},
          {"ready_for_tls", service.ReadyForTls().ok()}};
}

// What the end before this start left in doubt: all of it, the log has only a part.
Json AtStartJson(const PossibleDuplicates& found) {
  Json ids = Json::array();
  for (const PossibleDuplicates::Message& message : found.messages) {
    ids.push_back(message.id.ToString());
  }
  return {{"recipients", found.recipients}, {"exact", found.exact}, {"ids", std::move(ids)}};
}

}  // namespace

EngineControl::EngineControl(ControlParts parts)
    : parts_(std::move(parts)),
      calls_(&parts_.here->ring->loop(), parts_.shards, parts_.store_reader),
      queue_(&calls_, parts_.clock, parts_.queue_directory, parts_.suspensions) {}

Task<void> EngineControl::Handle(std::string request, transport::Stream* stream) {
  Json json = Json::parse(request, nullptr, false);
  if (!json.is_object() || !json.contains("command") || !json["command"].is_string()) {
    Say(stream, {{"error", "the request is not a JSON object with a \"command\""}});
    co_return;
  }
  const auto version = json.find("protocol");
  if (version != json.end() && *version != kControlProtocol) {
    Say(stream, {{"error", fmt::format("this engine speaks version {} of the control protocol, not "
                                       "{}: use the mailrace program that belongs to it, or "
                                       "restart it after an upgrade",
                                       kControlProtocol, Printable(version->dump(), 40))}});
    co_return;
  }
  json.erase("protocol");
  const std::string command = json["command"];
  if (command == "stats") {
    co_await Stats(stream);
    co_return;
  }
  if (command == "import") {
    ImportParts parts;
    parts.loop = calls_.loop();
    parts.acceptor = parts_.here->shard;
    parts.logger = parts_.logger;
    parts.octets_max = parts_.here->shard->context().settings->message_octets_max;
    co_await ImportMessage(parts, std::move(json), stream);
    co_return;
  }
  absl::StatusOr<QueueRequest> asked = ParseQueueRequest(json.dump());
  if (!asked.ok()) {
    Say(stream, {{"error", std::string(asked.status().message())}});
    co_return;
  }
  co_await queue_.Handle(*std::move(asked), stream);
}

Task<void> EngineControl::Stats(transport::Stream* stream) {
  std::function<ShardFigures(ShardRuntime*)> ask = Figures;
  const absl::StatusOr<std::vector<ShardFigures>> answers =
      co_await calls_.AskAll<ShardFigures>(std::move(ask));
  if (!answers.ok()) {
    Say(stream, {{"error", std::string(answers.status().message())}});
    co_return;
  }
  const std::vector<ShardFigures>& all = *answers;
  Json totals = Json::object();
  Json shards = Json::array();
  Json suspended = Json::object();
  queue::Scheduler::Counts counts;
  for (const ShardFigures& figures : all) {
    Json times = Json::object();
    for (const auto& [name, histogram] : figures.histograms) {
      times[name] = HistogramJson(*histogram);
    }
    Json shard = {{"microseconds", std::move(times)}};
    for (const auto& [name, value] : figures.counters) {
      shard[name] = value;
      totals[name] = totals.value(name, uint64_t{0}) + value;
    }
    shards.push_back(std::move(shard));
    counts.ready += figures.counts.ready;
    counts.deferred += figures.counts.deferred;
    counts.held += figures.counts.held;
    counts.in_flight += figures.counts.in_flight;
    for (const auto& [nexthop, reason] : figures.suspended) suspended[nexthop] = reason;
  }
  AddTimes(all, &totals);
  totals["queue"] = {{"ready", counts.ready},
                     {"deferred", counts.deferred},
                     {"held", counts.held},
                     {"in_flight", counts.in_flight},
                     {"total", counts.ready + counts.deferred + counts.held + counts.in_flight}};
  totals["suspended"] = std::move(suspended);
  Json by_operator = Json::array();
  for (const Suspension& each : queue_.suspensions()) {
    by_operator.push_back({{"nexthop", each.nexthop},
                           {"reason", each.reason},
                           {"since", absl::ToUnixSeconds(each.since)}});
  }
  totals["suspended_by_operator"] = std::move(by_operator);
  std::function<Oldest(queue::Store*)> find = [from = oldest_](queue::Store* store) {
    return FindOldest(store, from);
  };
  const absl::StatusOr<Oldest> oldest = co_await calls_.Read<Oldest>(std::move(find));
  if (oldest.ok() && oldest->id) {
    oldest_ = *oldest->id;
    totals["queue"]["oldest_arrival_time"] = absl::ToUnixSeconds(oldest->arrival);
  }
  std::function<ProcessUsage(queue::Store*)> look = [](queue::Store*) { return LookAtProcess(); };
  const absl::StatusOr<ProcessUsage> usage = co_await calls_.Read<ProcessUsage>(std::move(look));
  if (usage.ok()) {
    totals["process"] = UsageJson(*usage);
    totals["cpu_seconds"] = ThreadsJson(*usage);
  }
  const MonoTime now = parts_.clock->Mono();
  totals["possible_duplicates_at_start"] = AtStartJson(*parts_.possible_duplicates);
  totals["uptime_seconds"] = absl::ToInt64Seconds(now - parts_.started);
  const queue::CommitStats& commits = parts_.committer->stats();
  totals["commits"] = {{"groups", commits.groups.value()},
                       {"requests", commits.requests.value()},
                       {"group_requests", HistogramJson(commits.group_requests)},
                       {"sync_microseconds", HistogramJson(commits.sync_time)},
                       {"wait_microseconds", HistogramJson(commits.wait_time)}};
  const queue::Store::Stats store = parts_.store->stats();
  totals["store"] = {{"octets_written", store.octets_written}, {"free_octets", store.free_octets}};
  totals["entropy"] = EntropyJson(*parts_.entropy, now);
  if (parts_.log_stats != nullptr) {
    const logs::AsyncLogger::Stats log = parts_.log_stats();
    totals["log"] = {{"dropped", log.dropped}, {"lost", log.lost}, {"waiting", log.waiting}};
  }
  totals["shards"] = std::move(shards);
  Say(stream, totals);
}

}  // namespace mailrace::engine

#include "engine/admin/control_handler.h"

#include <algorithm>
#include <utility>

#include "base/sync.h"
#include "engine/config/message_class.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace mailrace::engine {

namespace {

using Json = nlohmann::json;

constexpr absl::Duration kWriteTimeout = absl::Seconds(10);
// An answer is sent in pieces of about this much.
constexpr size_t kFlushOctets = 64 * 1024;

void Say(transport::Stream* stream, const Json& json) {
  // Octets that are no UTF-8 (addresses of the 8-bit kind) are replaced, not thrown over.
  stream->output().Append(json.dump(-1, ' ', false, Json::error_handler_t::replace));
  stream->output().Append("\n");
}

Json HistogramJson(const Histogram& histogram) {
  // Upper bounds of powers of two; quantiles are bounds, not interpolations.
  const uint64_t count = histogram.count();
  const auto quantile = [&](double q) -> uint64_t {
    const auto wanted = static_cast<uint64_t>(static_cast<double>(count) * q);
    uint64_t seen = 0;
    for (int i = 0; i < Histogram::kBuckets; ++i) {
      seen += histogram.bucket(i);
      if (seen > wanted) return i == 0 ? 0 : (uint64_t{1} << i);
    }
    return 0;
  };
  return {{"count", count},
          {"mean",
           count == 0 ? 0.0 : static_cast<double>(histogram.sum()) / static_cast<double>(count)},
          {"p50", quantile(0.5)},
          {"p99", quantile(0.99)}};
}

// Asks every shard for a T and gives all answers back on the first one.
template <typename T>
Task<std::vector<T>> Gather(const std::vector<std::unique_ptr<ShardThread>>* shards, Loop* loop,
                            std::function<T(ShardRuntime*)> ask) {
  std::vector<T> answers(shards->size());
  size_t missing = shards->size();
  OneShot<bool> all(loop);
  for (size_t i = 0; i < shards->size(); ++i) {
    (*shards)[i]->Post([&answers, &missing, &all, shards, ask, i](ShardRuntime* runtime) {
      auto answer = std::make_shared<T>(ask(runtime));
      (*shards)[0]->Post([&answers, &missing, &all, answer, i](ShardRuntime*) {
        answers[i] = std::move(*answer);
        if (--missing == 0) all.Set(true);
      });
    });
  }
  co_await all;
  co_return answers;
}

struct ShardFigures {
  std::vector<std::pair<std::string, uint64_t>> counters;
  std::vector<std::pair<std::string, const Histogram*>> histograms;
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
                      {"uncommitted_outcomes", s.uncommitted_outcomes.value()},
                      {"possible_duplicates", runtime->shard->context().flights->recipients()}};
  figures.histograms = {{"commit", &s.commit_time},
                        {"queue", &s.queue_time},
                        {"connect", &s.connect_time},
                        {"transaction", &s.transaction_time},
                        {"delivery", &s.delivery_time}};
  for (uint8_t priority = 0; priority < queue::kPriorities; ++priority) {
    const ShardStats::Class& its = s.of_class[priority];
    const std::string_view name = config::MessageClassName(priority);
    figures.counters.emplace_back(fmt::format("accepted_{}", name), its.accepted_messages.value());
    figures.counters.emplace_back(fmt::format("delivered_{}", name), its.delivered.value());
    figures.histograms.emplace_back(fmt::format("queue_{}", name), &its.queue_time);
    figures.histograms.emplace_back(fmt::format("delivery_{}", name), &its.delivery_time);
  }
  figures.counts = runtime->shard->scheduler().counts();
  const MonoTime now = runtime->ring->loop().now();
  runtime->shard->scheduler().ForEachNexthop([&](queue::NexthopQueue& nexthop) {
    if (!nexthop.suspended(now)) return;
    figures.counts.ready -= nexthop.ready();
    figures.counts.deferred += nexthop.ready();
    if (figures.suspended.size() < 100) {
      figures.suspended.emplace_back(nexthop.name(), nexthop.suspend_reason());
    }
  });
  return figures;
}

// What the end before this start left in doubt: all of it, the log has only a part.
Json AtStartJson(const PossibleDuplicates& found) {
  Json ids = Json::array();
  for (const PossibleDuplicates::Message& message : found.messages) {
    ids.push_back(message.id.ToString());
  }
  return {{"recipients", found.recipients}, {"exact", found.exact}, {"ids", std::move(ids)}};
}

struct ListedJob {
  QueueId id;
  std::string nexthop;
  std::string state;
  uint32_t recipients = 0;
  absl::Duration due_in;
  std::string waits_for;
};

ListedJob FactsOf(const queue::Job& job, MonoTime now) {
  ListedJob facts;
  facts.id = job.id;
  facts.nexthop = job.nexthop->name();
  facts.recipients = job.recipients;
  switch (job.state) {
    case queue::Job::State::kDeferred:
      facts.state = "deferred";
      facts.due_in = job.due.infinite() ? absl::InfiniteDuration() : job.due - now;
      break;
    case queue::Job::State::kHeld:
      facts.state = "hold";
      break;
    case queue::Job::State::kReady:
      facts.state = "active";
      if (job.nexthop->suspended(now)) {
        facts.state = "deferred";  // As an operator sees it: it waits for its destination.
        facts.waits_for = job.nexthop->suspend_reason();
        facts.due_in = job.nexthop->suspended_until() - now;
      }
      break;
    case queue::Job::State::kInFlight:
      facts.state = "active";
      facts.waits_for = "in delivery";
      break;
  }
  return facts;
}

Json MessageJson(const ListedJob& facts, const queue::RecoveredMessage& found, absl::Time now) {
  const queue::Envelope& envelope = found.envelope;
  Json json = {
      {"queue_id", facts.id.ToString()},   {"queue_name", facts.state},
      {"nexthop", facts.nexthop},          {"arrival_time", absl::ToUnixSeconds(envelope.arrival)},
      {"message_size", envelope.octets},   {"sender", envelope.reverse_path},
      {"message_id", envelope.message_id}, {"attempts", found.retry.attempts}};
  const std::string reason =
      found.has_retry && facts.waits_for.empty() ? found.retry.last_reason : facts.waits_for;
  Json recipients = Json::array();
  for (uint32_t i = 0; i < envelope.recipients.size(); ++i) {
    if (std::binary_search(found.done_indices.begin(), found.done_indices.end(), i)) continue;
    Json recipient = {{"address", envelope.recipients[i].address}};
    if (!reason.empty()) recipient["delay_reason"] = reason;
    recipients.push_back(std::move(recipient));
  }
  json["recipients"] = std::move(recipients);
  if (facts.due_in > absl::ZeroDuration() && facts.due_in != absl::InfiniteDuration()) {
    json["next_attempt_time"] = absl::ToUnixSeconds(now + facts.due_in);
  }
  return json;
}

}  // namespace

Task<void> EngineControl::Handle(std::string request, transport::Stream* stream) {
  const Json json = Json::parse(request, nullptr, false);
  if (!json.is_object() || !json.contains("command") || !json["command"].is_string()) {
    Say(stream, {{"error", "the request is not a JSON object with a \"command\""}});
    co_return;
  }
  const std::string command = json["command"];
  const std::string id =
      json.contains("id") && json["id"].is_string() ? json["id"].get<std::string>() : "";
  if (command == "stats") {
    co_await Stats(stream);
  } else if (command == "flush") {
    co_await Flush(stream);
  } else if (command == "list") {
    co_await List(id, stream);
  } else if (command == "hold" || command == "release" || command == "remove") {
    co_await Change(command, id, stream);
  } else {
    Say(stream, {{"error", fmt::format("unknown command '{}'", command)}});
  }
}

Task<void> EngineControl::Stats(transport::Stream* stream) {
  Loop* const loop = parts_.loop;
  std::function<ShardFigures(ShardRuntime*)> ask = Figures;
  const std::vector<ShardFigures> all = co_await Gather<ShardFigures>(parts_.shards, loop, ask);
  Json totals = Json::object();
  Json shards = Json::array();
  Json suspended = Json::object();
  queue::Scheduler::Counts counts;
  for (const ShardFigures& figures : all) {
    Json stages = Json::object();
    for (const auto& [name, histogram] : figures.histograms) {
      stages[name] = HistogramJson(*histogram);
    }
    Json shard = {{"microseconds", std::move(stages)}};
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
  totals["queue"] = {{"ready", counts.ready},
                     {"deferred", counts.deferred},
                     {"held", counts.held},
                     {"in_flight", counts.in_flight},
                     {"total", counts.ready + counts.deferred + counts.held + counts.in_flight}};
  totals["suspended"] = std::move(suspended);
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
  const entropy::EntropyStats entropy = parts_.entropy->stats();
  totals["entropy"] = {
      {"source", entropy.source},
      {"source_open", entropy.source_open},
      {"octets_from_source", entropy.octets_from_source},
      {"octets_from_exchange_file", entropy.octets_from_exchange_file},
      {"reseeds", entropy.reseeds},
      {"source_failures", entropy.source_failures},
      {"exchange_updates", entropy.exchange_updates},
      {"exchange_failures", entropy.exchange_failures},
      {"epoch", parts_.entropy->epoch()},
      {"next_reseed_seconds",
       entropy.next_reseed.infinite() ? -1 : absl::ToInt64Seconds(entropy.next_reseed - now)}};
  if (parts_.log_stats != nullptr) {
    const logs::AsyncLogger::Stats log = parts_.log_stats();
    totals["log"] = {{"dropped", log.dropped}, {"lost", log.lost}, {"waiting", log.waiting}};
  }
  totals["shards"] = std::move(shards);
  Say(stream, totals);
}

Task<void> EngineControl::Flush(transport::Stream* stream) {
  Loop* const loop = parts_.loop;
  std::function<size_t(ShardRuntime*)> ask = [](ShardRuntime* runtime) {
    const size_t deferred = runtime->shard->scheduler().counts().deferred;
    runtime->shard->Flush();
    return deferred;
  };
  const std::vector<size_t> flushed = co_await Gather<size_t>(parts_.shards, loop, ask);
  size_t total = 0;
  for (const size_t n : flushed) total += n;
  Say(stream, {{"flushed", total}});
}

Task<void> EngineControl::List(std::string id, transport::Stream* stream) {
  Loop* const loop = parts_.loop;
  const std::optional<QueueId> wanted = QueueId::Parse(id);
  if (!id.empty() && !wanted) {
    Say(stream, {{"error", fmt::format("'{}' is not a queue id", id)}});
    co_return;
  }
  std::function<std::vector<ListedJob>(ShardRuntime*)> ask = [wanted](ShardRuntime* runtime) {
    std::vector<ListedJob> jobs;
    const MonoTime now = runtime->ring->loop().now();
    queue::Scheduler& scheduler = runtime->shard->scheduler();
    if (wanted) {
      scheduler.ForEachOf(*wanted, [&](queue::Job* job) { jobs.push_back(FactsOf(*job, now)); });
    } else {
      scheduler.ForEach([&](const queue::Job& job) { jobs.push_back(FactsOf(job, now)); });
    }
    return jobs;
  };
  std::vector<std::vector<ListedJob>> found =
      co_await Gather<std::vector<ListedJob>>(parts_.shards, loop, ask);
  std::vector<ListedJob> jobs;
  for (std::vector<ListedJob>& some : found) {
    jobs.insert(jobs.end(), std::make_move_iterator(some.begin()),
                std::make_move_iterator(some.end()));
  }
  std::sort(jobs.begin(), jobs.end(),
            [](const ListedJob& a, const ListedJob& b) { return a.id < b.id; });
  ShardStoreReader reader(parts_.store_reader, (*parts_.shards)[0]->post());
  for (const ListedJob& job : jobs) {
    OneShot<absl::StatusOr<queue::RecoveredMessage>> answer(loop);
    reader.ReadMessage(job.id, [&answer](absl::StatusOr<queue::RecoveredMessage> message) {
      answer.Set(std::move(message));
    });
    const absl::StatusOr<queue::RecoveredMessage> message = co_await answer;
    // Gone since: delivered meanwhile.
    if (!message.ok()) continue;
    Say(stream, MessageJson(job, *message, parts_.clock->Wall()));
    if (stream->output().size() < kFlushOctets) continue;
    const absl::Status flushed = co_await stream->Flush(loop->now() + kWriteTimeout);
    if (!flushed.ok()) co_return;
  }
}

Task<void> EngineControl::Change(std::string command, std::string id, transport::Stream* stream) {
  Loop* const loop = parts_.loop;
  const std::optional<QueueId> wanted = QueueId::Parse(id);
  if (!wanted && id != "ALL") {
    Say(stream, {{"error", fmt::format("'{}' is not a queue id, nor ALL", id)}});
    co_return;
  }
  std::function<size_t(ShardRuntime*)> ask = [wanted, command](ShardRuntime* runtime) -> size_t {
    std::vector<QueueId> ids;
    if (wanted) {
      ids.push_back(*wanted);
    } else {
      runtime->shard->scheduler().ForEach([&ids](const queue::Job& job) { ids.push_back(job.id); });
    }
    size_t changed = 0;
    for (const QueueId each : ids) {
      bool done = false;
      if (command == "hold") done = runtime->shard->Hold(each);
      if (command == "release") done = runtime->shard->Unhold(each);
      if (command == "remove") done = runtime->shard->Remove(each);
      if (done) ++changed;
    }
    return changed;
  };
  const std::vector<size_t> changed = co_await Gather<size_t>(parts_.shards, loop, ask);
  size_t total = 0;
  for (const size_t n : changed) total += n;
  Say(stream, {{"changed", total}});
}

}  // namespace mailrace::engine

#include "tools/mailrace/stats_tables.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/stages.h"
#include "fmt/format.h"

namespace mailrace::tools {

namespace {

using Json = nlohmann::json;
using engine::Stage;

// A member of a member, or an empty object: an engine of another version may not have it.
Json At(const Json& json, std::string_view outer, std::string_view inner = {}) {
  const Json found = json.value(std::string(outer), Json::object());
  if (inner.empty()) return found;
  return found.value(std::string(inner), Json::object());
}

std::string Line(std::string_view name, const Json& histogram, double share) {
  constexpr double kMicros = 1000;
  const std::string percent = share < 0 ? "" : fmt::format("{:.1f} %", share * 100);
  return fmt::format("{:<16} {:>12.3f} {:>9} {:>12.3f} {:>12.3f}\n", name,
                     histogram.value("mean", 0.0) / kMicros, percent,
                     static_cast<double>(histogram.value("p50", uint64_t{0})) / kMicros,
                     static_cast<double>(histogram.value("p99", uint64_t{0})) / kMicros);
}

std::string Stages(const Json& stats) {
  const Json delivery = At(stats, "microseconds", "delivery");
  const auto count = delivery.value("count", uint64_t{0});
  if (count == 0) return {};
  std::string text = fmt::format(
      "Where the time of {} deliveries went, milliseconds\n{:<16} {:>12} {:>9} {:>12} "
      "{:>12}\n",
      count, "", "mean", "share", "p50, below", "p99, below");
  double sum = 0;
  for (size_t i = 0; i < static_cast<size_t>(Stage::kRecord); ++i) {
    sum += At(stats, "stages", engine::StageName(static_cast<Stage>(i))).value("mean", 0.0);
  }
  for (size_t i = 0; i < static_cast<size_t>(Stage::kRecord); ++i) {
    const std::string_view name = engine::StageName(static_cast<Stage>(i));
    const Json stage = At(stats, "stages", name);
    text += Line(name, stage, sum > 0 ? stage.value("mean", 0.0) / sum : 0);
  }
  text += fmt::format("{:<16} {:>12.3f}\n", "sum", sum / 1000);
  text += Line("delivery", delivery, -1);
  text += Line("then: record", At(stats, "stages", engine::StageName(Stage::kRecord)), -1);
  return text + "\n";
}

std::string Threads(const Json& stats) {
  std::vector<std::pair<double, std::string>> threads;
  const Json seconds = At(stats, "cpu_seconds");
  for (const auto& [name, value] : seconds.items()) {
    threads.emplace_back(value.get<double>(), name);
  }
  if (threads.empty()) return {};
  std::sort(threads.rbegin(), threads.rend());
  const auto accepted = static_cast<double>(stats.value("accepted", uint64_t{0}));
  const auto row = [accepted](std::string_view name, double cpu) {
    return fmt::format("{:<16} {:>12.3f} {:>12}\n", name, cpu,
                       accepted > 0 ? fmt::format("{:.1f}", cpu / accepted * 1e6) : "");
  };
  std::string text =
      fmt::format("CPU since the start\n{:<16} {:>12} {:>12}\n", "", "seconds", "us/message");
  for (const auto& [cpu, name] : threads) text += row(name, cpu);
  text += row("process", At(stats, "process").value("cpu_seconds", 0.0));
  return text + "\n";
}

std::string Commits(const Json& stats) {
  const Json commits = At(stats, "commits");
  const Json sizes = At(commits, "group_requests");
  if (sizes.value("count", uint64_t{0}) == 0) return {};
  std::string text = fmt::format(
      "Groups written with one sync: {}, of {:.1f} changes on average, p50 below {}, "
      "p99 below {}\n{:<16} {:>12} {:>9} {:>12} {:>12}\n",
      sizes.value("count", uint64_t{0}), sizes.value("mean", 0.0), sizes.value("p50", uint64_t{0}),
      sizes.value("p99", uint64_t{0}), "milliseconds", "mean", "", "p50, below", "p99, below");
  text += Line("write and sync", At(commits, "sync_microseconds"), -1);
  text += Line("wait for a group", At(commits, "wait_microseconds"), -1);
  return text;
}

}  // namespace

std::string StatsTables(const Json& stats) {
  return Stages(stats) + Threads(stats) + Commits(stats);
}

}  // namespace mailrace::tools

#include "tools/mailrace/bench_run.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <string_view>

#include "base/text.h"
#include "engine/admin/control_protocol.h"
#include "fmt/format.h"
#include "tools/mailrace/child_process.h"

namespace mailrace::tools {

namespace {

using Json = nlohmann::json;

constexpr absl::Duration kStartTime = absl::Seconds(60);
constexpr absl::Duration kAskTime = absl::Seconds(30);
constexpr absl::Duration kLookInterval = absl::Milliseconds(100);
constexpr absl::Duration kIdleTime = absl::Seconds(1);
// What the load source and the engine take to get going; connections, windows, caches.
constexpr absl::Duration kWarmUpMost = absl::Seconds(2);
constexpr absl::Duration kStopTime = absl::Seconds(10);
// To an operator's relay: what was sent is not cut off.
constexpr absl::Duration kRelayStopTime = absl::Minutes(2);
constexpr std::string_view kLogin = "bench";
// What the load source hands in at a time: so many seconds' worth, for it is started anew for each.
constexpr double kBatchSeconds = 2;
constexpr uint64_t kBatchLeast = 200;
constexpr uint64_t kBatchMost = 20'000;
constexpr int kSyncs = 50;

// A member of a member, or an empty object.
Json At(const Json& json, std::string_view outer, std::string_view inner = {}) {
  const Json found = json.value(std::string(outer), Json::object());
  return inner.empty() ? found : found.value(std::string(inner), Json::object());
}

double Number(const Json& json, std::string_view name) {
  const auto found = json.find(std::string(name));
  return found != json.end() && found->is_number() ? found->get<double>() : 0;
}

// The mean of what a histogram counted in between.
double Mean(const Json& before, const Json& after) {
  const double count = Number(after, "count") - Number(before, "count");
  return count > 0 ? (Number(after, "sum") - Number(before, "sum")) / count : 0;
}

// The same of microseconds.
double MeanSeconds(const Json& before, const Json& after) { return Mean(before, after) / 1e6; }

absl::StatusOr<Json> Ask(const std::string& queue_directory) {
  Json answer;
  const absl::Status asked = engine::AskEngine(queue_directory, R"({"command":"stats"})", kAskTime,
                                               [&](std::string_view line) {
                                                 answer = Json::parse(line, nullptr, false);
                                                 return true;
                                               });
  if (!asked.ok()) return asked;
  if (!answer.is_object() || answer.contains("error")) {
    return absl::UnavailableError("the engine does not answer");
  }
  return answer;
}

// Ticks of all cores since the machine started: busy, and all.
struct MachineTime {
  double busy = 0;
  double all = 0;
};

MachineTime LookAtMachine() {
  std::ifstream file("/proc/stat");
  std::string word;
  MachineTime time;
  file >> word;  // "cpu": user nice system idle iowait irq softirq steal, …
  for (int field = 0; field < 8; ++field) {
    double ticks = 0;
    file >> ticks;
    time.all += ticks;
    if (field != 3 && field != 4) time.busy += ticks;
  }
  return time;
}

// Mean seconds of fdatasync after 4 KiB were appended; 0: it could not be tried.
double TrySync(const std::string& path) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return 0;
  const std::array<char, 4096> octets{};
  const absl::Time begun = absl::Now();
  int done = 0;
  while (done < kSyncs && write(file, octets.data(), octets.size()) > 0 && fdatasync(file) == 0) {
    ++done;
  }
  const absl::Duration taken = absl::Now() - begun;
  close(file);
  unlink(path.c_str());
  return done == kSyncs ? absl::ToDoubleSeconds(taken) / kSyncs : 0;
}

// The sum of the looks of one run.
struct Looks {
  double count = 0;
  double sessions = 0;
  double waiting = 0;
  double parked = 0;
  void Add(const Json& stats) {
    ++count;
    sessions += Number(stats, "sessions_open");
    if (Number(At(stats, "queue"), "ready") > 0) ++waiting;
    if (Number(stats, "parked_jobs") > 0) ++parked;
  }
};

// Looking costs the same whatever the rate: it is no message's.
void Subtract(const BenchFigures& idle, BenchFigures* figures) {
  const auto less = [](double idle_share, double* share) {
    *share = std::max(0.0, *share - idle_share);
  };
  less(idle.shard_cpu, &figures->shard_cpu);
  less(idle.commit_cpu, &figures->commit_cpu);
  less(idle.reader_cpu, &figures->reader_cpu);
  less(idle.machine_busy, &figures->machine_busy);
}

class Rig {
 public:
  explicit Rig(const BenchRunOptions& options)
      : options_(options), queue_(options.work_directory + "/queue") {}
  ~Rig() { Stop(); }
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  absl::Status Start();
  // Load and measure.
  absl::StatusOr<BenchRun> Run();

 private:
  bool ours() const { return options_.target.recipient.empty(); }
  absl::Status StartSink();
  absl::Status StartEngine();
  std::vector<std::string> Overrides() const;
  absl::Status KeepLoaded(const Json& stats);
  absl::StatusOr<BenchFigures> Idle();
  absl::StatusOr<Json> WarmUp();
  absl::Duration Cpu() { return sink_.cpu() + engine_.cpu() + blast_.cpu(); }
  void Stop();

  const BenchRunOptions& options_;
  const std::string queue_;
  std::string sink_port_;
  std::string engine_address_;
  uint64_t handed_in_ = 0;
  double rate_ = 0;  // Delivered a second, lately.
  ChildProcess sink_;
  ChildProcess engine_;
  ChildProcess blast_;
};

absl::Status Rig::StartSink() {
  std::vector<std::string> arguments = {options_.programs + "/mailrace-sink", "--listen",
                                        "127.0.0.1:0"};
  const BenchTarget& target = options_.target;
  if (target.sink_delay > absl::ZeroDuration()) {
    arguments.insert(
        arguments.end(),
        {"--reply-delay", fmt::format("{}", absl::ToDoubleMilliseconds(target.sink_delay))});
  }
  if (target.tls) arguments.insert(arguments.end(), {"--tls", "--require-tls"});
  std::vector<std::string> environment;
  if (target.login) {
    arguments.insert(arguments.end(), {"--user", std::string(kLogin), "--require-auth"});
    environment.push_back(fmt::format("MAILRACE_SINK_PASSWORD={}", kLogin));
  }
  absl::Status started = sink_.Start(arguments, environment);
  if (!started.ok()) return started;
  const absl::StatusOr<std::string> ready = sink_.AwaitLine("mailrace-sink: ready", kStartTime);
  if (!ready.ok()) return ready.status();
  sink_port_ = ready->substr(ready->rfind(':') + 1);
  return absl::OkStatus();
}

// Over the operator's main.cf: a queue of its own, nothing that the world could reach, and for our
// sink no other way than there.
std::vector<std::string> Rig::Overrides() const {
  std::vector<std::string> all = options_.overrides;
  const std::string& work = options_.work_directory;
  all.insert(all.end(), {"queue_directory=" + queue_, "data_directory=" + work + "/data",
                         "maillog_file=" + work + "/maillog", "log_output=file",
                         "submission_listen=127.0.0.1:0",
                         "submission_tls_listen=", "http_listen=", "mynetworks=127.0.0.0/8",
                         "smtpd_sasl_auth_enable=no", "defer_transports="});
  if (!ours()) return all;
  all.insert(
      all.end(),
      {"relayhost=[127.0.0.1]:" + sink_port_, "default_transport=smtp", "transport_maps=",
       "sender_dependent_relayhost_maps=", "sender_dependent_default_transport_maps=",
       "smtp_fallback_relay=", "smtp_bind_address=", "smtp_bind_address6=", "smtp_tls_policy_maps=",
       "smtp_tls_per_site=", "smtp_tls_wrappermode=no",
       fmt::format("smtp_tls_security_level={}", options_.target.tls ? "encrypt" : "none"),
       "smtp_sender_dependent_authentication=no", "sasl_token_maps=", "smtp_sasl_mechanism_filter=",
       "smtp_sasl_security_options=noanonymous", "smtp_sasl_tls_security_options=noanonymous",
       fmt::format("smtp_sasl_auth_enable={}", options_.target.login ? "yes" : "no"),
       fmt::format("smtp_sasl_password_maps=static:{0}:{0}", kLogin)});
  return all;
}

absl::Status Rig::StartEngine() {
  std::vector<std::string> arguments = {options_.programs + "/mailrace", "serve", "-c",
                                        options_.directory};
  for (const std::string& override : Overrides()) {
    arguments.insert(arguments.end(), {"-o", override});
  }
  absl::Status started = engine_.Start(arguments, {});
  if (!started.ok()) return started;
  const absl::StatusOr<std::string> ready = engine_.AwaitLine("mailrace: ready", kStartTime);
  if (!ready.ok()) return ready.status();
  const size_t at = ready->find("127.0.0.1:");
  if (at == std::string::npos) return absl::InternalError(*ready);
  engine_address_ = ready->substr(at, ready->find_first_not_of("0123456789.:", at) - at);
  return absl::OkStatus();
}

absl::Status Rig::Start() {
  if (ours()) {
    if (absl::Status started = StartSink(); !started.ok()) return started;
  }
  return StartEngine();
}

// Mail waits all the time, but the queue stays short: as many come in as go out, so that what a
// message costs is the same whichever end limits.
absl::Status Rig::KeepLoaded(const Json& stats) {
  if (blast_.running()) return absl::OkStatus();
  auto batch = static_cast<uint64_t>(std::clamp(
      rate_ * kBatchSeconds, static_cast<double>(kBatchLeast), static_cast<double>(kBatchMost)));
  if (Number(At(stats, "queue"), "total") > static_cast<double>(batch) / 2) {
    return absl::OkStatus();
  }
  const BenchTarget& target = options_.target;
  if (!ours()) batch = std::min(batch, target.messages_most - handed_in_);
  if (batch == 0) return absl::OkStatus();
  std::vector<std::string> arguments = {options_.programs + "/mailrace-blast",
                                        "--to",
                                        engine_address_,
                                        "--messages",
                                        fmt::format("{}", batch),
                                        "--connections",
                                        fmt::format("{}", options_.connections),
                                        "--size",
                                        fmt::format("{}", options_.size_octets)};
  if (!ours()) {
    arguments.insert(arguments.end(), {"--rcpt", target.recipient, "--from", target.sender});
  }
  handed_in_ += batch;
  return blast_.Start(arguments, {});
}

absl::StatusOr<Json> Rig::WarmUp() {
  const absl::Time begun = absl::Now();
  const absl::Duration length = std::min(kWarmUpMost, options_.length / 4);
  while (true) {
    absl::StatusOr<Json> stats = Ask(queue_);
    if (!stats.ok()) return stats.status();
    const absl::Duration taken = absl::Now() - begun;
    rate_ = Number(*stats, "delivered") / std::max(absl::ToDoubleSeconds(taken), 0.1);
    if (absl::Status loaded = KeepLoaded(*stats); !loaded.ok()) return loaded;
    // Of a limited number of messages each one counts.
    const bool warm = taken >= length || !ours();
    if (warm || options_.interrupted()) return stats;
    absl::SleepFor(kLookInterval);
  }
}

// What the engine takes when it has nothing to do but to answer us.
absl::StatusOr<BenchFigures> Rig::Idle() {
  const absl::StatusOr<Json> before = Ask(queue_);
  if (!before.ok()) return before.status();
  const double cpu_before = absl::ToDoubleSeconds(Cpu());
  const absl::Time begun = absl::Now();
  absl::StatusOr<Json> after = before;
  while (absl::Now() - begun < kIdleTime) {
    absl::SleepFor(kLookInterval);
    after = Ask(queue_);
    if (!after.ok()) return after.status();
  }
  const double seconds = absl::ToDoubleSeconds(absl::Now() - begun);
  BenchFigures idle = FiguresBetween(*before, *after, seconds);
  const auto cores = static_cast<double>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  idle.machine_busy = (absl::ToDoubleSeconds(Cpu()) - cpu_before) / seconds / cores;
  return idle;
}

absl::StatusOr<BenchRun> Rig::Run() {
  BenchRun run;
  const double fdatasync_seconds = TrySync(options_.work_directory + "/sync");
  const absl::StatusOr<BenchFigures> idle = Idle();
  if (!idle.ok()) return idle.status();
  absl::StatusOr<Json> first = WarmUp();
  if (!first.ok()) return first.status();
  run.before = *std::move(first);
  const MachineTime machine = LookAtMachine();
  const double ours_before = absl::ToDoubleSeconds(Cpu());
  const absl::Time begun = absl::Now();
  Looks looks;
  while (true) {
    absl::SleepFor(kLookInterval);
    absl::StatusOr<Json> stats = Ask(queue_);
    if (!stats.ok()) return stats.status();
    run.after = *std::move(stats);
    looks.Add(run.after);
    const absl::Duration taken = absl::Now() - begun;
    rate_ = (Number(run.after, "delivered") - Number(run.before, "delivered")) /
            absl::ToDoubleSeconds(taken);
    const bool all_gone = !ours() && handed_in_ >= options_.target.messages_most &&
                          Number(run.after, "accepted") >= static_cast<double>(handed_in_) &&
                          Number(At(run.after, "queue"), "total") == 0;
    if (taken >= options_.length || all_gone || options_.interrupted()) {
      run.figures = FiguresBetween(run.before, run.after, absl::ToDoubleSeconds(taken));
      break;
    }
    if (absl::Status loaded = KeepLoaded(run.after); !loaded.ok()) return loaded;
  }
  const MachineTime end = LookAtMachine();
  BenchFigures& figures = run.figures;
  const double all = (end.all - machine.all) / static_cast<double>(sysconf(_SC_CLK_TCK));
  const double ours_after = absl::ToDoubleSeconds(Cpu());
  if (all > 0) {
    figures.machine_busy = (ours_after - ours_before) / all;
    const double busy = (end.busy - machine.busy) / (end.all - machine.all);
    figures.others_busy = std::max(0.0, busy - figures.machine_busy);
  }
  Subtract(*idle, &figures);
  figures.sessions = looks.sessions / looks.count;
  figures.waiting = looks.waiting / looks.count;
  figures.parked = looks.parked / looks.count;
  figures.fdatasync_seconds = fdatasync_seconds;
  run.shards = std::max<int>(1, static_cast<int>(run.after.value("shards", Json::array()).size()));
  return run;
}

void Rig::Stop() {
  blast_.Stop(kStopTime);
  engine_.Stop(ours() ? kStopTime : kRelayStopTime);
  sink_.Stop(kStopTime);
}

}  // namespace

BenchFigures FiguresBetween(const Json& before, const Json& after, double seconds) {
  BenchFigures figures;
  figures.seconds = seconds;
  const auto grown = [&](std::string_view name) {
    return Number(after, name) - Number(before, name);
  };
  const Json cpu_before = At(before, "cpu_seconds");
  const Json cpu = At(after, "cpu_seconds");
  for (const auto& [name, value] : cpu.items()) {
    const double used = (value.get<double>() - Number(cpu_before, name)) / seconds;
    if (name.starts_with("shard-")) figures.shard_cpu = std::max(figures.shard_cpu, used);
    if (name == "commit") figures.commit_cpu = used;
    if (name == "store-reader") figures.reader_cpu = used;
  }
  figures.delivered = grown("delivered") / seconds;
  figures.connects = grown("connects") / seconds;
  const double judged = grown("delivered") + grown("deferred");
  figures.deferred = judged > 0 ? grown("deferred") / judged : 0;
  const Json sync_before = At(before, "commits", "sync_microseconds");
  const Json sync = At(after, "commits", "sync_microseconds");
  figures.disk_busy = (Number(sync, "sum") - Number(sync_before, "sum")) / 1e6 / seconds;
  figures.sync_seconds = MeanSeconds(sync_before, sync);
  figures.changes_a_sync =
      Mean(At(before, "commits", "group_requests"), At(after, "commits", "group_requests"));
  const double changes =
      Number(At(after, "commits"), "requests") - Number(At(before, "commits"), "requests");
  if (grown("delivered") > 0) figures.changes_a_message = changes / grown("delivered");
  for (const char* stage : {"envelope", "data", "end_of_data"}) {
    figures.transfer += MeanSeconds(At(before, "stages", stage), At(after, "stages", stage));
  }
  figures.setup =
      MeanSeconds(At(before, "microseconds", "connect"), At(after, "microseconds", "connect"));
  figures.tls = MeanSeconds(At(before, "microseconds", "tls"), At(after, "microseconds", "tls"));
  return figures;
}

absl::StatusOr<BenchRun> RunBench(const BenchRunOptions& options) {
  Rig rig(options);
  if (absl::Status started = rig.Start(); !started.ok()) return started;
  absl::StatusOr<BenchRun> run = rig.Run();
  return run;
}

}  // namespace mailrace::tools

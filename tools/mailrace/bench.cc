// `mailrace bench`: how fast this configuration is on this machine, what limits it, and whether a
// setting would help; tried, if there is one.
#include <signal.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include "engine/config/config.h"
#include "engine/settings_from_config.h"
#include "fmt/format.h"
#include "tools/mailrace/bench_model.h"
#include "tools/mailrace/bench_run.h"
#include "tools/mailrace/commands.h"

namespace mailrace::tools {

namespace {

using Json = nlohmann::json;

constexpr int kExitUsage = 64;        // EX_USAGE
constexpr int kExitUnavailable = 69;  // EX_UNAVAILABLE
constexpr int kExitConfig = 78;       // EX_CONFIG
// A queue reserves tens of MiB; what is measured must not fill the operator's disk.
constexpr uint64_t kFreeLeast = uint64_t{1} << 30;

volatile sig_atomic_t interrupted = 0;
void Interrupt(int) { interrupted = 1; }

int Fail(int exit_status, std::string_view text) {
  std::fprintf(stderr, "mailrace: %.*s\n", static_cast<int>(text.size()), text.data());
  return exit_status;
}

// A directory of ours that is gone with us.
class WorkDirectory {
 public:
  WorkDirectory() = default;
  WorkDirectory(const WorkDirectory&) = delete;
  WorkDirectory& operator=(const WorkDirectory&) = delete;
  ~WorkDirectory() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  absl::Status Make(const std::string& parent) {
    std::string path = parent + "/mailrace-bench-XXXXXX";
    if (mkdtemp(path.data()) == nullptr) {
      return absl::UnavailableError(fmt::format(
          "{}: no directory can be made there; choose another with --work-directory", parent));
    }
    path_ = path;
    struct statvfs file_system;
    if (statvfs(path.c_str(), &file_system) == 0 &&
        uint64_t{file_system.f_bavail} * file_system.f_frsize < kFreeLeast) {
      return absl::ResourceExhaustedError(
          fmt::format("{}: less than 1 GiB is free; a run is not worth the risk", parent));
    }
    return absl::OkStatus();
  }
  // An empty one below it, for one run.
  std::string Sub(std::string_view name) const {
    std::string path = fmt::format("{}/{}", path_, name);
    std::error_code ignored;
    std::filesystem::create_directory(path, ignored);
    return path;
  }

 private:
  std::string path_;
};

struct Loaded {
  std::shared_ptr<const engine::config::Config> config;
  std::shared_ptr<const engine::Settings> settings;
};

// Null after the errors on stderr.
Loaded Load(const BenchArguments& arguments) {
  engine::config::LoadEnvironment environment;
  environment.overrides = arguments.overrides;
  engine::config::Diagnostics diagnostics;
  Loaded loaded;
  loaded.config = engine::config::LoadConfig(arguments.directory, environment, &diagnostics);
  if (loaded.config != nullptr) {
    loaded.settings = engine::SettingsFromConfig(loaded.config, 1, &diagnostics);
  }
  if (loaded.settings == nullptr || diagnostics.has_errors()) {
    std::fputs(diagnostics.ToString(false).c_str(), stderr);
    loaded.settings = nullptr;
  }
  return loaded;
}

BenchKnobs KnobsOf(const Loaded& loaded, int shards) {
  const engine::Settings& settings = *loaded.settings;
  BenchKnobs knobs;
  knobs.cores = static_cast<int>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  knobs.engine_shards = shards;
  knobs.concurrency_limit = settings.limits.concurrency_limit;
  knobs.rate_delay_seconds = absl::ToDoubleSeconds(settings.limits.rate_delay);
  knobs.connection_reuse = settings.connection_reuse;
  knobs.reuse_count_limit = static_cast<int>(settings.connection_reuse_count_limit);
  const auto value = [&](const char* name) {
    const auto found = loaded.config->settings.find(name);
    return found == loaded.config->settings.end() ? std::string() : found->second.value;
  };
  knobs.cross_message_pipelining = value("smtp_cross_message_pipelining") != "no";
  knobs.queue_memory_limit =
      static_cast<uint64_t>(loaded.config->options.general.queue_memory_limit);
  // Whichever line of main.cf is in force is the one to change.
  if (!loaded.config->settings.at("smtp_destination_concurrency_limit").place.file.empty()) {
    knobs.concurrency_parameter = "smtp_destination_concurrency_limit";
  }
  return knobs;
}

BenchTarget TargetOf(const BenchArguments& arguments, const Loaded& loaded) {
  BenchTarget target;
  target.sink_delay = absl::Milliseconds(arguments.sink_delay_milliseconds);
  const engine::config::Options& options = loaded.config->options;
  const auto value = [&](const char* name) {
    const auto found = loaded.config->settings.find(name);
    return found == loaded.config->settings.end() ? std::string() : found->second.value;
  };
  const std::string level = value("smtp_tls_security_level");
  target.tls = (!level.empty() && level != "none") || value("smtp_use_tls") == "yes" ||
               value("smtp_enforce_tls") == "yes" || !value("smtp_tls_policy_maps").empty();
  target.login = options.sasl.smtp_sasl_auth_enable;
  target.recipient = arguments.recipient;
  target.sender = arguments.sender.empty() ? arguments.recipient : arguments.sender;
  target.messages_most = arguments.messages;
  return target;
}

// Where this program is, its companions are.
std::string ProgramsDirectory() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::string() : self.parent_path().string();
}

Json ToJson(const BenchVerdict& verdict, const BenchFigures& f) {
  Json stations = Json::array();
  for (const BenchStation& station : verdict.stations) {
    stations.push_back({{"name", station.name},
                        {"used", station.used},
                        {"allows", std::isfinite(station.allows) ? Json(station.allows) : Json()}});
  }
  Json proposals = Json::array();
  for (const BenchProposal& proposal : verdict.proposals) {
    proposals.push_back({{"parameter", proposal.parameter},
                         {"from", proposal.from},
                         {"to", proposal.to},
                         {"predicted", proposal.predicted},
                         {"next_limit", proposal.next_limit},
                         {"why", proposal.why}});
  }
  return {{"delivered", f.delivered},
          {"seconds", f.seconds},
          {"sessions", f.sessions},
          {"waiting", f.waiting},
          {"limited", verdict.limited},
          {"limit", verdict.limited ? Json(verdict.stations.front().name) : Json()},
          {"diagnosis", verdict.diagnosis},
          {"stations", std::move(stations)},
          {"proposals", std::move(proposals)}};
}

std::string Predicted(const BenchProposal& proposal) {
  if (proposal.next_limit.empty()) return fmt::format("{:.0f} messages/s", proposal.predicted);
  return fmt::format("up to {:.0f} messages/s, by then the limit is {},", proposal.predicted,
                     proposal.next_limit);
}

void Print(const BenchVerdict& verdict, const BenchFigures& f) {
  std::printf("%.1f messages/s delivered, over %.1f s; %.1f sessions open on average\n\n",
              f.delivered, f.seconds, f.sessions);
  std::printf("%-28s %8s %22s\n", "", "busy", "allows, messages/s");
  for (const BenchStation& station : verdict.stations) {
    const std::string allows =
        std::isfinite(station.allows) ? fmt::format("{:.0f}", station.allows) : "-";
    std::printf("%-28s %6.1f %% %22s\n", station.name.c_str(), station.used * 100, allows.c_str());
  }
  std::printf("\n%s: %s.\n", verdict.limited ? "limit" : "no limit found",
              verdict.diagnosis.c_str());
  if (verdict.proposals.empty()) {
    std::printf("Nothing to gain by a setting.\n");
    return;
  }
  for (const BenchProposal& proposal : verdict.proposals) {
    std::printf("\nproposal: %s = %s (is %s): %s predicted\n          %s\n",
                proposal.parameter.c_str(), proposal.to.c_str(), proposal.from.c_str(),
                Predicted(proposal).c_str(), proposal.why.c_str());
  }
}

class Advisor {
 public:
  Advisor(const BenchArguments& arguments, Loaded loaded, const WorkDirectory& work)
      : arguments_(arguments), loaded_(std::move(loaded)), work_(work) {}
  int Run();

 private:
  absl::StatusOr<BenchRun> Measure(std::string_view name, std::vector<std::string> more) const;
  absl::Status TryProposal(const BenchProposal& proposal);
  void Say(const std::string& text) const {
    if (!arguments_.json) std::fputs(text.c_str(), stdout);
    std::fflush(stdout);
  }

  const BenchArguments& arguments_;
  const Loaded loaded_;
  const WorkDirectory& work_;
  Json report_ = Json::object();
};

absl::StatusOr<BenchRun> Advisor::Measure(std::string_view name,
                                          std::vector<std::string> more) const {
  BenchRunOptions options;
  options.directory = arguments_.directory;
  options.overrides = arguments_.overrides;
  options.overrides.insert(options.overrides.end(), more.begin(), more.end());
  options.work_directory = work_.Sub(name);
  options.programs = ProgramsDirectory();
  options.target = TargetOf(arguments_, loaded_);
  options.length = absl::Seconds(arguments_.seconds);
  options.size_octets = arguments_.size;
  options.connections = arguments_.connections;
  options.interrupted = [] { return interrupted != 0; };
  absl::StatusOr<BenchRun> run = RunBench(options);
  return run;
}

absl::Status Advisor::TryProposal(const BenchProposal& proposal) {
  Say(fmt::format("\ntrying {} = {} …\n", proposal.parameter, proposal.to));
  const absl::StatusOr<BenchRun> again =
      Measure("again", {fmt::format("{}={}", proposal.parameter, proposal.to)});
  if (!again.ok()) return again.status();
  const BenchVerdict verdict = Diagnose(again->figures, KnobsOf(loaded_, again->shards));
  report_["rerun"] = {{"parameter", proposal.parameter},
                      {"to", proposal.to},
                      {"predicted", proposal.predicted},
                      {"measured", again->figures.delivered}};
  Say(fmt::format("predicted {}{:.0f} messages/s, measured {:.0f}: {:.0f} % of the prediction\n",
                  proposal.next_limit.empty() ? "" : "up to ", proposal.predicted,
                  again->figures.delivered, again->figures.delivered / proposal.predicted * 100));
  Say(fmt::format("now busiest: {} ({:.0f} %)\n", verdict.stations.front().name,
                  verdict.stations.front().used * 100));
  return absl::OkStatus();
}

int Advisor::Run() {
  const absl::StatusOr<BenchRun> run = Measure("as-it-is", {});
  if (!run.ok()) return Fail(kExitUnavailable, std::string(run.status().message()));
  const BenchVerdict verdict = Diagnose(run->figures, KnobsOf(loaded_, run->shards));
  report_ = ToJson(verdict, run->figures);
  if (!arguments_.json) Print(verdict, run->figures);
  if (arguments_.rerun && !verdict.proposals.empty() && interrupted == 0) {
    const absl::Status tried = TryProposal(verdict.proposals.front());
    if (!tried.ok()) return Fail(kExitUnavailable, std::string(tried.message()));
  }
  if (arguments_.json) std::printf("%s\n", report_.dump().c_str());
  return 0;
}

}  // namespace

int Bench(const BenchArguments& arguments) {
  if (arguments.relay && arguments.recipient.find('@') == std::string::npos) {
    return Fail(kExitUsage, "--relay sends real mail: --recipient names the address that gets it");
  }
  Loaded loaded = Load(arguments);
  if (loaded.settings == nullptr) return kExitConfig;
  struct sigaction action{};
  action.sa_handler = Interrupt;  // What is begun ends, and nothing stays behind.
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::string parent = arguments.work_directory;
  if (parent.empty()) {
    const std::filesystem::path queue(loaded.config->options.general.queue_directory);
    parent = queue.parent_path().string();
  }
  WorkDirectory work;
  if (const absl::Status made = work.Make(parent); !made.ok()) {
    return Fail(kExitUnavailable, std::string(made.message()));
  }
  return Advisor(arguments, std::move(loaded), work).Run();
}

}  // namespace mailrace::tools

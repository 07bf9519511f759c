// `mailrace serve`: the daemon in the foreground.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <ctime>

#include "engine/config/config.h"
#include "engine/config/reload.h"
#include "engine/engine.h"
#include "engine/logs/async_logger.h"
#include "engine/settings_from_config.h"
#include "fmt/format.h"
#include "tools/mailrace/commands.h"

namespace mailrace::tools {

namespace {

// What a stop may take beyond the grace: farewells, last records, closing the queue.
constexpr absl::Duration kStopReserve = absl::Seconds(30);

// Who is told "ready" may kill us the moment after: what the start had to say, such as who
// may get mail twice, is in the log by then. A log that hangs delays the start by this much.
constexpr absl::Duration kStartLinesLimit = absl::Seconds(1);

constexpr int kExitConfig = 78;       // EX_CONFIG
constexpr int kExitUnavailable = 69;  // EX_UNAVAILABLE

struct Loaded {
  std::shared_ptr<const engine::config::Config> config;
  std::shared_ptr<const engine::Settings> settings;
  engine::config::Diagnostics diagnostics;
};

// Everything or nothing. `running`: null at start.
Loaded Load(const ServeArguments& arguments, uint64_t generation,
            const engine::config::Config* running) {
  Loaded loaded;
  engine::config::LoadEnvironment environment;
  environment.overrides = arguments.overrides;
  loaded.config = engine::config::LoadConfig(arguments.directory, environment, &loaded.diagnostics);
  if (loaded.config != nullptr && running != nullptr) {
    loaded.config =
        engine::config::KeepStartParameters(*running, *loaded.config, &loaded.diagnostics);
  }
  if (loaded.config != nullptr) {
    loaded.settings = engine::SettingsFromConfig(loaded.config, generation, &loaded.diagnostics);
  }
  return loaded;
}

absl::StatusOr<std::unique_ptr<logs::AsyncLogger>> OpenLog(const engine::config::LogOptions& from,
                                                           const std::string& host,
                                                           const Clock* clock) {
  logs::LogOptions options;
  options.syslog_name = from.syslog_name;
  options.host = host.substr(0, host.find('.'));
  if (from.log_output == "file") options.destination = logs::LogOptions::Destination::kFile;
  if (from.log_output == "syslog") options.destination = logs::LogOptions::Destination::kSyslog;
  options.file = from.maillog_file;
  options.facility = engine::SyslogFacility(from.syslog_facility);
  return logs::AsyncLogger::Open(options, clock);
}

// Connections cost descriptors: as many as we may have.
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

bool MakeDirectory(const std::string& path) {
  if (mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return true;
  std::fprintf(stderr, "mailrace: %s: cannot be made: %m\n", path.c_str());
  return false;
}

void LogDiagnostics(const engine::config::Diagnostics& diagnostics, Logger* logger) {
  using engine::config::Diagnostic;
  for (const Diagnostic& diagnostic : diagnostics.all()) {
    if (diagnostic.severity == Diagnostic::Severity::kNote) continue;
    logger->Warning("master", diagnostic.ToString());
  }
}

// Signals come as values to one place: no handler runs between two instructions.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  // What other daemons reopen their logs by; its default would end this one.
  signal(SIGUSR1, SIG_IGN);
  signal(SIGUSR2, SIG_IGN);
  return signals;
}

// A signal to stop waits to be taken.
bool StopPending() {
  sigset_t pending;
  return sigpending(&pending) == 0 &&
         (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

// *config is replaced if the new one is good, and is what it was if not.
void Reload(const ServeArguments& arguments, uint64_t generation,
            std::shared_ptr<const engine::config::Config>* config, engine::Engine* engine,
            logs::AsyncLogger* logger) {
  sd_notify(0, "RELOADING=1");
  logger->Reopen();
  Loaded loaded = Load(arguments, generation, config->get());
  LogDiagnostics(loaded.diagnostics, logger);
  if (loaded.settings == nullptr) {
    logger->Log(Severity::kError, "master",
                fmt::format("reload refused, {} errors in the configuration; the old one stays in "
                            "use",
                            loaded.diagnostics.errors()));
  } else {
    *config = loaded.config;
    engine->Reload(loaded.settings);
    logger->Info("master", fmt::format("reload -- version {}, configuration {}", MAILRACE_VERSION,
                                       arguments.directory));
  }
  sd_notify(0, "READY=1");
}

// Until the engine has stopped.
void Supervise(const ServeArguments& arguments, const sigset_t& signals,
               std::shared_ptr<const engine::config::Config> config, engine::Engine* engine,
               logs::AsyncLogger* logger) {
  uint64_t generation = 1;
  bool stopping = false;
  while (!engine->stopped()) {
    const timespec wait = stopping ? timespec{0, 20'000'000} : timespec{1, 0};
    const int signal = sigtimedwait(&signals, nullptr, &wait);
    if (signal == SIGHUP && !stopping) {
      Reload(arguments, ++generation, &config, engine, logger);
    } else if ((signal == SIGTERM || signal == SIGINT) && !stopping) {
      stopping = true;
      const absl::Duration grace = config->options.general.shutdown_grace_time;
      // The supervisor's own limit must not cut short the grace that was configured.
      sd_notifyf(0, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%lld",
                 static_cast<long long>(absl::ToInt64Microseconds(grace + kStopReserve)));
      logger->Info("master", fmt::format("terminating on signal {}", signal));
      engine->BeginStop(grace);
    } else if (signal == SIGTERM || signal == SIGINT) {
      logger->Info("master", fmt::format("signal {} again: ending now", signal));
      engine->StopNow();
    } else {
      engine->Tick();
    }
  }
}

}  // namespace

int Serve(const ServeArguments& arguments) {
  const sigset_t signals = BlockSignals();
  // No core file with keys and passwords in it (reliability.md K-06).
  prctl(PR_SET_DUMPABLE, 0);
  RaiseDescriptorLimit();
  Loaded loaded = Load(arguments, 1, nullptr);
  std::fputs(loaded.diagnostics.ToString(false).c_str(), stderr);
  if (loaded.settings == nullptr) {
    std::fprintf(stderr, "mailrace: not started, %zu errors in the configuration\n",
                 loaded.diagnostics.errors());
    return kExitConfig;
  }
  const engine::config::Options& options = loaded.config->options;
  if (!MakeDirectory(options.general.data_directory)) return kExitUnavailable;
  SystemClock clock;
  auto logger = OpenLog(options.log, options.general.myhostname, &clock);
  if (!logger.ok()) {
    std::fprintf(stderr, "mailrace: log: %s\n", std::string(logger.status().message()).c_str());
    return kExitUnavailable;
  }
  logs::AsyncLogger* log = logger->get();
  {
    engine::EngineStart start;
    start.options = options;
    start.settings = loaded.settings;
    start.accept_loss = arguments.accept_loss;
    start.logger = log;
    start.stop_requested = StopPending;
    start.log_stats = [log] { return log->stats(); };
    auto engine = engine::Engine::Start(std::move(start));
    if (absl::IsCancelled(engine.status())) {
      log->Info("master", "stopped before it was ready");
      return 0;
    }
    if (!engine.ok()) {
      const std::string message(engine.status().message());
      log->Log(Severity::kFatal, "master", message);
      std::fprintf(stderr, "mailrace: %s\n", message.c_str());
      return kExitUnavailable;
    }
    log->Info("master", fmt::format("daemon started -- version {}, configuration {}",
                                    MAILRACE_VERSION, arguments.directory));
    log->WaitUntilWritten(kStartLinesLimit);
    const std::string description = (*engine)->Describe();
    std::printf("mailrace: ready, %s\n", description.c_str());
    std::fflush(stdout);
    sd_notifyf(0, "READY=1\nSTATUS=%s", description.c_str());
    Supervise(arguments, signals, loaded.config, engine->get(), log);
  }
  log->Info("master", "stopped");
  return 0;
}

}  // namespace mailrace::tools

// `mailrace top`: rates, depths and waits of a running engine, once a second. On a terminal
// a screen, until q or Ctrl-C; elsewhere a line each time, until it is interrupted or the
// engine ends.
#include <poll.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>

#include "base/text.h"
#include "fmt/format.h"
#include "tools/mailrace/commands.h"
#include "tools/mailrace/queue_output.h"
#include "tools/mailrace/stats_request.h"

namespace mailrace::tools {

namespace {

using Json = nlohmann::json;
using SteadyClock = std::chrono::steady_clock;

constexpr int kIntervalMilliseconds = 1000;
constexpr size_t kSuspendedShown = 10;

// What one look brought, and what changed since the one before.
struct Look {
  Json stats;
  Json before;
  double seconds = 0;  // Between the two; 0: there was none before.

  int64_t Value(const char* name) const { return NumberOf(stats, name); }
  double Rate(const char* name) const {
    if (seconds <= 0) return 0;
    return static_cast<double>(Value(name) - NumberOf(before, name)) / seconds;
  }
  int64_t Queue(const char* name) const {
    return NumberOf(stats.value("queue", Json::object()), name);
  }
};

// A shard's counts of a stage, summed.
std::vector<uint64_t> Buckets(const Json& stats, const char* stage) {
  std::vector<uint64_t> sum;
  if (!stats.is_object()) return sum;
  for (const Json& shard : stats.value("shards", Json::array())) {
    const Json stages = shard.value("microseconds", Json::object());
    const Json buckets = stages.value(stage, Json::object()).value("buckets", Json::array());
    if (sum.size() < buckets.size()) sum.resize(buckets.size());
    for (size_t i = 0; i < buckets.size(); ++i) sum[i] += buckets[i].get<uint64_t>();
  }
  return sum;
}

// Upper bound in milliseconds of a quantile of what was measured between the two looks.
double Quantile(const Look& look, const char* stage, double q) {
  std::vector<uint64_t> now = Buckets(look.stats, stage);
  const std::vector<uint64_t> before = Buckets(look.before, stage);
  uint64_t count = 0;
  for (size_t i = 0; i < now.size(); ++i) {
    now[i] -= std::min(now[i], i < before.size() ? before[i] : 0);
    count += now[i];
  }
  const auto wanted = static_cast<uint64_t>(static_cast<double>(count) * q);
  uint64_t seen = 0;
  for (size_t i = 0; i < now.size(); ++i) {
    seen += now[i];
    if (seen > wanted) return static_cast<double>(uint64_t{1} << i) / 1000;
  }
  return 0;
}

std::string OldestAge(const Look& look) {
  const int64_t arrival = look.Queue("oldest_arrival_time");
  if (arrival == 0) return "-";
  const int64_t age = std::max<int64_t>(0, static_cast<int64_t>(std::time(nullptr)) - arrival);
  if (age < 120) return fmt::format("{} s", age);
  if (age < 7200) return fmt::format("{} min", age / 60);
  return fmt::format("{} h", age / 3600);
}

std::string Screen(const Look& look) {
  std::string text = fmt::format(
      "mailrace  up {} s   queue {}: {} ready, {} in flight, {} deferred, {} held   oldest {}\n\n",
      look.Value("uptime_seconds"), look.Queue("total"), look.Queue("ready"),
      look.Queue("in_flight"), look.Queue("deferred"), look.Queue("held"), OldestAge(look));
  for (const char* name : {"accepted", "delivered", "deferred", "failed", "expired", "connects",
                           "sessions_reused", "tls_handshakes", "auth_successes"}) {
    text += fmt::format("{:<20} {:>12} {:>10.0f}/s\n", name, look.Value(name), look.Rate(name));
  }
  text += fmt::format("{:<20} {:>12}\n", "sessions_open", look.Value("sessions_open"));
  text += fmt::format("{:<20} {:>12}\n\n", "memory_octets", look.Value("memory_octets"));
  text += fmt::format("{:<20} {:>12} {:>12}\n", "ms, at most", "p50", "p99");
  for (const char* stage : {"commit", "queue", "connect", "transaction", "delivery"}) {
    text += fmt::format("{:<20} {:>12.1f} {:>12.1f}\n", stage, Quantile(look, stage, 0.5),
                        Quantile(look, stage, 0.99));
  }
  size_t shown = 0;
  const Json suspended = look.stats.value("suspended", Json::object());
  for (const auto& [nexthop, reason] : suspended.items()) {
    if (++shown > kSuspendedShown) break;
    text += fmt::format("\nsuspended: {}: {}", Printable(nexthop),
                        reason.is_string() ? Printable(reason.get<std::string>(), 200) : "");
  }
  if (suspended.size() > kSuspendedShown) {
    text += fmt::format("\n… and {} more", suspended.size() - kSuspendedShown);
  }
  return text + "\n";
}

std::string OneLine(const Look& look) {
  return fmt::format(
      "accepted {:.0f}/s delivered {:.0f}/s deferred {:.0f}/s failed {:.0f}/s queue {} ready {} "
      "in_flight {} deferred {} held {} suspended {} oldest {} delivery_p50 {:.1f} ms "
      "delivery_p99 {:.1f} ms\n",
      look.Rate("accepted"), look.Rate("delivered"), look.Rate("deferred"), look.Rate("failed"),
      look.Queue("total"), look.Queue("ready"), look.Queue("in_flight"), look.Queue("deferred"),
      look.Queue("held"), look.stats.value("suspended", Json::object()).size(), OldestAge(look),
      Quantile(look, "delivery", 0.5), Quantile(look, "delivery", 0.99));
}

volatile sig_atomic_t interrupted = 0;
void Interrupt(int) { interrupted = 1; }

// Keys come at once and unseen; as it was before at the end.
class RawTerminal {
 public:
  RawTerminal() {
    if (tcgetattr(STDIN_FILENO, &before_) != 0) return;
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    changed_ = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
  }
  ~RawTerminal() {
    if (changed_) tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  termios before_{};
  bool changed_ = false;
};

// True: q was pressed.
bool WaitForQ(bool keys) {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  if (poll(&input, keys ? 1 : 0, kIntervalMilliseconds) <= 0) return false;
  char key = 0;
  const ssize_t n = read(STDIN_FILENO, &key, 1);
  return n <= 0 || key == 'q' || key == 'Q';
}

}  // namespace

int Top(const StatsArguments& arguments) {
  const std::string queue_directory = QueueDirectoryOf(arguments.directory);
  if (queue_directory.empty()) return 78;  // EX_CONFIG
  const bool screen = isatty(STDOUT_FILENO) != 0;
  const bool keys = screen && isatty(STDIN_FILENO) != 0;
  struct sigaction action{};
  action.sa_handler = Interrupt;  // Without SA_RESTART: it ends the wait.
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  const RawTerminal raw;
  Look look;
  SteadyClock::time_point last;
  while (interrupted == 0) {
    look.before = std::move(look.stats);
    look.stats = FetchStats(queue_directory);
    if (!look.stats.is_object()) return 69;  // EX_UNAVAILABLE
    const SteadyClock::time_point now = SteadyClock::now();
    look.seconds = look.before.is_object() ? std::chrono::duration<double>(now - last).count() : 0;
    last = now;
    const std::string text = screen ? "\033[H\033[J" + Screen(look) : OneLine(look);
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) return 0;
    std::fflush(stdout);
    if (WaitForQ(keys)) break;
  }
  return 0;
}

}  // namespace mailrace::tools

#include "tools/mailrace/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "fmt/format.h"

namespace mailrace::tools {

namespace {

constexpr size_t kOutputMax = size_t{1} << 20;

std::vector<char*> Pointers(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (const std::string& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// Ours without what systemd gave to us alone, and `more`.
std::vector<std::string> Environment(const std::vector<std::string>& more) {
  std::vector<std::string> all = more;
  for (char** word = environ; *word != nullptr; ++word) {
    if (std::string_view(*word).starts_with("NOTIFY_SOCKET=")) continue;
    all.emplace_back(*word);
  }
  return all;
}

}  // namespace

ChildProcess::~ChildProcess() {
  if (running()) {
    kill(pid_, SIGKILL);
    Reap(true);
  }
  if (output_ >= 0) close(output_);
}

absl::Status ChildProcess::Start(const std::vector<std::string>& arguments,
                                 const std::vector<std::string>& environment) {
  if (output_ >= 0) close(output_);
  pending_.clear();
  std::array<int, 2> pipe_ends{};
  if (pipe2(pipe_ends.data(), O_CLOEXEC) != 0) return absl::UnavailableError(std::strerror(errno));
  const std::vector<std::string> all = Environment(environment);
  const std::vector<char*> argv = Pointers(arguments);
  const std::vector<char*> envp = Pointers(all);
  pid_ = fork();
  if (pid_ == 0) {
    // Between fork and exec: calls only that are safe in a signal handler.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    dup2(pipe_ends[1], STDOUT_FILENO);
    dup2(pipe_ends[1], STDERR_FILENO);
    execve(argv[0], argv.data(), envp.data());
    _exit(127);
  }
  close(pipe_ends[1]);
  output_ = pipe_ends[0];
  if (pid_ < 0) return absl::UnavailableError(std::strerror(errno));
  return absl::OkStatus();
}

std::optional<std::string> ChildProcess::ReadLine(absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (true) {
    const size_t end = pending_.find('\n');
    if (end != std::string::npos) {
      std::string line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      return line;
    }
    const int64_t left = absl::ToInt64Milliseconds(deadline - absl::Now());
    pollfd readable{output_, POLLIN, 0};
    if (poll(&readable, 1, static_cast<int>(std::clamp<int64_t>(left, 0, 3'600'000))) <= 0) {
      return std::nullopt;
    }
    std::array<char, 4096> buffer{};
    const ssize_t n = read(output_, buffer.data(), buffer.size());
    if (n <= 0) return std::nullopt;
    pending_.append(buffer.data(), static_cast<size_t>(n));
    if (pending_.size() > kOutputMax) pending_.erase(0, pending_.size() - kOutputMax);
  }
}

absl::StatusOr<std::string> ChildProcess::AwaitLine(const std::string& beginning,
                                                    absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  std::string before;
  while (absl::Now() < deadline) {
    std::optional<std::string> line = ReadLine(deadline - absl::Now());
    if (!line) break;
    if (line->starts_with(beginning)) return *std::move(line);
    if (before.size() < kOutputMax) before += *line + "\n";
  }
  return absl::UnavailableError(before.empty() ? fmt::format("no line \"{}…\" came", beginning)
                                               : before);
}

void ChildProcess::Reap(bool wait) {
  if (pid_ <= 0) return;
  int status = 0;
  rusage used{};
  pid_t ended = 0;
  do {
    ended = wait4(pid_, &status, wait ? 0 : WNOHANG, &used);
  } while (ended < 0 && errno == EINTR);
  if (ended == 0) return;
  cpu_of_ended_ +=
      absl::DurationFromTimeval(used.ru_utime) + absl::DurationFromTimeval(used.ru_stime);
  status_ = status;
  pid_ = -1;
}

bool ChildProcess::running() {
  Reap(false);
  return pid_ > 0;
}

absl::Duration ChildProcess::cpu() {
  clockid_t clock{};
  timespec time{};
  if (!running() || clock_getcpuclockid(pid_, &clock) != 0 || clock_gettime(clock, &time) != 0) {
    return cpu_of_ended_;
  }
  return cpu_of_ended_ + absl::DurationFromTimespec(time);
}

void ChildProcess::Stop(absl::Duration grace) {
  if (!running()) return;
  kill(pid_, SIGTERM);
  const absl::Time deadline = absl::Now() + grace;
  // It may have much to say at its end.
  while (running() && absl::Now() < deadline) {
    if (!ReadLine(absl::Milliseconds(20)) && running()) absl::SleepFor(absl::Milliseconds(5));
  }
  if (!running()) return;
  kill(pid_, SIGKILL);
  Reap(true);
}

}  // namespace mailrace::tools

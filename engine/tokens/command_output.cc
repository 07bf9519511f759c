#include "engine/tokens/command_output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <sstream>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/time/clock.h"

extern char** environ;

namespace mailrace::engine::tokens {
namespace {

// How often `stop` and the clock are looked at while the command says nothing.
constexpr int kLookMilliseconds = 100;

// A child in its own process group, with the reading end of its standard output.
struct Child {
  pid_t pid = -1;
  int output = -1;
};

absl::Status Failed(std::string_view what, int error) {
  return absl::UnavailableError(fmt::format("{}: {}", what, std::strerror(error)));
}

absl::StatusOr<Child> Spawn(const std::vector<std::string>& words) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Failed("pipe", errno);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // Our own signal mask and handlers are not the command's.
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  Child child{-1, ends[0]};
  const int error =
      posix_spawn(&child.pid, arguments[0], &actions, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (error == 0) return child;
  close(ends[0]);
  return Failed(words[0], error);
}

// Reads until the end. An error: the command must be killed.
absl::Status ReadAll(int fd, size_t octets_max, absl::Time deadline,
                     const std::function<bool()>& stop, std::string* output) {
  while (true) {
    if (stop != nullptr && stop()) return absl::CancelledError("shutting down");
    if (absl::Now() >= deadline) return absl::UnavailableError("it took too long");
    pollfd waiting{fd, POLLIN, 0};
    const int ready = poll(&waiting, 1, kLookMilliseconds);
    if (ready < 0 && errno != EINTR) return Failed("poll", errno);
    if (ready <= 0) continue;
    char piece[4096];
    const ssize_t count = read(fd, piece, sizeof piece);
    if (count == 0) return absl::OkStatus();
    if (count < 0) {
      if (errno == EINTR) continue;
      return Failed("read", errno);
    }
    if (output->size() + static_cast<size_t>(count) > octets_max) {
      return absl::UnavailableError("it printed too much");
    }
    output->append(piece, static_cast<size_t>(count));
  }
}

// Waits for its end, which a closed output does not promise.
absl::Status Reap(pid_t pid, absl::Time deadline, const std::function<bool()>& stop) {
  int status = 0;
  // Without a descriptor (there are none left) poll only waits: looked at in turns, as `stop` is.
  // (The C library of Debian 12 declares pidfd_open for C only.)
  pollfd end{static_cast<int>(syscall(SYS_pidfd_open, pid, 0)), POLLIN, 0};
  const absl::Cleanup close_end = [&end] {
    if (end.fd >= 0) close(end.fd);
  };
  while (true) {
    const pid_t ended = waitpid(pid, &status, WNOHANG);
    if (ended == pid) break;
    if (ended < 0 && errno != EINTR) return Failed("waitpid", errno);
    if (absl::Now() >= deadline || (stop != nullptr && stop())) {
      kill(-pid, SIGKILL);
      while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
      }
      return absl::UnavailableError("it took too long");
    }
    poll(&end, 1, kLookMilliseconds);
  }
  if (WIFSIGNALED(status)) {
    return absl::UnavailableError(fmt::format("it was ended by signal {}", WTERMSIG(status)));
  }
  if (WEXITSTATUS(status) == 0) return absl::OkStatus();
  return absl::UnavailableError(fmt::format("it ended with status {}", WEXITSTATUS(status)));
}

}  // namespace

absl::StatusOr<std::string> CommandOutput(std::string_view command, size_t octets_max,
                                          absl::Duration timeout,
                                          const std::function<bool()>& stop) {
  std::vector<std::string> words;
  std::istringstream split{std::string(command)};
  for (std::string word; split >> word;) words.push_back(word);
  if (words.empty()) return absl::UnavailableError("no command");
  const absl::Time deadline = absl::Now() + timeout;
  const absl::StatusOr<Child> child = Spawn(words);
  if (!child.ok()) return child.status();
  std::string output;
  absl::Status status = ReadAll(child->output, octets_max, deadline, stop, &output);
  close(child->output);
  if (!status.ok()) kill(-child->pid, SIGKILL);
  const absl::Status ended = Reap(child->pid, deadline, stop);
  if (status.ok()) status = ended;
  // What it started and left behind has nobody to report to.
  kill(-child->pid, SIGKILL);
  if (status.ok()) return output;
  std::fill(output.begin(), output.end(), '\0');
  return absl::UnavailableError(fmt::format("{}: {}", words[0], std::string(status.message())));
}

}  // namespace mailrace::engine::tokens

#include "engine/intake/sendmail_client.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/address.h"
#include "base/socket_address.h"
#include "fmt/format.h"

namespace mailrace::engine {

namespace {

constexpr size_t kReadOctets = 16 << 10;

absl::Status FromErrno(std::string_view what) {
  return absl::UnavailableError(fmt::format("{}: {}", what, std::strerror(errno)));
}

struct SystemAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
};

absl::StatusOr<SystemAddress> ToSystemAddress(const std::string& text) {
  SystemAddress out;
  if (text.starts_with('/')) {
    auto* unix_address = reinterpret_cast<sockaddr_un*>(&out.storage);
    if (text.size() >= sizeof(unix_address->sun_path)) {
      return absl::InvalidArgumentError("the socket's path is too long");
    }
    unix_address->sun_family = AF_UNIX;
    std::memcpy(unix_address->sun_path, text.c_str(), text.size() + 1);
    out.length = sizeof(sockaddr_un);
    return out;
  }
  const absl::StatusOr<SocketAddress> address = SocketAddress::Parse(text);
  if (!address.ok()) return address.status();
  if (address->ip.v6) {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(address->port);
    std::memcpy(&v6->sin6_addr, address->ip.octets.data(), 16);
    out.length = sizeof(sockaddr_in6);
  } else {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(address->port);
    std::memcpy(&v4->sin_addr, address->ip.octets.data(), 4);
    out.length = sizeof(sockaddr_in);
  }
  return out;
}

bool WriteAll(int fd, std::string_view octets) {
  while (!octets.empty()) {
    const ssize_t n = write(fd, octets.data(), octets.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    octets.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

}  // namespace

SubmissionSocket::SubmissionSocket(SubmissionSocket&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      timeout_(other.timeout_),
      input_(std::move(other.input_)) {}

SubmissionSocket::~SubmissionSocket() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<SubmissionSocket> SubmissionSocket::Connect(const std::string& address,
                                                           absl::Duration timeout) {
  const absl::StatusOr<SystemAddress> to = ToSystemAddress(address);
  if (!to.ok()) return to.status();
  const int fd =
      socket(to->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, /*protocol=*/0);
  if (fd < 0) return FromErrno("socket");
  SubmissionSocket out(fd, timeout);
  const std::string what = fmt::format("connect to {}", address);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&to->storage), to->length) < 0) {
    if (errno != EINPROGRESS) return FromErrno(what);
    const absl::Status ready = out.Await(POLLOUT, absl::Now() + timeout);
    if (!ready.ok()) return ready;
    socklen_t length = sizeof(errno);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &errno, &length) < 0 || errno != 0) {
      return FromErrno(what);
    }
  }
  return out;
}

absl::Status SubmissionSocket::Await(short events, absl::Time deadline) const {
  while (true) {
    const int64_t left = absl::ToInt64Milliseconds(deadline - absl::Now());
    if (left <= 0) return absl::DeadlineExceededError("timed out");
    pollfd poll_fd{fd_, events, 0};
    const int ready = poll(&poll_fd, 1, static_cast<int>(std::min<int64_t>(left, 1 << 30)));
    if (ready > 0) return absl::OkStatus();
    if (ready < 0 && errno != EINTR) return FromErrno("poll");
  }
}

absl::Status SubmissionSocket::Write(std::string_view octets) {
  const absl::Time deadline = absl::Now() + timeout_;
  while (!octets.empty()) {
    const ssize_t n = send(fd_, octets.data(), octets.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      octets.remove_prefix(static_cast<size_t>(n));
    } else if (errno == EAGAIN) {
      const absl::Status ready = Await(POLLOUT, deadline);
      if (!ready.ok()) return ready;
    } else if (errno != EINTR) {
      return FromErrno("send");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<transport::smtp::Reply> SubmissionSocket::ReadReply() {
  using transport::smtp::ReplyParser;
  const absl::Time deadline = absl::Now() + timeout_;
  ReplyParser parser;
  while (true) {
    std::string_view rest = input_;
    const ReplyParser::State state = parser.Feed(&rest);
    input_.erase(0, input_.size() - rest.size());
    if (state == ReplyParser::State::kComplete) return parser.TakeReply();
    if (state == ReplyParser::State::kProtocolError) {
      return absl::InvalidArgumentError(parser.problem());
    }
    const absl::Status ready = Await(POLLIN, deadline);
    if (!ready.ok()) return ready;
    std::array<char, kReadOctets> buffer;
    const ssize_t n = recv(fd_, buffer.data(), buffer.size(), 0);
    if (n == 0) return absl::UnavailableError("lost connection");
    if (n > 0) {
      input_.append(buffer.data(), static_cast<size_t>(n));
    } else if (errno != EINTR && errno != EAGAIN) {
      return FromErrno("receive");
    }
  }
}

absl::Status SubmissionSocket::Relay(int input_fd, int output_fd) {
  std::array<char, kReadOctets> buffer;
  pollfd fds[2] = {{input_fd, POLLIN, 0}, {fd_, POLLIN, 0}};
  while (true) {
    if (poll(fds, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return FromErrno("poll");
    }
    if (fds[0].revents != 0) {
      const ssize_t n = read(input_fd, buffer.data(), buffer.size());
      if (n > 0) {
        const absl::Status sent = Write({buffer.data(), static_cast<size_t>(n)});
        if (!sent.ok()) return sent;
      } else {
        // The server says its last replies and closes.
        shutdown(fd_, SHUT_WR);
        fds[0].fd = -1;
      }
    }
    if (fds[1].revents == 0) continue;
    const ssize_t n = recv(fd_, buffer.data(), buffer.size(), 0);
    if (n == 0) return absl::OkStatus();
    if (n < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return FromErrno("receive");
    }
    if (!WriteAll(output_fd, {buffer.data(), static_cast<size_t>(n)})) return FromErrno("write");
  }
}

// --- The dialogue. ---

namespace {

// One step: what was said, what must be answered, and with which status a refusal for
// good exits.
class Dialogue {
 public:
  explicit Dialogue(SubmissionSocket* socket) : socket_(socket) {}

  // True: `wanted` came (its first digit). False: outcome() says why not.
  bool Say(std::string_view line, int wanted, int permanent_exit) {
    if (!line.empty()) {
      const absl::Status sent = socket_->Write(line);
      if (!sent.ok()) return Broken(sent);
    }
    absl::StatusOr<transport::smtp::Reply> reply = socket_->ReadReply();
    if (!reply.ok()) return Broken(reply.status());
    text_ = reply->ToString();
    if (reply->code / 100 == wanted) return true;
    int exit_code = reply->permanent() ? permanent_exit : EX_TEMPFAIL;
    if (reply->code == 552) exit_code = EX_UNAVAILABLE;
    if (reply->permanent() && reply->enhanced().subject == 7) exit_code = EX_NOPERM;
    outcome_ = {exit_code, text_};
    return false;
  }
  bool Broken(const absl::Status& status) {
    outcome_ = {EX_TEMPFAIL, std::string(status.message())};
    return false;
  }
  const std::string& text() const { return text_; }
  SubmissionOutcome outcome() const { return outcome_; }

 private:
  SubmissionSocket* socket_;
  std::string text_;
  SubmissionOutcome outcome_;
};

std::string DotStuffed(std::string_view content) {
  std::string out;
  out.reserve(content.size() + content.size() / 64 + 8);
  while (!content.empty()) {
    if (content.starts_with('.')) out += '.';
    const size_t end = content.find("\r\n");
    const size_t octets = end == std::string_view::npos ? content.size() : end + 2;
    out += content.substr(0, octets);
    content.remove_prefix(octets);
  }
  return out + ".\r\n";
}

std::string MailLine(const SubmissionRequest& request) {
  std::string line =
      fmt::format("MAIL FROM:<{}> SIZE={}", request.reverse_path, request.content.size());
  if (!IsAscii(request.content)) line += " BODY=8BITMIME";
  if (request.smtputf8) line += " SMTPUTF8";
  if (!request.ret.empty()) line += " RET=" + request.ret;
  if (!request.envid.empty()) line += " ENVID=" + request.envid;
  return line + "\r\n";
}

}  // namespace

SubmissionOutcome Submit(SubmissionSocket* socket, const SubmissionRequest& request) {
  Dialogue dialogue(socket);
  if (!dialogue.Say("", 2, EX_UNAVAILABLE) ||
      !dialogue.Say(fmt::format("EHLO {}\r\n", request.helo_name), 2, EX_UNAVAILABLE) ||
      !dialogue.Say(MailLine(request), 2, EX_DATAERR)) {
    return dialogue.outcome();
  }
  for (const std::string& recipient : request.recipients) {
    const std::string notify = request.notify.empty() ? "" : " NOTIFY=" + request.notify;
    if (!dialogue.Say(fmt::format("RCPT TO:<{}>{}\r\n", recipient, notify), 2, EX_NOUSER)) {
      // Closing without DATA leaves nothing behind.
      return dialogue.outcome();
    }
  }
  if (!dialogue.Say("DATA\r\n", 3, EX_UNAVAILABLE) ||
      !dialogue.Say(DotStuffed(request.content), 2, EX_DATAERR)) {
    return dialogue.outcome();
  }
  const std::string accepted = dialogue.text();
  // Nothing depends on the answer: the message is the engine's.
  const bool bye = dialogue.Say("QUIT\r\n", 2, EX_OK);
  static_cast<void>(bye);
  return {EX_OK, accepted};
}

}  // namespace mailrace::engine

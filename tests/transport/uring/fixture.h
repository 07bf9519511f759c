// The language of the ring's tests: shards on the test's own thread, coroutines run to
// their end, and plain system sockets as peers whose every step the test decides.
#pragma once

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/sync.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "transport/uring/uring_shard.h"

namespace mailrace::transport::uring {

inline SocketAddress AnyLoopbackPort() { return {*IpAddress::Parse("127.0.0.1"), 0}; }

// A peer without a ring. Blocking calls that cannot block for good: each waits for a
// state which the test has brought about, on loopback.
class PlainSocket {
 public:
  PlainSocket() = default;
  explicit PlainSocket(int fd) : fd_(fd) {}
  PlainSocket(PlainSocket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  PlainSocket& operator=(PlainSocket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~PlainSocket() { Close(); }

  static PlainSocket ConnectTo(SocketAddress address) {
    PlainSocket peer(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    SystemAddress system = ToSystem(address);
    EXPECT_EQ(connect(peer.fd_, system.get(), system.length), 0) << strerror(errno);
    return peer;
  }
  // Listens; receive_buffer_octets are inherited by those accepted.
  static PlainSocket Listening(int receive_buffer_octets = 0) {
    PlainSocket peer(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (receive_buffer_octets > 0) {
      setsockopt(peer.fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_octets, sizeof(int));
    }
    SystemAddress system = ToSystem(AnyLoopbackPort());
    EXPECT_EQ(bind(peer.fd_, system.get(), system.length), 0);
    EXPECT_EQ(listen(peer.fd_, 16), 0);
    return peer;
  }
  PlainSocket Accept() const { return PlainSocket(accept(fd_, nullptr, nullptr)); }
  SocketAddress address() const { return LocalAddress(fd_); }

  void Send(std::string_view octets) const {
    ASSERT_EQ(send(fd_, octets.data(), octets.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(octets.size()));
  }
  std::string Receive(size_t octets_max) const {
    std::string octets(octets_max, '\0');
    const ssize_t n = recv(fd_, octets.data(), octets.size(), 0);
    octets.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return octets;
  }
  void CloseWithReset() {
    const linger now{1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    Close();
  }
  void Finish() const { shutdown(fd_, SHUT_WR); }
  void Close() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

class UringTest : public testing::Test {
 protected:
  UringTest() { Restart({}); }

  // A shard with other options. REQUIRES: nothing was made on the present one.
  void Restart(const UringShardOptions& options) {
    scope_.reset();
    shard_ = std::make_unique<UringShard>(&clock_, options);
    const absl::Status opened = shard_->Open();
    ASSERT_TRUE(opened.ok()) << opened;
    scope_ = std::make_unique<TaskScope>(&shard_->loop());
  }

  // A ring so small that every limit is met.
  static UringShardOptions TinyRing() {
    UringShardOptions options;
    options.ring.submissions = 2;
    options.ring.completions = 2;
    options.ring.receive_buffers = 1;
    options.ring.receive_buffer_octets = 64;
    return options;
  }

  UringNetwork& network() { return shard_->network(); }
  Loop& loop() { return shard_->loop(); }
  MonoTime In(absl::Duration d) { return clock_.Mono() + d; }

  void Spawn(Task<void> task) { scope_->Spawn(std::move(task)); }
  void RunToEnd() {
    shard_->Run([this] { return scope_->running() == 0; });
  }
  // Runs until nothing more happens at once: operations in flight wait for the peer.
  void RunUntilQuiet() {
    for (int quiet = 0; quiet < 3;) {
      const bool busy = loop().has_ready();
      shard_->RunOnce(absl::ZeroDuration());
      quiet = busy || loop().has_ready() ? 0 : quiet + 1;
    }
  }

  template <typename T>
  T Await(Task<T> task) {
    std::optional<T> result;
    Spawn(Store(std::move(task), &result));
    RunToEnd();
    return *std::move(result);
  }

  // A connection of ours and the plain socket at its other end.
  std::pair<std::unique_ptr<Connection>, PlainSocket> Connected(int peer_receive_buffer = 0) {
    PlainSocket listening = PlainSocket::Listening(peer_receive_buffer);
    auto connection = Await(network().Connect(listening.address(), std::nullopt, Soon()));
    EXPECT_TRUE(connection.ok()) << connection.status();
    return {*std::move(connection), listening.Accept()};
  }
  // A deadline that only a hanging test meets.
  MonoTime Soon() { return In(absl::Seconds(60)); }

  absl::StatusOr<std::string> Read(Connection* connection, MonoTime deadline) {
    Buffer into;
    const absl::StatusOr<size_t> octets = Await(ReadTask(connection, &into, deadline));
    if (!octets.ok()) return octets.status();
    EXPECT_EQ(*octets, into.size());
    return std::string(into.view());
  }
  absl::Status Write(Connection* connection, std::string octets) {
    return Await(WriteTask(connection, std::move(octets), Soon()));
  }

  static Task<absl::StatusOr<size_t>> ReadTask(Connection* connection, Buffer* into,
                                               MonoTime deadline) {
    absl::StatusOr<size_t> octets = co_await connection->Read(into, deadline);
    co_return octets;
  }
  static Task<absl::Status> WriteTask(Connection* connection, std::string octets,
                                      MonoTime deadline) {
    const absl::Status status = co_await connection->Write(octets, deadline);
    co_return status;
  }
  template <typename T>
  static Task<void> Store(Task<T> task, std::optional<T>* result) {
    T value = co_await std::move(task);
    result->emplace(std::move(value));
  }

  SystemClock clock_;
  std::unique_ptr<UringShard> shard_;
  std::unique_ptr<TaskScope> scope_;
};

}  // namespace mailrace::transport::uring

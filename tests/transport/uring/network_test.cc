#include <sys/resource.h>
#include <sys/stat.h>

#include <filesystem>

#include "tests/transport/uring/fixture.h"

namespace mailrace::transport::uring {
namespace {

using ::testing::HasSubstr;

std::string Words(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

TEST_F(UringTest, ListenOnPortZeroTellsThePort) {
  auto listener = network().Listen(AnyLoopbackPort());
  ASSERT_TRUE(listener.ok());
  EXPECT_NE((*listener)->local().port, 0);
  EXPECT_EQ((*listener)->local().ip.ToString(), "127.0.0.1");
}

TEST_F(UringTest, ListenOnATakenPortNamesTheAddress) {
  auto first = network().Listen(AnyLoopbackPort());
  ASSERT_TRUE(first.ok());
  auto second = network().Listen((*first)->local());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(Words(second.status()),
            "listen on " + (*first)->local().ToString() + ": Address already in use");
}

// A restart must not wait for the old connections' TIME_WAIT.
TEST_F(UringTest, ListenAgainOnAPortJustUsed) {
  auto first = network().Listen(AnyLoopbackPort());
  ASSERT_TRUE(first.ok());
  const SocketAddress address = (*first)->local();
  PlainSocket peer = PlainSocket::ConnectTo(address);
  auto accepted = Await((*first)->Accept());
  ASSERT_TRUE(accepted.ok());
  network().Discard(*accepted);  // We close first: TIME_WAIT is on our side.
  EXPECT_EQ(peer.Receive(1), "");
  peer.Close();
  first->reset();
  EXPECT_TRUE(network().Listen(address).ok());
}

TEST_F(UringTest, AcceptNamesBothEnds) {
  auto listener = network().Listen(AnyLoopbackPort());
  ASSERT_TRUE(listener.ok());
  PlainSocket peer = PlainSocket::ConnectTo((*listener)->local());
  auto accepted = Await((*listener)->Accept());
  ASSERT_TRUE(accepted.ok());
  EXPECT_EQ(accepted->remote, peer.address());
  EXPECT_EQ(accepted->local, (*listener)->local());
  std::unique_ptr<Connection> connection = network().Adopt(*accepted);
  EXPECT_EQ(connection->remote(), peer.address());
  peer.Send("EHLO x\r\n");
  EXPECT_EQ(*Read(connection.get(), Soon()), "EHLO x\r\n");
}

TEST_F(UringTest, ListenerOnAllAddressesTellsWhereThePeerCameIn) {
  auto listener = network().Listen(*SocketAddress::Parse("*:0"));
  ASSERT_TRUE(listener.ok());
  SocketAddress address = AnyLoopbackPort();
  address.port = (*listener)->local().port;
  PlainSocket peer = PlainSocket::ConnectTo(address);
  auto accepted = Await((*listener)->Accept());
  ASSERT_TRUE(accepted.ok());
  EXPECT_EQ(accepted->local, address);
  network().Discard(*accepted);
}

TEST_F(UringTest, DiscardHangsUp) {
  auto listener = network().Listen(AnyLoopbackPort());
  PlainSocket peer = PlainSocket::ConnectTo((*listener)->local());
  auto accepted = Await((*listener)->Accept());
  ASSERT_TRUE(accepted.ok());
  network().Discard(*accepted);
  EXPECT_EQ(peer.Receive(1), "");
}

TEST_F(UringTest, CancelEndsAnAcceptInFlightAndLaterOnes) {
  auto listener = network().Listen(AnyLoopbackPort());
  ASSERT_TRUE(listener.ok());
  std::optional<absl::StatusOr<AcceptedPeer>> accepted;
  Spawn(Store((*listener)->Accept(), &accepted));
  RunUntilQuiet();
  ASSERT_FALSE(accepted.has_value());
  (*listener)->Cancel();
  (*listener)->Cancel();
  RunToEnd();
  EXPECT_EQ(accepted->status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(Await((*listener)->Accept()).status().code(), absl::StatusCode::kCancelled);
}

TEST_F(UringTest, ConnectionRefusedIsSaidInTheSystemsWords) {
  SocketAddress address;
  {
    PlainSocket listening = PlainSocket::Listening();
    address = listening.address();
  }
  const auto connection = Await(network().Connect(address, std::nullopt, Soon()));
  EXPECT_EQ(connection.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Words(connection.status()), "Connection refused");
}

TEST_F(UringTest, ConnectFromAGivenSourceAddress) {
  PlainSocket listening = PlainSocket::Listening();
  const IpAddress source = *IpAddress::Parse("127.0.0.2");
  auto connection = Await(network().Connect(listening.address(), source, Soon()));
  ASSERT_TRUE(connection.ok()) << connection.status();
  EXPECT_EQ((*connection)->local().ip, source);
  EXPECT_NE((*connection)->local().port, 0);
}

TEST_F(UringTest, ConnectFromAForeignSourceAddressNamesIt) {
  PlainSocket listening = PlainSocket::Listening();
  const auto connection =
      Await(network().Connect(listening.address(), *IpAddress::Parse("192.0.2.1"), Soon()));
  EXPECT_EQ(Words(connection.status()), "bind 192.0.2.1: Cannot assign requested address");
}

// A listener whose backlog is full drops the SYN: the connect hangs, as with a dead host.
class StuckConnect : public UringTest {
 protected:
  StuckConnect() : listening_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    SystemAddress system = ToSystem(AnyLoopbackPort());
    EXPECT_EQ(bind(listening_.fd(), system.get(), system.length), 0);
    EXPECT_EQ(listen(listening_.fd(), 0), 0);
    filler_ = PlainSocket::ConnectTo(listening_.address());
  }
  PlainSocket listening_;
  PlainSocket filler_;
};

TEST_F(StuckConnect, EndsAtItsDeadline) {
  const auto connection =
      Await(network().Connect(listening_.address(), std::nullopt, In(absl::Milliseconds(20))));
  EXPECT_EQ(connection.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Words(connection.status()), "Connection timed out");
}

TEST_F(StuckConnect, EndsWhenConnectsAreCancelled) {
  std::optional<absl::StatusOr<std::unique_ptr<Connection>>> connection;
  Spawn(Store(network().Connect(listening_.address(), std::nullopt, Soon()), &connection));
  RunUntilQuiet();
  ASSERT_FALSE(connection.has_value());
  network().CancelConnects();
  RunToEnd();
  EXPECT_EQ(connection->status().code(), absl::StatusCode::kCancelled);
}

TEST_F(StuckConnect, WithADeadlineInThePastDoesNotTry) {
  const auto connection = Await(network().Connect(listening_.address(), std::nullopt, MonoTime{1}));
  EXPECT_EQ(connection.status().code(), absl::StatusCode::kDeadlineExceeded);
}

// Lowers the limit of descriptors to what is open already.
class NoDescriptorsLeft {
 public:
  NoDescriptorsLeft() {
    getrlimit(RLIMIT_NOFILE, &before_);
    const int lowest_free = dup(0);
    close(lowest_free);
    rlimit limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(lowest_free);
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  ~NoDescriptorsLeft() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(UringTest, OutOfDescriptorsIsResourceExhaustedAndPasses) {
  auto listener = network().Listen(AnyLoopbackPort());
  ASSERT_TRUE(listener.ok());
  PlainSocket peer = PlainSocket::ConnectTo((*listener)->local());
  {
    NoDescriptorsLeft limit;
    EXPECT_EQ(Await((*listener)->Accept()).status().code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(Await(network().Connect((*listener)->local(), std::nullopt, Soon())).status().code(),
              absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(network().Listen(AnyLoopbackPort()).status().code(),
              absl::StatusCode::kResourceExhausted);
  }
  auto accepted = Await((*listener)->Accept());
  ASSERT_TRUE(accepted.ok()) << accepted.status();
  EXPECT_EQ(accepted->remote, peer.address());
  network().Discard(*accepted);
}

// --- Many connections. ---

Task<void> Echo(UringNetwork* network, AcceptedPeer peer) {
  std::unique_ptr<Connection> connection = network->Adopt(peer);
  Buffer octets;
  while (true) {
    absl::StatusOr<size_t> n = co_await connection->Read(&octets, MonoTime::Infinite());
    if (!n.ok() || *n == 0) co_return;
    const absl::Status written = co_await connection->Write(octets.view(), MonoTime::Infinite());
    if (!written.ok()) co_return;
    octets.Clear();
  }
}

Task<void> EchoServer(UringNetwork* network, Listener* listener, TaskScope* scope) {
  while (true) {
    absl::StatusOr<AcceptedPeer> peer = co_await listener->Accept();
    if (!peer.ok()) co_return;
    scope->Spawn(Echo(network, *peer));
  }
}

Task<void> EchoClient(UringNetwork* network, SocketAddress server, int rounds, int* done) {
  absl::StatusOr<std::unique_ptr<Connection>> connection =
      co_await network->Connect(server, std::nullopt, MonoTime::Infinite());
  EXPECT_TRUE(connection.ok()) << connection.status();
  if (!connection.ok()) co_return;
  for (int round = 0; round < rounds; ++round) {
    const std::string sent = "message " + std::to_string(round);
    const absl::Status written = co_await (*connection)->Write(sent, MonoTime::Infinite());
    EXPECT_TRUE(written.ok()) << written;
    Buffer got;
    while (got.size() < sent.size()) {
      absl::StatusOr<size_t> n = co_await (*connection)->Read(&got, MonoTime::Infinite());
      EXPECT_TRUE(n.ok() && *n > 0);
      if (!n.ok() || *n == 0) co_return;
    }
    EXPECT_EQ(got.view(), sent);
  }
  ++*done;
}

class UringCrowd : public UringTest {
 protected:
  void RunCrowd(int clients, int rounds) {
    auto listener = network().Listen(AnyLoopbackPort());
    ASSERT_TRUE(listener.ok());
    Spawn(EchoServer(&network(), listener->get(), scope_.get()));
    int done = 0;
    for (int n = 0; n < clients; ++n) {
      Spawn(EchoClient(&network(), (*listener)->local(), rounds, &done));
    }
    shard_->Run([&] { return done == clients; });
    (*listener)->Cancel();
    RunToEnd();
    EXPECT_EQ(done, clients);
    shard_->RunOnce(absl::ZeroDuration());
    EXPECT_EQ(shard_->in_flight(), 0u) << "a completion was lost";
  }
};

TEST_F(UringCrowd, ManyConnectionsEchoManyRounds) { RunCrowd(200, 20); }

TEST_F(UringCrowd, ATinyRingOverflowsAndLosesNothing) {
  Restart(TinyRing());
  RunCrowd(100, 10);
  EXPECT_GT(shard_->counters().submission_queue_full.value(), 0u);
  EXPECT_GT(shard_->counters().completion_queue_overflow.value(), 0u);
  EXPECT_GT(shard_->counters().receive_buffers_exhausted.value(), 0u);
}

// --- Unix-domain sockets. ---

class UringUnix : public UringTest {
 protected:
  UringUnix() {
    std::string pattern = std::filesystem::temp_directory_path() / "mailrace-XXXXXX";
    directory_ = mkdtemp(pattern.data());
    path_ = directory_ / "admin";
  }
  ~UringUnix() override { std::filesystem::remove_all(directory_); }
  std::filesystem::path directory_;
  std::string path_;
};

TEST_F(UringUnix, TalksOverAPath) {
  auto listener = network().ListenUnix(path_, 0600);
  ASSERT_TRUE(listener.ok()) << listener.status();
  auto client = Await(network().ConnectUnix(path_, Soon()));
  ASSERT_TRUE(client.ok()) << client.status();
  auto accepted = Await((*listener)->Accept());
  ASSERT_TRUE(accepted.ok());
  EXPECT_EQ(accepted->remote, SocketAddress{});
  std::unique_ptr<Connection> server = network().Adopt(*accepted);
  EXPECT_TRUE(Write(client->get(), "stats\n").ok());
  EXPECT_EQ(*Read(server.get(), Soon()), "stats\n");
}

TEST_F(UringUnix, TheFileHasTheModeAskedForWhateverTheUmask) {
  const mode_t before = umask(0077);
  auto listener = network().ListenUnix(path_, 0660);
  umask(before);
  ASSERT_TRUE(listener.ok());
  struct stat found{};
  ASSERT_EQ(stat(path_.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0660u);
}

TEST_F(UringUnix, TheFileGoesWithTheListener) {
  auto listener = network().ListenUnix(path_, 0600);
  ASSERT_TRUE(listener.ok());
  listener->reset();
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(UringUnix, WhatAKilledProcessLeftIsReplaced) {
  {
    PlainSocket killed(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    SystemAddress system = *ToSystem(path_);
    ASSERT_EQ(bind(killed.fd(), system.get(), system.length), 0);
  }
  ASSERT_TRUE(std::filesystem::exists(path_));
  EXPECT_TRUE(network().ListenUnix(path_, 0600).ok());
}

TEST_F(UringUnix, ALivingListenerIsNotReplaced) {
  auto first = network().ListenUnix(path_, 0600);
  ASSERT_TRUE(first.ok());
  auto second = network().ListenUnix(path_, 0600);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(Words(second.status()), HasSubstr("another process listens there"));
}

TEST_F(UringUnix, AnOrdinaryFileIsNotReplaced) {
  close(open(path_.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  EXPECT_EQ(network().ListenUnix(path_, 0600).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(UringUnix, NobodyThereIsSaid) {
  EXPECT_EQ(Words(Await(network().ConnectUnix(path_, Soon())).status()),
            "No such file or directory");
}

TEST_F(UringUnix, APathTooLongIsRefused) {
  const std::string path(200, 'x');
  EXPECT_EQ(network().ListenUnix(path, 0600).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Await(network().ConnectUnix(path, Soon())).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace mailrace::transport::uring

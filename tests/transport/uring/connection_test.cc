#include "tests/transport/uring/fixture.h"
#include "transport/uring/uring_connection.h"

namespace mailrace::transport::uring {
namespace {

std::string Pattern(size_t octets) {
  std::string text(octets, '\0');
  for (size_t n = 0; n < octets; ++n) text[n] = static_cast<char>((n * 31 + n / 251) & 0xff);
  return text;
}

std::string Words(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

TEST_F(UringTest, ReadsWhatThePeerWrote) {
  auto [connection, peer] = Connected();
  peer.Send("220 ready\r\n");
  EXPECT_EQ(*Read(connection.get(), Soon()), "220 ready\r\n");
}

TEST_F(UringTest, WritesWhatThePeerReads) {
  auto [connection, peer] = Connected();
  EXPECT_TRUE(Write(connection.get(), "EHLO client.example\r\n").ok());
  EXPECT_EQ(peer.Receive(100), "EHLO client.example\r\n");
}

TEST_F(UringTest, EmptyWriteIsDoneAtOnce) {
  auto [connection, peer] = Connected();
  EXPECT_TRUE(Write(connection.get(), "").ok());
}

TEST_F(UringTest, NamesBothEnds) {
  PlainSocket listening = PlainSocket::Listening();
  auto connection = Await(network().Connect(listening.address(), std::nullopt, Soon()));
  ASSERT_TRUE(connection.ok());
  EXPECT_EQ((*connection)->remote(), listening.address());
  EXPECT_EQ((*connection)->local().ip.ToString(), "127.0.0.1");
  EXPECT_NE((*connection)->local().port, 0);
}

TEST_F(UringTest, ReadIsZeroAfterThePeersFin) {
  auto [connection, peer] = Connected();
  peer.Send("bye");
  peer.Finish();
  EXPECT_EQ(*Read(connection.get(), Soon()), "bye");
  EXPECT_EQ(*Read(connection.get(), Soon()), "");
  // The other direction is still open.
  EXPECT_TRUE(Write(connection.get(), "QUIT\r\n").ok());
  EXPECT_EQ(peer.Receive(100), "QUIT\r\n");
}

TEST_F(UringTest, ResetIsUnavailableWithTheSystemsWords) {
  auto [connection, peer] = Connected();
  peer.CloseWithReset();
  const auto read = Read(connection.get(), Soon());
  EXPECT_EQ(read.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Words(read.status()), "Connection reset by peer");
}

TEST_F(UringTest, ResetEndsAReadInFlight) {
  auto [connection, peer] = Connected();
  std::optional<absl::StatusOr<size_t>> result;
  Buffer into;
  Spawn(Store(ReadTask(connection.get(), &into, Soon()), &result));
  RunUntilQuiet();
  ASSERT_FALSE(result.has_value());
  peer.CloseWithReset();
  RunToEnd();
  EXPECT_EQ(Words(result->status()), "Connection reset by peer");
}

TEST_F(UringTest, WriteAfterThePeerWentFailsAndRaisesNoSignal) {
  auto [connection, peer] = Connected();
  peer.CloseWithReset();
  EXPECT_EQ(Read(connection.get(), Soon()).status().code(), absl::StatusCode::kUnavailable);
  const absl::Status written = Write(connection.get(), "x");
  EXPECT_EQ(written.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Words(written), "Broken pipe");
}

TEST_F(UringTest, ReadDeadlinePassesAndTheConnectionStaysUsable) {
  auto [connection, peer] = Connected();
  const auto read = Read(connection.get(), In(absl::Milliseconds(5)));
  EXPECT_EQ(read.status().code(), absl::StatusCode::kDeadlineExceeded);
  peer.Send("late");
  EXPECT_EQ(*Read(connection.get(), Soon()), "late");
}

TEST_F(UringTest, DeadlineInThePastReadsNothing) {
  auto [connection, peer] = Connected();
  peer.Send("here already");
  const auto read = Read(connection.get(), MonoTime{1});
  EXPECT_EQ(read.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(*Read(connection.get(), Soon()), "here already");
}

TEST_F(UringTest, WriteDeadlinePassesWhenThePeerReadsNothing) {
  auto [connection, peer] = Connected(4096);
  const absl::Status written =
      Await(WriteTask(connection.get(), std::string(32 << 20, 'x'), In(absl::Milliseconds(20))));
  EXPECT_EQ(written.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(UringTest, CancelEndsWhatIsInFlightAndAllThatFollows) {
  auto [connection, peer] = Connected(4096);
  std::optional<absl::StatusOr<size_t>> read;
  std::optional<absl::Status> written;
  Buffer into;
  Spawn(Store(ReadTask(connection.get(), &into, Soon()), &read));
  Spawn(Store(WriteTask(connection.get(), std::string(32 << 20, 'x'), Soon()), &written));
  RunUntilQuiet();
  ASSERT_FALSE(read.has_value());
  ASSERT_FALSE(written.has_value());
  connection->Cancel();
  connection->Cancel();
  RunToEnd();
  EXPECT_EQ(read->status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(written->code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(Read(connection.get(), Soon()).status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(Write(connection.get(), "x").code(), absl::StatusCode::kCancelled);
}

TEST_F(UringTest, CancelWithNothingInFlightIsRemembered) {
  auto [connection, peer] = Connected();
  peer.Send("unheard");
  connection->Cancel();
  EXPECT_EQ(Read(connection.get(), Soon()).status().code(), absl::StatusCode::kCancelled);
}

TEST_F(UringTest, CancelReadLosesNoOctetWhoeverWins) {
  for (int round = 0; round < 50; ++round) {
    auto [connection, peer] = Connected();
    std::optional<absl::StatusOr<size_t>> result;
    Buffer into;
    Spawn(Store(ReadTask(connection.get(), &into, Soon()), &result));
    RunUntilQuiet();
    if (round % 2 == 0) peer.Send("421 bye");
    connection->CancelRead();
    if (round % 2 == 1) peer.Send("421 bye");
    RunToEnd();
    if (result->ok()) {
      EXPECT_EQ(into.view(), "421 bye");
      continue;
    }
    EXPECT_EQ(result->status().code(), absl::StatusCode::kCancelled);
    EXPECT_TRUE(into.empty());
    EXPECT_EQ(*Read(connection.get(), Soon()), "421 bye");
  }
}

// The kernel has the octets taken from the socket already when the cancel (or the
// deadline) comes: they are the reader's.
TEST(UringConnection, ACancelTooLateGivesTheOctets) {
  SystemClock clock;
  Loop loop(&clock);
  Ring ring;
  ASSERT_TRUE(ring.Open({}).ok());
  PlainSocket listening = PlainSocket::Listening();
  PlainSocket peer = PlainSocket::ConnectTo(listening.address());
  UringConnection connection(&ring, &loop, Descriptor(dup(peer.fd())), {}, {});
  PlainSocket other_end = listening.Accept();

  IoOperation operation;
  Buffer into;
  operation.into = &into;
  operation.handle = std::noop_coroutine();
  struct Starter : Connection {
    using Connection::StartRead;
  };
  (connection.*(&Starter::StartRead))(&operation);
  other_end.Send("421 bye");
  ring.SubmitAndWait(absl::InfiniteDuration());  // Completed, not dispatched.
  connection.Cancel();
  while (ring.in_flight() > 0) {
    ring.Dispatch();
    ring.SubmitAndWait(absl::ZeroDuration());
  }
  EXPECT_TRUE(operation.status.ok()) << operation.status;
  EXPECT_EQ(operation.octets, 7u);
  EXPECT_EQ(into.view(), "421 bye");
}

TEST_F(UringTest, CancelReadEndsOneReadOnly) {
  auto [connection, peer] = Connected();
  connection->CancelRead();  // None in flight: harmless.
  std::optional<absl::StatusOr<size_t>> result;
  Buffer into;
  Spawn(Store(ReadTask(connection.get(), &into, Soon()), &result));
  RunUntilQuiet();
  connection->CancelRead();
  RunToEnd();
  EXPECT_EQ(result->status().code(), absl::StatusCode::kCancelled);
  peer.Send("250 ok");
  EXPECT_EQ(*Read(connection.get(), Soon()), "250 ok");
  EXPECT_TRUE(Write(connection.get(), "MAIL").ok());
}

// A cancel request of a read that ended by itself must not hit the next one.
TEST_F(UringTest, LateCancelDoesNotEndTheNextRead) {
  auto [connection, peer] = Connected();
  for (int round = 0; round < 20; ++round) {
    std::optional<absl::StatusOr<size_t>> first;
    Buffer into;
    Spawn(Store(ReadTask(connection.get(), &into, Soon()), &first));
    RunUntilQuiet();
    peer.Send("a");
    connection->CancelRead();
    RunToEnd();
    if (!first->ok()) {
      EXPECT_EQ(*Read(connection.get(), Soon()), "a");
    }
    std::optional<absl::StatusOr<size_t>> second;
    Spawn(Store(ReadTask(connection.get(), &into, Soon()), &second));
    RunUntilQuiet();
    EXPECT_FALSE(second.has_value());
    peer.Send("b");
    RunToEnd();
    EXPECT_TRUE(second->ok());
  }
}

Task<void> Copy(Connection* connection, const std::string* out) {
  const absl::Status status = co_await connection->Write(*out, MonoTime::Infinite());
  EXPECT_TRUE(status.ok()) << status;
}

Task<void> Collect(Connection* connection, size_t octets, Buffer* into) {
  while (into->size() < octets) {
    absl::StatusOr<size_t> n = co_await connection->Read(into, MonoTime::Infinite());
    EXPECT_TRUE(n.ok()) << n.status();
    if (!n.ok() || *n == 0) co_return;
  }
}

struct Shape {
  const char* name;
  int socket_buffer;
  bool tiny_ring;
};

class UringTransfer : public UringTest, public testing::WithParamInterface<Shape> {};

// Both directions at once, with more in each than all buffers hold.
TEST_P(UringTransfer, LargeTransfersBothWaysArriveWhole) {
  UringShardOptions options = GetParam().tiny_ring ? TinyRing() : UringShardOptions{};
  options.sockets.send_buffer_octets = GetParam().socket_buffer;
  options.sockets.receive_buffer_octets = GetParam().socket_buffer;
  Restart(options);
  auto listener = network().Listen(AnyLoopbackPort());
  ASSERT_TRUE(listener.ok());
  auto client = Await(network().Connect((*listener)->local(), std::nullopt, Soon()));
  ASSERT_TRUE(client.ok());
  auto accepted = Await((*listener)->Accept());
  ASSERT_TRUE(accepted.ok());
  std::unique_ptr<Connection> server = network().Adopt(*accepted);
  const std::string up = Pattern(1 << 20);
  const std::string down = Pattern((1 << 20) + 12345);
  Buffer got_up;
  Buffer got_down;
  Spawn(Copy(client->get(), &up));
  Spawn(Copy(server.get(), &down));
  Spawn(Collect(server.get(), up.size(), &got_up));
  Spawn(Collect(client->get(), down.size(), &got_down));
  RunToEnd();
  EXPECT_TRUE(got_up.view() == up);
  EXPECT_TRUE(got_down.view() == down);
}

INSTANTIATE_TEST_SUITE_P(Shapes, UringTransfer,
                         testing::Values(Shape{"KernelTuned", 0, false},
                                         Shape{"TinySockets", 4096, false},
                                         Shape{"TinyRing", 0, true}, Shape{"TinyBoth", 4096, true}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_F(UringTest, IdleShardSleepsUntilItsNextDeadline) {
  auto [connection, peer] = Connected();
  const uint64_t before = shard_->counters().turns.value();
  EXPECT_EQ(Read(connection.get(), In(absl::Milliseconds(100))).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  // Start, wait, cancel, reap: a handful of turns, however long the wait was.
  EXPECT_LT(shard_->counters().turns.value() - before, 10u);
}

TEST_F(UringTest, NothingIsLeftInFlight) {
  {
    auto [connection, peer] = Connected();
    peer.Send("x");
    EXPECT_EQ(*Read(connection.get(), Soon()), "x");
    EXPECT_FALSE(Read(connection.get(), In(absl::Milliseconds(2))).ok());
  }
  shard_->RunOnce(absl::ZeroDuration());
  EXPECT_EQ(shard_->in_flight(), 0u);
}

using UringDeathTest = UringTest;

TEST_F(UringDeathTest, ConnectionDestroyedInFlightEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "fast");
  auto [connection, peer] = Connected();
  std::optional<absl::StatusOr<size_t>> result;
  Buffer into;
  Spawn(Store(ReadTask(connection.get(), &into, Soon()), &result));
  RunUntilQuiet();
  EXPECT_DEATH(connection.reset(), "destroyed in flight");
  connection->Cancel();
  RunToEnd();
}

}  // namespace
}  // namespace mailrace::transport::uring

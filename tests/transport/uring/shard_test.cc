#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <atomic>
#include <thread>

#include "tests/transport/uring/fixture.h"
#include "transport/uring/probe.h"

namespace mailrace::transport::uring {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(ProbeUring, SaysYesWhereRingsWork) {
  const absl::Status probed = ProbeUring();
  EXPECT_TRUE(probed.ok()) << probed;
}

// Makes io_uring_setup fail in this process with `error_number`, as a container's
// filter does, and exits with the probe's status code.
[[noreturn]] void ProbeUnderFilter(int error_number) {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error_number)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{4, filter};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) _exit(99);
  const absl::Status probed = ProbeUring();
  fprintf(stderr, "%.*s\n", static_cast<int>(probed.message().size()), probed.message().data());
  _exit(static_cast<int>(probed.code()));
}

void ExpectRefusal(int error_number, absl::StatusCode code, const char* advice) {
  EXPECT_EXIT(ProbeUnderFilter(error_number), testing::ExitedWithCode(static_cast<int>(code)),
              advice);
}

TEST(ProbeUringDeathTest, ForbiddenIsOneLineWithAdvice) {
  ExpectRefusal(EPERM, absl::StatusCode::kPermissionDenied, "kernel.io_uring_disabled=0");
}

TEST(ProbeUringDeathTest, MissingIsOneLineWithAdvice) {
  ExpectRefusal(ENOSYS, absl::StatusCode::kUnimplemented, "Linux 6.1 or newer");
}

TEST(ProbeUringDeathTest, LockedMemoryIsOneLineWithAdvice) {
  ExpectRefusal(ENOMEM, absl::StatusCode::kResourceExhausted, "LimitMEMLOCK=");
}

TEST(UringRefusal, IsOneLineForEveryError) {
  for (int error_number = 1; error_number < 134; ++error_number) {
    const absl::Status status = UringRefusal("io_uring_setup", error_number);
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(status.ToString(), Not(HasSubstr("\n")));
  }
}

TEST(UringShard, OpenSaysWhyItCannot) {
  SystemClock clock;
  UringShardOptions options;
  options.ring.receive_buffers = 3;  // Not a power of two.
  UringShard shard(&clock, options);
  EXPECT_FALSE(shard.Open().ok());
}

TEST(UringShard, IsBuiltOnOneThreadAndRunOnAnother) {
  SystemClock clock;
  auto shard = std::make_unique<UringShard>(&clock);
  bool woken = false;
  shard->OnWake([&] { woken = true; });
  shard->Wake();  // Before the shard runs: heard all the same.
  std::thread thread([&] {
    ASSERT_TRUE(shard->Open().ok());
    shard->Run([&] { return woken; });
    shard.reset();
  });
  thread.join();
  EXPECT_TRUE(woken);
}

TEST(UringShard, WakeFromManyThreadsIsNeverMissed) {
  SystemClock clock;
  std::atomic<int> posted{0};
  int seen = 0;
  UringShard shard(&clock);
  shard.OnWake([&] { seen = posted.load(); });
  ASSERT_TRUE(shard.Open().ok());
  constexpr int kThreads = 4;
  constexpr int kPosts = 1000;
  std::vector<std::thread> threads;
  for (int n = 0; n < kThreads; ++n) {
    threads.emplace_back([&] {
      for (int post = 0; post < kPosts; ++post) {
        posted.fetch_add(1);
        shard.Wake();
      }
    });
  }
  // Hangs if a bell is missed: nothing else would wake the shard.
  shard.Run([&] { return seen == kThreads * kPosts; });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(seen, kThreads * kPosts);
}

TEST(UringShard, WakesInItsOwnTurnToo) {
  SystemClock clock;
  UringShard shard(&clock);
  int rings = 0;
  shard.OnWake([&] {
    if (++rings < 3) shard.Wake();
  });
  ASSERT_TRUE(shard.Open().ok());
  shard.Wake();
  shard.Run([&] { return rings == 3; });
  EXPECT_EQ(rings, 3);
}

Task<void> SleepTwice(Loop* loop, std::vector<MonoTime>* woken) {
  for (int n = 0; n < 2; ++n) {
    co_await SleepUntil(loop, loop->now() + absl::Milliseconds(3));
    woken->push_back(loop->now());
  }
}

TEST(UringShard, TimersFireNotBeforeTheirTime) {
  SystemClock clock;
  UringShard shard(&clock);
  ASSERT_TRUE(shard.Open().ok());
  TaskScope scope(&shard.loop());
  std::vector<MonoTime> woken;
  const MonoTime begin = clock.Mono();
  scope.Spawn(SleepTwice(&shard.loop(), &woken));
  shard.Run([&] { return scope.running() == 0; });
  ASSERT_EQ(woken.size(), 2u);
  EXPECT_GE(woken[0] - begin, absl::Milliseconds(3));
  EXPECT_GE(woken[1] - woken[0], absl::Milliseconds(3));
}

TEST(UringShard, RunOnceComesBackWhenItsTimeIsUp) {
  SystemClock clock;
  UringShard shard(&clock);
  ASSERT_TRUE(shard.Open().ok());
  const MonoTime begin = clock.Mono();
  shard.RunOnce(absl::Milliseconds(5));
  EXPECT_GE(clock.Mono() - begin, absl::Milliseconds(5));
}

// What is accepted on one shard is served by another.
Task<void> AcceptOne(Listener* listener, AcceptedPeer* peer) {
  absl::StatusOr<AcceptedPeer> accepted = co_await listener->Accept();
  EXPECT_TRUE(accepted.ok()) << accepted.status();
  if (accepted.ok()) *peer = *accepted;
}

Task<void> Greet(UringNetwork* network, AcceptedPeer peer) {
  std::unique_ptr<Connection> connection = network->Adopt(peer);
  const absl::Status written = co_await connection->Write("220 hello\r\n", MonoTime::Infinite());
  EXPECT_TRUE(written.ok()) << written;
}

TEST_F(UringTest, APeerIsHandedToAnotherShard) {
  auto listener = network().Listen(AnyLoopbackPort());
  ASSERT_TRUE(listener.ok());
  PlainSocket client = PlainSocket::ConnectTo((*listener)->local());
  AcceptedPeer peer;
  Spawn(AcceptOne(listener->get(), &peer));
  RunToEnd();
  std::thread other([&] {
    UringShard shard(&clock_);
    ASSERT_TRUE(shard.Open().ok());
    TaskScope scope(&shard.loop());
    scope.Spawn(Greet(&shard.network(), peer));
    shard.Run([&] { return scope.running() == 0; });
  });
  other.join();
  EXPECT_EQ(client.Receive(100), "220 hello\r\n");
}

TEST(UringShard, AForgottenOperationEndsTheProcess) {
  EXPECT_DEATH(
      {
        SystemClock clock;
        Waker waker;
        Ring ring;
        if (!ring.Open({}).ok()) return;
        if (!waker.Start(&ring, {}).ok()) return;
      },
      "destroyed");
}

}  // namespace
}  // namespace mailrace::transport::uring

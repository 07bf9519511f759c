#include "transport/smtp/stream_window.h"

#include <algorithm>
#include <deque>
#include <vector>

#include "gtest/gtest.h"

namespace mailrace::transport::smtp {
namespace {

// A server at the end of a way, that takes one message after the other, and sessions that
// stream to it all that the window allows.
class World {
 public:
  World(size_t max, size_t sessions) : window_(max), sessions_(sessions) {}

  absl::Duration trip, service;
  absl::Duration jitter;  // Of the trip: in turn nothing, a half and all of it more.

  // Until so many were answered. Returns messages a second.
  double Answer(size_t messages) {
    const MonoTime begin = now_;
    for (size_t i = 0; i < messages; ++i) AnswerOne();
    return static_cast<double>(messages) / absl::ToDoubleSeconds(now_ - begin);
  }
  void AnswerFor(absl::Duration time) {
    const MonoTime end = now_ + time;
    while (now_ < end) AnswerOne();
  }
  size_t window() { return window_.Now(now_); }
  // How long a message that comes now would wait for its turn at the server.
  absl::Duration wait() const { return std::max(absl::ZeroDuration(), free_ - now_); }

 private:
  struct Message {
    MonoTime said, answered;
    size_t under_way;
  };
  using Session = std::deque<Message>;

  void AnswerOne() {
    for (Session& session : sessions_) Fill(&session);
    Session* first = nullptr;
    for (Session& session : sessions_) {
      const bool sooner = !session.empty() &&
                          (first == nullptr || session.front().answered < first->front().answered);
      if (sooner) first = &session;
    }
    ASSERT_NE(first, nullptr);
    const Message message = first->front();
    first->pop_front();
    now_ = std::max(now_, message.answered);
    window_.Answered(message.under_way, message.said, now_);
  }
  void Fill(Session* session) {
    while (session->size() < window_.Now(now_)) {
      free_ = std::max(now_, free_) + service;
      session->push_back({now_, free_ + trip + jitter * (number_++ % 3) / 2, session->size() + 1});
    }
  }

  StreamWindow window_;
  std::vector<Session> sessions_;
  MonoTime now_, free_;
  int number_ = 0;
};

World At(absl::Duration trip, absl::Duration service, size_t sessions = 1, size_t max = 16) {
  World world(max, sessions);
  world.trip = trip;
  world.service = service;
  return world;
}

TEST(StreamWindow, BeginsWithAMessageAlone) { EXPECT_EQ(StreamWindow(16).Now({}), 1u); }

TEST(StreamWindow, OpensToItsLimitForAServerThatIsFarAway) {
  World world = At(absl::Milliseconds(80), absl::Microseconds(100));
  world.Answer(200);
  EXPECT_EQ(world.window(), 16u);
  EXPECT_GT(world.Answer(1000), 15 / 0.080);
}

// 20 messages a round trip are asked of the first seconds too.
TEST(StreamWindow, DoublesWithEachRoundTrip) {
  World world = At(absl::Milliseconds(80), absl::Microseconds(100), 1, 32);
  // One for the message alone, then 2, 4, 8 and 16; and what the messages themselves take.
  world.AnswerFor(absl::Milliseconds(5 * 80 + 10));
  EXPECT_EQ(world.window(), 32u);
  EXPECT_GT(world.Answer(1000), 31 / 0.085);
}

TEST(StreamWindow, OpensAsFarAsARoundTripHasRoom) {
  World world = At(absl::Milliseconds(10), absl::Milliseconds(1), 1, 1000);
  world.Answer(1000);
  // Eleven are under way when nobody stands in line.
  EXPECT_GE(world.window(), 10u);
  EXPECT_LE(world.window(), 13u);
  EXPECT_GT(world.Answer(1000), 900);
  EXPECT_LE(world.wait(), absl::Milliseconds(3));
}

TEST(StreamWindow, StaysAtTwoForAServerThatIsSlowAndNotFar) {
  World world = At(absl::Microseconds(100), absl::Milliseconds(20));
  for (int i = 0; i < 1000; ++i) {
    world.Answer(1);
    ASSERT_LE(world.window(), 2u);
  }
}

TEST(StreamWindow, SessionsThatStandInLineWithEachOtherOpenNothing) {
  World world = At(absl::Microseconds(100), absl::Milliseconds(5), 20);
  world.Answer(100);
  // Measured anew while each has one message: the line is the server's own slowness.
  world.AnswerFor(3 * StreamWindow::kBelieved);
  EXPECT_LE(world.window(), 2u);
}

TEST(StreamWindow, ManySessionsWithAServerFarAwayOpenEach) {
  World world = At(absl::Milliseconds(80), absl::Microseconds(10), 20);
  world.Answer(20'000);
  EXPECT_EQ(world.window(), 16u);
}

TEST(StreamWindow, ClosesWhenTheServerBecomesSlow) {
  World world = At(absl::Milliseconds(40), absl::Microseconds(100));
  world.Answer(500);
  ASSERT_EQ(world.window(), 16u);
  world.service = absl::Milliseconds(40);
  world.Answer(60);
  EXPECT_LE(world.window(), 3u);
}

TEST(StreamWindow, ALongerWayIsNoSlowerServer) {
  World world = At(absl::Milliseconds(5), absl::Microseconds(100));
  world.Answer(500);
  world.trip = absl::Milliseconds(80);
  world.AnswerFor(StreamWindow::kBelieved + absl::Seconds(5));
  EXPECT_EQ(world.window(), 16u);
}

TEST(StreamWindow, IsNotClosedByJitter) {
  World world = At(absl::Milliseconds(80), absl::Microseconds(100));
  world.jitter = absl::Milliseconds(8);
  world.Answer(2000);
  EXPECT_EQ(world.window(), 16u);
}

TEST(StreamWindow, LearnsNothingFromWhoUsesLessOfIt) {
  StreamWindow window(16);
  MonoTime now;
  const absl::Duration took = absl::Milliseconds(20);
  for (int i = 0; i < 100; ++i) window.Answered(1, now, now + took);
  EXPECT_EQ(window.Now(now), 2u);
}

TEST(StreamWindow, OneIsALimitToo) {
  World world = At(absl::Milliseconds(80), absl::Microseconds(100), 1, 1);
  world.Answer(100);
  EXPECT_EQ(world.window(), 1u);
}

TEST(StreamWindow, AServerInDoubtBeginsAgain) {
  StreamWindow window(16);
  MonoTime now;
  for (int i = 0; i < 100; ++i) {
    const MonoTime said = now;
    now = now + absl::Milliseconds(20);
    window.Answered(window.Now(said), said, now);
  }
  ASSERT_EQ(window.Now(now), 16u);
  window.StartAgain();
  EXPECT_EQ(window.Now(now), 2u);
}

}  // namespace
}  // namespace mailrace::transport::smtp

// What dialogues cannot show: large content, slow and stuck peers, many recipients, and
// the pool's waiting.
#include "transport/smtp/client_session.h"

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "../fakes/memory_connection.h"
#include "base/sync.h"
#include "fake_messages.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrace::transport::smtp {
namespace {

using fakes::MakeMemoryPair;
using fakes::MemoryPair;
using fakes::RunUntilQuiet;
using Result = OutgoingRecipient::Result;

constexpr char kPipelining[] = "250-server.example\r\n250 PIPELINING\r\n";

std::string Lines(size_t octets) {
  std::string content;
  while (content.size() < octets) content += fmt::format(".line {}\r\n", content.size());
  return content;
}

class ClientSessionTest : public testing::Test {
 protected:
  ClientSessionTest() : loop_(&clock_), scope_(&loop_), pair_(MakeMemoryPair(&loop_)) {
    ClientSessionOptions options;
    options.helo_name = "client.example";
    session_ = std::make_unique<ClientSession>(
        &loop_, std::make_unique<Stream>(std::move(pair_.client.connection)), options);
  }
  ~ClientSessionTest() override {
    session_->Cancel();
    RunUntilQuiet(&loop_, &clock_);
  }

  // The server says `octets`, and the client does what it then can.
  void Say(std::string_view octets) {
    pair_.client.wire->octets += octets;
    if (pair_.client.wire->reader != nullptr) pair_.client.wire->reader->Progress();
    RunUntilQuiet(&loop_);
  }
  // What the client sent since the last call.
  std::string Heard() {
    RunUntilQuiet(&loop_);
    std::string octets = std::exchange(pair_.server.wire->octets, "");
    if (pair_.server.wire->writer != nullptr) pair_.server.wire->writer->Progress();
    RunUntilQuiet(&loop_);
    return octets;
  }
  void Pass(absl::Duration time) {
    clock_.Advance(time);
    loop_.RunAllReady();
    RunUntilQuiet(&loop_);
  }

  static Task<void> Open(ClientSession* session) {
    const std::optional<Failure> greeting = co_await session->ReadGreeting();
    EXPECT_FALSE(greeting);
    const std::optional<Failure> ehlo = co_await session->Ehlo();
    EXPECT_FALSE(ehlo);
  }
  void OpenSession(std::string_view ehlo_reply = kPipelining) {
    scope_.Spawn(Open(session_.get()));
    Say("220 server.example\r\n");
    ASSERT_EQ(Heard(), "EHLO client.example\r\n");
    Say(ehlo_reply);
  }

  static Task<void> Run(ClientSessionTest* self) {
    self->running_ = true;
    self->failure_ = co_await self->session_->RunTransactions(&self->source_);
    self->running_ = false;
  }
  FakeMessage* Offer(std::string name, std::string content) {
    messages_.push_back(MakeMessage(std::move(name), std::move(content)));
    source_.waiting.push_back(messages_.back().get());
    return messages_.back().get();
  }
  void StartRun() {
    scope_.Spawn(Run(this));
    RunUntilQuiet(&loop_);
  }
  // One recipient, up to the 354.
  FakeMessage* StartContent(std::string content) {
    OpenSession();
    FakeMessage* const message = Offer("m1", std::move(content));
    message->Add("b@x.example");
    StartRun();
    EXPECT_THAT(Heard(), testing::StartsWith("MAIL FROM:<a@example.org>\r\n"));
    return message;
  }
  // The server says this in the middle of a large content, and hangs up.
  const FakeMessage* RefuseInTheContent(std::string_view reply) {
    pair_.server.wire->capacity = 1000;
    const FakeMessage* const message = StartContent(Lines(300'000));
    Go();
    pair_.client.wire->octets += reply;
    pair_.server.wire->reader_gone = true;
    pair_.server.wire->writer->Progress();
    RunUntilQuiet(&loop_);
    EXPECT_FALSE(running_);
    return message;
  }
  void Go() { Say("250 ok\r\n250 ok\r\n354 go\r\n"); }

  static Task<void> Wait(ClientSessionTest* self, MonoTime deadline) {
    self->waiting_ = true;
    self->usable_ = co_await self->session_->AwaitIdle(deadline);
    self->waiting_ = false;
  }
  void StartWait(absl::Duration time) {
    scope_.Spawn(Wait(this, loop_.now() + time));
    RunUntilQuiet(&loop_);
  }

  SimClock clock_;
  Loop loop_;
  TaskScope scope_;
  MemoryPair pair_;
  std::unique_ptr<ClientSession> session_;
  std::vector<std::unique_ptr<FakeMessage>> messages_;
  FakeSource source_;
  std::optional<Failure> failure_;
  bool running_ = false;
  bool waiting_ = false;
  bool usable_ = false;
};

std::string Stuffed(std::string_view content) {
  std::string out;
  for (size_t i = 0; i < content.size(); ++i) {
    if (content[i] == '.' && (i == 0 || content[i - 1] == '\n')) out += '.';
    out += content[i];
  }
  return out + ".\r\n";
}

TEST_F(ClientSessionTest, LargeContentGoesInBlocksAndComesWhole) {
  const std::string content = Lines(1'000'000);
  pair_.server.wire->capacity = 1000;
  FakeMessage* const message = StartContent(content);
  Go();
  std::string sent;
  size_t output_max = 0;
  for (std::string part = Heard(); !part.empty(); part = Heard()) {
    sent += part;
    output_max = std::max(output_max, session_->stream().output().size());
  }
  EXPECT_EQ(sent, Stuffed(content));
  // A block stuffed, and the block it was appended to: not the message.
  EXPECT_LE(output_max, 3 * ClientSession::kBlockOctets);
  Say("250 ok\r\n");
  EXPECT_EQ(message->recipients[0].result, Result::kAccepted);
  EXPECT_FALSE(failure_);
}

// O-07: a dot at every place around the end of a block and of a chunk.
TEST_F(ClientSessionTest, ContentIsTheSameInAllCuts) {
  OpenSession();
  const std::string content = Lines(400);
  for (size_t cut = 1; cut < content.size(); ++cut) {
    FakeMessage* const message = Offer("m", "");
    message->Add("b@x.example");
    message->chunks = {content.substr(0, cut), content.substr(cut)};
    StartRun();
    Heard();
    Go();
    ASSERT_EQ(Heard(), Stuffed(content)) << cut;
    Say("250 ok\r\n");
    ASSERT_EQ(message->recipients[0].result, Result::kAccepted);
  }
  EXPECT_EQ(session_->transactions(), content.size() - 1);
}

// P-12: the deadline is a block's, not the message's.
TEST_F(ClientSessionTest, APeerThatReadsNothingTimesOutOnABlock) {
  pair_.server.wire->capacity = 1000;
  FakeMessage* const message = StartContent(Lines(300'000));
  Go();
  Pass(absl::Seconds(179));
  EXPECT_TRUE(running_);
  Pass(absl::Seconds(2));
  Pass(absl::Seconds(6));  // It might have said why.
  ASSERT_FALSE(running_);
  EXPECT_EQ(failure_->kind, Failure::Kind::kTimeout);
  EXPECT_EQ(failure_->step, Step::kBody);
  EXPECT_EQ(message->recipients[0].result, Result::kFailed);
}

TEST_F(ClientSessionTest, ASlowPeerThatTakesEachBlockInTimeIsServed) {
  pair_.server.wire->capacity = 70'000;
  FakeMessage* const message = StartContent(Lines(300'000));
  Go();
  std::string sent;
  while (running_ && sent.find("\r\n.\r\n") == std::string::npos) {
    Pass(absl::Seconds(170));
    sent += Heard();
  }
  EXPECT_GT(clock_.Mono() - MonoTime{1}, absl::Seconds(600));
  ASSERT_TRUE(running_);
  Say("250 ok\r\n");
  EXPECT_EQ(message->recipients[0].result, Result::kAccepted);
}

// P-13.
TEST_F(ClientSessionTest, ARefusalThatCameBeforeTheConnectionBrokeIsRead) {
  pair_.server.wire->capacity = 1000;
  FakeMessage* const message = StartContent(Lines(300'000));
  Go();
  pair_.client.wire->octets += "552 5.3.4 too big\r\n";
  pair_.server.wire->reader_gone = true;
  pair_.server.wire->writer->Progress();
  RunUntilQuiet(&loop_);
  ASSERT_FALSE(running_);
  EXPECT_EQ(failure_->kind, Failure::Kind::kLost);
  EXPECT_EQ(message->recipients[0].result, Result::kRefused);
  EXPECT_EQ(message->recipients[0].step, Step::kBody);
  EXPECT_EQ(message->recipients[0].reply->code, 552);
}

// 5.2, body: what the server said while it still got content, before it hung up, is its word
// on the message.
TEST_F(ClientSessionTest, A421InTheContentDefers) {
  const FakeMessage* const message = RefuseInTheContent("421 4.3.2 going down\r\n");
  EXPECT_EQ(message->recipients[0].result, Result::kRefused);
  EXPECT_EQ(message->recipients[0].step, Step::kBody);
  EXPECT_TRUE(message->recipients[0].reply->transient());
  EXPECT_EQ(failure_->reply->code, 421);
}

TEST_F(ClientSessionTest, ATransientRefusalInTheContentDefers) {
  const FakeMessage* const message = RefuseInTheContent("452 4.3.1 no room\r\n");
  EXPECT_EQ(message->recipients[0].result, Result::kRefused);
  EXPECT_EQ(message->recipients[0].step, Step::kBody);
  EXPECT_TRUE(message->recipients[0].reply->transient());
}

TEST_F(ClientSessionTest, APermanentRefusalInTheContentRefuses) {
  const FakeMessage* const message = RefuseInTheContent("554 5.6.0 not this\r\n");
  EXPECT_EQ(message->recipients[0].result, Result::kRefused);
  EXPECT_EQ(message->recipients[0].step, Step::kBody);
  EXPECT_TRUE(message->recipients[0].reply->permanent());
}

TEST_F(ClientSessionTest, ASuccessThatCameBeforeTheContentWasSentIsNone) {
  pair_.server.wire->capacity = 1000;
  FakeMessage* const message = StartContent(Lines(300'000));
  Go();
  pair_.client.wire->octets += "250 2.0.0 ok\r\n";
  pair_.server.wire->reader_gone = true;
  pair_.server.wire->writer->Progress();
  RunUntilQuiet(&loop_);
  EXPECT_EQ(message->recipients[0].result, Result::kFailed);
  EXPECT_EQ(message->failure->step, Step::kBody);
}

TEST_F(ClientSessionTest, ABreakInTheContentIsNotUncertain) {
  pair_.server.wire->capacity = 1000;
  FakeMessage* const message = StartContent(Lines(300'000));
  Go();
  pair_.client.wire->closed = true;
  pair_.server.wire->reader_gone = true;
  pair_.server.wire->writer->Progress();
  RunUntilQuiet(&loop_);
  EXPECT_EQ(message->recipients[0].result, Result::kFailed);
  EXPECT_EQ(message->failure->kind, Failure::Kind::kLost);
}

// The write that carries the end of data failed: who knows how much of it arrived.
TEST_F(ClientSessionTest, ABreakInTheLastBlockIsUncertain) {
  pair_.server.wire->capacity = 100;
  FakeMessage* const message = StartContent(Lines(1000));
  Go();
  pair_.client.wire->closed = true;
  pair_.server.wire->reader_gone = true;
  pair_.server.wire->writer->Progress();
  RunUntilQuiet(&loop_);
  EXPECT_EQ(message->recipients[0].result, Result::kUncertain);
  EXPECT_EQ(message->failure->step, Step::kEndOfData);
}

TEST_F(ClientSessionTest, ContentThatCannotBeReadEndsTheSessionWithoutAnEndOfData) {
  FakeMessage* const message = StartContent("");
  message->chunks = {"Hello\r\n"};
  message->content_failure = absl::DataLossError("checksum");
  Go();
  EXPECT_EQ(Heard(), "");
  ASSERT_FALSE(running_);
  EXPECT_EQ(failure_->kind, Failure::Kind::kLocal);
  EXPECT_EQ(failure_->text, "checksum");
  EXPECT_EQ(message->recipients[0].result, Result::kFailed);
}

TEST_F(ClientSessionTest, UnfitContentSaysWhy) {
  FakeMessage* const message = StartContent("a\nb\r\n");
  Go();
  ASSERT_TRUE(message->failure);
  EXPECT_EQ(message->failure->kind, Failure::Kind::kLocal);
  EXPECT_EQ(message->failure->text, "content unfit for sending: bare LF");
}

// U-01 at the last gate: the flag of the message was wrong.
TEST_F(ClientSessionTest, EightBitContentIsNotSentToAServerWithout8bitmime) {
  FakeMessage* const message = StartContent("gr\xc3\xbc\xc3\x9f\r\n");
  Go();
  EXPECT_EQ(Heard(), "");
  EXPECT_EQ(message->recipients[0].result, Result::kFailed);
  EXPECT_EQ(message->failure->text, "content unfit for sending: 8-bit octet");
}

// P-11: one octet a second does not push the deadline on.
TEST_F(ClientSessionTest, ADribbledReplyHasOneDeadline) {
  OpenSession();
  FakeMessage* const message = Offer("m1", "Hello\r\n");
  message->Add("b@x.example");
  StartRun();
  Heard();
  int seconds = 0;
  for (; running_ && seconds < 1000; ++seconds) {
    Say(seconds < 4 ? std::string_view("250 ").substr(static_cast<size_t>(seconds), 1) : "x");
    Pass(absl::Seconds(1));
  }
  EXPECT_NEAR(seconds, 300, 1);
  EXPECT_EQ(failure_->kind, Failure::Kind::kTimeout);
  EXPECT_EQ(failure_->step, Step::kMail);
}

// RFC 5321 4.5.3.2: each reply has its own time.
TEST_F(ClientSessionTest, EachStepHasItsOwnDeadline) {
  FakeMessage* const message = StartContent("Hello\r\n");
  Pass(absl::Seconds(299));
  Say("250 ok\r\n");
  Pass(absl::Seconds(299));
  Say("250 ok\r\n");
  Pass(absl::Seconds(119));
  EXPECT_TRUE(running_);
  Say("354 go\r\n");
  Pass(absl::Seconds(599));
  EXPECT_TRUE(running_);
  Pass(absl::Seconds(2));
  EXPECT_FALSE(running_);
  EXPECT_EQ(message->recipients[0].result, Result::kUncertain);
}

// 2920-4: the server stops reading while its replies are not read. 10,000 recipients
// through windows of a few octets must not stop.
TEST_F(ClientSessionTest, TenThousandRecipientsPassTinyWindows) {
  OpenSession();
  FakeMessage* const message = Offer("m1", "Hello\r\n");
  for (int i = 0; i < 10'000; ++i) message->Add(fmt::format("r{}@x.example", i));
  StartRun();
  size_t rcpt_seen = 0;
  size_t group_max = 0;
  std::string tail;
  while (running_) {
    const std::string group = Heard();
    ASSERT_FALSE(group.empty());
    group_max = std::max(group_max, group.size());
    // All of a group is here before the first reply is: the client waited with the rest.
    size_t begin = 0;
    for (size_t end = group.find('\n'); end != std::string::npos; end = group.find('\n', begin)) {
      const std::string_view line = std::string_view(group).substr(begin, end + 1 - begin);
      begin = end + 1;
      if (line.substr(0, 4) == "RCPT") ++rcpt_seen;
      const bool refused = line.substr(0, 4) == "RCPT" && rcpt_seen % 2 == 0;
      if (line == "DATA\r\n") {
        Say("354 go\r\n");
      } else if (line != "Hello\r\n") {
        Say(refused ? "550 5.1.1 no\r\n" : "250 ok\r\n");
      }
    }
  }
  EXPECT_EQ(rcpt_seen, 10'000u);
  EXPECT_LE(group_max, 4096u + 512u);
  EXPECT_EQ(message->recipients[9998].result, Result::kAccepted);
  EXPECT_EQ(message->recipients[9999].result, Result::kRefused);
  EXPECT_EQ(message->recipients[9999].reply->code, 550);
}

TEST_F(ClientSessionTest, CancelEndsWhatIsAwaited) {
  FakeMessage* const message = StartContent("Hello\r\n");
  session_->Cancel();
  RunUntilQuiet(&loop_);
  ASSERT_FALSE(running_);
  EXPECT_EQ(failure_->kind, Failure::Kind::kLocal);
  EXPECT_EQ(failure_->text, kCancelledText);
  EXPECT_EQ(message->recipients[0].result, Result::kFailed);
}

TEST_F(ClientSessionTest, CancelAfterTheDotLeavesItUncertain) {
  FakeMessage* const message = StartContent("Hello\r\n");
  Go();
  EXPECT_EQ(Heard(), "Hello\r\n.\r\n");
  session_->Cancel();
  RunUntilQuiet(&loop_);
  EXPECT_EQ(message->recipients[0].result, Result::kUncertain);
}

TEST_F(ClientSessionTest, AnIdleSessionIsUsableUntilTheServerStirs) {
  OpenSession();
  StartWait(absl::Seconds(2));
  Pass(absl::Seconds(3));
  ASSERT_FALSE(waiting_);
  EXPECT_TRUE(usable_);
  StartWait(absl::Seconds(2));
  Say("421 4.4.2 bye\r\n");
  ASSERT_FALSE(waiting_);
  EXPECT_FALSE(usable_);
}

TEST_F(ClientSessionTest, AnInterruptedWaitLeavesTheSessionUsable) {
  OpenSession();
  session_->Interrupt();  // Nobody waits: harmless.
  StartWait(absl::Seconds(2));
  ASSERT_TRUE(waiting_);
  session_->Interrupt();
  RunUntilQuiet(&loop_);
  ASSERT_FALSE(waiting_);
  EXPECT_TRUE(usable_);
  FakeMessage* const message = Offer("m1", "Hello\r\n");
  message->Add("b@x.example");
  StartRun();
  Go();
  Say("250 ok\r\n");
  EXPECT_EQ(message->recipients[0].result, Result::kAccepted);
}

TEST_F(ClientSessionTest, ACancelledWaitIsNotUsable) {
  OpenSession();
  StartWait(absl::Seconds(2));
  session_->Cancel();
  RunUntilQuiet(&loop_);
  ASSERT_FALSE(waiting_);
  EXPECT_FALSE(usable_);
}

TEST_F(ClientSessionTest, NothingToSendLeavesTheSessionAsItWas) {
  OpenSession();
  StartRun();
  EXPECT_FALSE(running_);
  EXPECT_FALSE(failure_);
  EXPECT_EQ(Heard(), "");
  EXPECT_EQ(session_->transactions(), 0u);
}

// A server that spoke while nobody listened: no message is taken for such a session.
TEST_F(ClientSessionTest, NoMessageIsTakenOnceTheServerSpokeOutOfTurn) {
  OpenSession("250-server.example\r\n250 PIPELINING\r\n250 what\r\n");
  Offer("m1", "Hello\r\n")->Add("b@x.example");
  StartRun();
  ASSERT_TRUE(failure_);
  EXPECT_EQ(failure_->kind, Failure::Kind::kProtocol);
  EXPECT_EQ(source_.waiting.size(), 1u);
}

TEST_F(ClientSessionTest, KnowsTheServersNameAndCapabilities) {
  OpenSession("250-relay.example at your service\r\n250 SIZE 100\r\n");
  EXPECT_EQ(session_->server_name(), "relay.example");
  EXPECT_EQ(session_->capabilities().size_octets_max, 100u);
}

TEST(Step, WordsArePostfixs) {
  EXPECT_EQ(StepCommand(Step::kMail), "MAIL FROM");
  EXPECT_EQ(StepCommand(Step::kRcpt), "RCPT TO");
  EXPECT_EQ(StepCommand(Step::kData), "DATA");
  EXPECT_EQ(StepCommand(Step::kEndOfData), "end of DATA");
  EXPECT_EQ(StepStage(Step::kGreeting), "receiving the initial server greeting");
  EXPECT_EQ(StepStage(Step::kEhlo), "performing the EHLO handshake");
  EXPECT_EQ(StepStage(Step::kBody), "sending message body");
  EXPECT_EQ(StepStage(Step::kEndOfData),
            "sending end of data -- message may be sent more than once");
}

// --- Hello and goodbye -------------------------------------------------------------

TEST_F(ClientSessionTest, TheWordEsmtpIsFoundAnywhereInTheGreetingAndNowhereElse) {
  EXPECT_FALSE(session_->greeted_with_esmtp());
  OpenSession();
  EXPECT_FALSE(session_->greeted_with_esmtp());
  for (const auto& [greeting, said] : std::vector<std::pair<std::string_view, bool>>{
           {"220 server.example ESMTP Postfix\r\n", true},
           {"220-server.example\r\n220 we speak esmtp\r\n", true},
           {"220 server.example SMTP\r\n", false},
           {"220 noesmtp.example NOESMTP\r\n", false},
           {"220\r\n", false}}) {
    pair_ = MakeMemoryPair(&loop_);
    session_ = std::make_unique<ClientSession>(
        &loop_, std::make_unique<Stream>(std::move(pair_.client.connection)),
        ClientSessionOptions());
    scope_.Spawn([](ClientSession* session) -> Task<void> {
      const std::optional<Failure> failure = co_await session->ReadGreeting();
      EXPECT_FALSE(failure);
    }(session_.get()));
    Say(greeting);
    EXPECT_EQ(session_->greeted_with_esmtp(), said) << greeting;
  }
}

TEST_F(ClientSessionTest, QuitWaitsForItsReplyOnlyWhereThatIsAskedForAndNotForEver) {
  for (const bool wait : {false, true}) {
    for (const bool answer : {false, true}) {
      pair_ = MakeMemoryPair(&loop_);
      ClientSessionOptions options;
      options.await_quit_reply = wait;
      session_ = std::make_unique<ClientSession>(
          &loop_, std::make_unique<Stream>(std::move(pair_.client.connection)), options);
      bool over = false;
      scope_.Spawn([](ClientSession* session, bool* over) -> Task<void> {
        co_await session->Quit();
        *over = true;
      }(session_.get(), &over));
      EXPECT_EQ(Heard(), "QUIT\r\n");
      EXPECT_EQ(over, !wait);
      answer ? Say("221 2.0.0 Bye\r\n") : Pass(options.timeouts.quit + absl::Seconds(1));
      EXPECT_TRUE(over);
    }
  }
}

}  // namespace
}  // namespace mailrace::transport::smtp

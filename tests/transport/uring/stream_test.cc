// Stream over connections in memory, with an engine that pretends: a record is one
// letter for its type, the octets in mirror alphabet, and '|'.
#include "transport/stream.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/sync.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/transport/fakes/memory_connection.h"

namespace mailrace::transport {
namespace {

using fakes::MakeMemoryPair;
using fakes::MemoryPair;

std::string Mirrored(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>('a' + 'z' - c);
  }
  return out;
}

// Records: H handshake, D data, A alert, C close_notify, K key update (is answered).
class FakeEngine final : public tls::Engine {
 public:
  explicit FakeEngine(bool client) : client_(client) {}

  void Receive(std::string_view records) override { received_ += records; }
  void TakeRecords(Buffer* out) override {
    out->Append(records_);
    records_.clear();
  }
  absl::StatusOr<Step> Handshake() override {
    if (client_ && !hello_sent_) Queue('H', "hello");
    hello_sent_ = true;
    const std::optional<std::string> record = NextRecord();
    if (!record.has_value()) return Step::kNeedsRecords;
    if ((*record)[0] != 'H') {
      Queue('A', "unexpected");
      return absl::InvalidArgumentError("unexpected message");
    }
    if (!client_) Queue('H', "hello");
    return Step::kDone;
  }
  absl::Status Write(std::string_view plaintext) override {
    Queue('D', plaintext);
    return absl::OkStatus();
  }
  absl::StatusOr<bool> Read(Buffer* into) override {
    while (open_) {
      const std::optional<std::string> record = NextRecord();
      if (!record.has_value()) return true;
      switch ((*record)[0]) {
        case 'D':
          into->Append(Mirrored(record->substr(1)));
          break;
        case 'K':
          Queue('K', "");
          break;
        case 'C':
          open_ = false;
          break;
        default:
          Queue('A', "bad record");
          return absl::InvalidArgumentError("bad record mac");
      }
    }
    return false;
  }
  void Close() override { Queue('C', ""); }
  const tls::Info& info() const override { return info_; }
  tls::SessionPtr TakeSession() override { return nullptr; }
  std::string ChannelBinding() const override { return ""; }

 private:
  void Queue(char type, std::string_view text) { records_ += type + Mirrored(text) + '|'; }
  std::optional<std::string> NextRecord() {
    const size_t end = received_.find('|');
    if (end == std::string::npos) return std::nullopt;
    std::string record = received_.substr(0, end);
    received_.erase(0, end + 1);
    return record;
  }

  const bool client_;
  bool hello_sent_ = false;
  bool open_ = true;
  std::string received_;
  std::string records_;
  tls::Info info_;
};

class StreamTest : public testing::Test {
 protected:
  StreamTest() : pair_(MakeMemoryPair(&loop_)) {
    client_ = std::make_unique<Stream>(std::move(pair_.client.connection));
    server_ = std::make_unique<Stream>(std::move(pair_.server.connection));
  }
  // What arrives at the client and at the server.
  fakes::Wire& to_client() { return *pair_.client.wire; }
  fakes::Wire& to_server() { return *pair_.server.wire; }

  template <typename T>
  static Task<void> Store(Task<T> task, std::optional<T>* result) {
    T value = co_await std::move(task);
    result->emplace(std::move(value));
  }
  static Task<void> Finished(Task<void> task, std::optional<absl::Status>* result) {
    co_await std::move(task);
    result->emplace(absl::OkStatus());
  }
  // Runs to the end, with time passing to each deadline.
  template <typename T>
  T Await(Task<T> task) {
    std::optional<T> result;
    scope_.Spawn(Store(std::move(task), &result));
    fakes::RunUntilQuiet(&loop_, &clock_);
    EXPECT_TRUE(result.has_value()) << "the task hangs";
    return *std::move(result);
  }
  void AwaitVoid(Task<void> task) {
    std::optional<absl::Status> result;
    scope_.Spawn(Finished(std::move(task), &result));
    fakes::RunUntilQuiet(&loop_, &clock_);
    EXPECT_TRUE(result.has_value()) << "the task hangs";
  }
  absl::Status Send(Stream* stream, std::string_view text) {
    stream->output().Append(text);
    return Await(stream->Flush(In(absl::Minutes(5))));
  }
  // Fills until `octets` are there or no more come.
  std::string Receive(Stream* stream, size_t octets) {
    while (stream->input().size() < octets) {
      const absl::StatusOr<bool> more = Await(stream->Fill(In(absl::Minutes(5))));
      if (!more.ok() || !*more) break;
    }
    std::string text(stream->input().view());
    stream->input().Clear();
    return text;
  }
  void StartTlsOnBoth() {
    std::optional<absl::Status> server;
    scope_.Spawn(Store(server_->StartTls(std::make_unique<FakeEngine>(false), In(absl::Minutes(5))),
                       &server));
    const absl::Status client =
        Await(client_->StartTls(std::make_unique<FakeEngine>(true), In(absl::Minutes(5))));
    EXPECT_TRUE(client.ok()) << client;
    ASSERT_TRUE(server.has_value() && server->ok());
  }
  MonoTime In(absl::Duration d) { return clock_.Mono() + d; }

  SimClock clock_;
  Loop loop_{&clock_};
  MemoryPair pair_;
  std::unique_ptr<Stream> client_;
  std::unique_ptr<Stream> server_;
  TaskScope scope_{&loop_};
};

TEST_F(StreamTest, CarriesOctetsBothWaysInClear) {
  EXPECT_TRUE(Send(client_.get(), "EHLO x\r\n").ok());
  EXPECT_TRUE(client_->output().empty());
  EXPECT_EQ(Receive(server_.get(), 8), "EHLO x\r\n");
  EXPECT_TRUE(Send(server_.get(), "250 y\r\n").ok());
  EXPECT_EQ(Receive(client_.get(), 7), "250 y\r\n");
  EXPECT_EQ(client_->tls(), nullptr);
}

TEST_F(StreamTest, FillGivesWhatCameAndKeepsWhatWasThere) {
  to_client().split_sizes = {1, 3};
  EXPECT_TRUE(Send(server_.get(), "250 ok").ok());
  EXPECT_TRUE(*Await(client_->Fill(In(absl::Seconds(1)))));
  EXPECT_EQ(client_->input().view(), "2");
  EXPECT_TRUE(*Await(client_->Fill(In(absl::Seconds(1)))));
  EXPECT_EQ(client_->input().view(), "250 ");
}

TEST_F(StreamTest, EmptyFlushSendsNothing) {
  EXPECT_TRUE(Await(client_->Flush(In(absl::Seconds(1)))).ok());
  EXPECT_EQ(to_server().all_octets, "");
}

TEST_F(StreamTest, FillIsFalseAfterTheEndForEver) {
  server_.reset();
  EXPECT_FALSE(*Await(client_->Fill(In(absl::Seconds(1)))));
  to_client().octets = "after the end";
  EXPECT_FALSE(*Await(client_->Fill(In(absl::Seconds(1)))));
}

TEST_F(StreamTest, FillDeadlinePassesAndTheStreamStaysUsable) {
  EXPECT_EQ(Await(client_->Fill(In(absl::Seconds(1)))).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(Send(server_.get(), "late").ok());
  EXPECT_EQ(Receive(client_.get(), 4), "late");
}

// P-12: the peer reads nothing.
TEST_F(StreamTest, AFlushCutShortIsFinal) {
  to_server().capacity = 3;
  EXPECT_EQ(Send(client_.get(), "DATA\r\n").code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(client_->output().empty());
  to_server().capacity = SIZE_MAX;
  EXPECT_EQ(Send(client_.get(), "QUIT\r\n").code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(client_->output().empty());
  EXPECT_EQ(to_server().all_octets, "DAT");
}

TEST_F(StreamTest, CancelEndsFill) {
  std::optional<absl::StatusOr<bool>> filled;
  scope_.Spawn(Store(client_->Fill(MonoTime::Infinite()), &filled));
  fakes::RunUntilQuiet(&loop_);
  client_->Cancel();
  fakes::RunUntilQuiet(&loop_);
  EXPECT_EQ(filled->status().code(), absl::StatusCode::kCancelled);
}

// --- TLS ---

TEST_F(StreamTest, TlsCarriesOctetsAtEverySplit) {
  for (size_t split = 1; split <= 20; ++split) {
    pair_ = MakeMemoryPair(&loop_);
    client_ = std::make_unique<Stream>(std::move(pair_.client.connection));
    server_ = std::make_unique<Stream>(std::move(pair_.server.connection));
    to_client().split_sizes = {split};
    to_server().split_sizes = {split, 1};
    StartTlsOnBoth();
    ASSERT_NE(client_->tls(), nullptr);
    EXPECT_TRUE(Send(client_.get(), "mail from").ok());
    EXPECT_EQ(Receive(server_.get(), 9), "mail from");
    EXPECT_TRUE(Send(server_.get(), "250 ok").ok());
    EXPECT_EQ(Receive(client_.get(), 6), "250 ok");
    EXPECT_EQ(to_server().all_octets.find("mail"), std::string::npos) << "sent in clear";
  }
}

TEST_F(StreamTest, DataThatCameWithTheHandshakeIsGivenAtOnce) {
  to_client().octets = "Hsvool|D" + Mirrored("greeting") + "|";
  const absl::Status started =
      Await(client_->StartTls(std::make_unique<FakeEngine>(true), In(absl::Seconds(1))));
  ASSERT_TRUE(started.ok());
  EXPECT_TRUE(*Await(client_->Fill(In(absl::Seconds(1)))));
  EXPECT_EQ(client_->input().view(), "greeting");
}

// C-05, S-01: what was sent in clear behind STARTTLS must never count as TLS.
TEST_F(StreamTest, PlaintextBeforeTlsFailsTheHandshakeAndTheStream) {
  to_client().octets = "250 injected\r\n";
  EXPECT_TRUE(*Await(client_->Fill(In(absl::Seconds(1)))));
  const absl::Status started =
      Await(client_->StartTls(std::make_unique<FakeEngine>(true), In(absl::Seconds(1))));
  EXPECT_EQ(started.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(client_->tls(), nullptr);
  EXPECT_FALSE(Send(client_.get(), "AUTH PLAIN secret").ok());
  EXPECT_EQ(to_server().all_octets, "") << "something was sent";
}

TEST_F(StreamTest, AfterAFailedHandshakeNothingGoesOutInClear) {
  to_client().octets = "Xgarbage|";
  const absl::Status started =
      Await(client_->StartTls(std::make_unique<FakeEngine>(true), In(absl::Seconds(1))));
  EXPECT_EQ(started, absl::InvalidArgumentError("unexpected message"));
  EXPECT_EQ(client_->tls(), nullptr);
  EXPECT_FALSE(Send(client_.get(), "AUTH PLAIN secret").ok());
  EXPECT_FALSE(*Await(client_->Fill(In(absl::Seconds(1)))));
  EXPECT_EQ(to_server().all_octets, "Hsvool|A" + Mirrored("unexpected") + "|")
      << "the alert goes out and nothing else";
}

TEST_F(StreamTest, APeerThatClosesDuringTheHandshakeIsUnavailable) {
  server_.reset();
  to_server().reader_gone = false;
  const absl::Status started =
      Await(client_->StartTls(std::make_unique<FakeEngine>(true), In(absl::Seconds(1))));
  EXPECT_EQ(started.code(), absl::StatusCode::kUnavailable);
}

TEST_F(StreamTest, AHandshakeThatStallsEndsAtItsDeadline) {
  const absl::Status started =
      Await(client_->StartTls(std::make_unique<FakeEngine>(true), In(absl::Seconds(1))));
  EXPECT_EQ(started.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(Send(client_.get(), "x").ok());
}

// S-10: clear text behind close_notify is never read.
TEST_F(StreamTest, NothingIsReadAfterCloseNotify) {
  StartTlsOnBoth();
  to_client().octets = "D" + Mirrored("last") + "|C|250 in clear\r\n";
  EXPECT_TRUE(*Await(client_->Fill(In(absl::Seconds(1)))));
  EXPECT_EQ(client_->input().view(), "last");
  to_client().octets = "250 more in clear\r\n";
  EXPECT_FALSE(*Await(client_->Fill(In(absl::Seconds(1)))));
  EXPECT_EQ(client_->input().view(), "last");
}

// T-22: SMTP has its own framing, so a FIN without close_notify is an end like any.
TEST_F(StreamTest, FinWithoutCloseNotifyIsAnOrderlyEnd) {
  StartTlsOnBoth();
  server_.reset();
  const absl::StatusOr<bool> more = Await(client_->Fill(In(absl::Seconds(1))));
  ASSERT_TRUE(more.ok()) << more.status();
  EXPECT_FALSE(*more);
}

TEST_F(StreamTest, ABadRecordFailsFillAndSendsTheAlert) {
  StartTlsOnBoth();
  to_server().all_octets.clear();
  to_client().octets = "Zxx|";
  EXPECT_EQ(Await(client_->Fill(In(absl::Seconds(1)))).status(),
            absl::InvalidArgumentError("bad record mac"));
  EXPECT_EQ(to_server().all_octets, "A" + Mirrored("bad record") + "|");
  EXPECT_FALSE(*Await(client_->Fill(In(absl::Seconds(1)))));
}

TEST_F(StreamTest, FillAnswersKeyUpdates) {
  StartTlsOnBoth();
  to_server().all_octets.clear();
  to_client().octets = "K|D" + Mirrored("data") + "|";
  EXPECT_EQ(Receive(client_.get(), 4), "data");
  EXPECT_EQ(to_server().all_octets, "K|");
}

TEST_F(StreamTest, RecordsWithoutDataDoNotOutlastTheDeadline) {
  StartTlsOnBoth();
  to_client().octets = "K|";
  EXPECT_EQ(Await(client_->Fill(In(absl::Seconds(1)))).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST_F(StreamTest, ShutdownSendsCloseNotifyAndEndsTheOutput) {
  StartTlsOnBoth();
  to_server().all_octets.clear();
  AwaitVoid(client_->Shutdown(In(absl::Seconds(1))));
  EXPECT_EQ(to_server().all_octets, "C|");
  EXPECT_FALSE(Send(client_.get(), "late").ok());
  EXPECT_FALSE(*Await(server_->Fill(In(absl::Seconds(1)))));
}

TEST_F(StreamTest, ShutdownInClearSendsNothing) {
  AwaitVoid(client_->Shutdown(In(absl::Seconds(1))));
  EXPECT_EQ(to_server().all_octets, "");
  EXPECT_TRUE(Send(client_.get(), "QUIT\r\n").ok());
}

TEST_F(StreamTest, ShutdownDoesNotOutlastItsDeadline) {
  StartTlsOnBoth();
  to_server().capacity = 0;
  const MonoTime begin = clock_.Mono();
  AwaitVoid(client_->Shutdown(In(absl::Seconds(1))));
  EXPECT_LE(clock_.Mono() - begin, absl::Milliseconds(1001));
}

}  // namespace
}  // namespace mailrace::transport

// A whole session of the relay client with a server that says anything, in simulated
// time: every message comes back, none is delivered that the server did not take, and
// none whose content went out is taken for unsent.
//
// Input: options, the split; then what the server says, a form feed wherever it waits
// for the client to fall silent. ("250 a\r\n" FF "250 b\r\n" ...)
#include "transport/smtp/client_session.h"

#include <array>

#include "base/sync.h"
#include "base/text.h"
#include "fmt/format.h"
#include "fuzz_input.h"
#include "tests/transport/fakes/memory_connection.h"
#include "tests/transport/smtp/fake_messages.h"

namespace mailrace::transport::smtp {
namespace {

using Result = OutgoingRecipient::Result;

constexpr char kWait = '\f';
constexpr size_t kTurnsMax = 64;
constexpr std::string_view kPassword = "s3cret";

size_t Count(std::string_view text, std::string_view part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

// Whole replies with a code that begins so. A server that pauses within one does not
// end it.
size_t CountReplies(std::string server, std::string_view code) {
  std::erase(server, kWait);
  size_t count = 0;
  for (std::string_view rest = server; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.starts_with(code) && line.size() >= 3 && line.substr(3, 1) != "-") ++count;
  }
  return count;
}

class Session {
 public:
  Session(uint8_t bits, uint8_t seed, std::string_view server)
      : bits_(bits), server_octets_(server), loop_(&clock_), pair_(fakes::MakeMemoryPair(&loop_)) {
    if (seed != 0) pair_.client.wire->split_sizes = {seed, size_t{seed} % 7 + 1};
    ClientSessionOptions options;
    options.helo_name = "client.example";
    options.tolerance = MakeTolerance((bits & 1) == 0, (bits & 2) == 0, seed % 2 == 1);
    session_ = std::make_unique<ClientSession>(
        &loop_, std::make_unique<Stream>(std::move(pair_.client.connection)), options);
    AddMessage(0, "first\r\n..dot\r\n").Add("b@example.net");
    AddMessage(1, ".").Add("c@example.net").Add("d@example.net");
    AddMessage(2, "third\r\n.\r\n").Add("e@example.net");
    AddMessage(3, "fourth\r\n").Add("bad\r\n@example.net").Add("f@example.net");
    messages_[1]->eight_bit = (bits & 4) != 0;
    messages_[2]->smtputf8 = (bits & 8) != 0;
    messages_[2]->envid = "x+20y";
    messages_[2]->recipients[0].notify = "NEVER";
  }

  void Run() {
    TaskScope scope(&loop_);
    scope.Spawn(Server(this));
    scope.Spawn(Client(this));
    fakes::RunUntilQuiet(&loop_, &clock_);
    FUZZ_CHECK(scope.running() == 0, server_octets_);
    FUZZ_CHECK(source_.all_given_back(), server_octets_);
    const std::string& wire = pair_.server.wire->all_octets;
    FUZZ_CHECK(fuzz::OnlyCrlfLines(wire), wire);
    // Who greets us with something else than 220 gets no EHLO.
    FUZZ_CHECK(wire.empty() || wire == "QUIT\r\n" || wire.starts_with("EHLO client.example\r\n"),
               wire);
    CheckDelivered(wire);
    for (size_t i = 0; i < source_.finished.size(); ++i) CheckMessage(*source_.finished[i], wire);
  }

 private:
  // The content begins with a word that no other octets of the session have.
  FakeMessage& AddMessage(int number, std::string_view content) {
    messages_.push_back(
        MakeMessage(fmt::format("Token{}", number), fmt::format("Token{}\r\n{}", number, content)));
    source_.waiting.push_back(messages_.back().get());
    return *messages_.back();
  }

  static Task<void> Client(Session* self) {
    std::optional<Failure> failure = co_await self->session_->ReadGreeting();
    if (!failure) failure = co_await self->session_->Ehlo();
    if (!failure && (self->bits_ & 16) != 0) {
      constexpr std::array<const char*, 4> kMechanisms = {"PLAIN", "LOGIN", "CRAM-MD5",
                                                          "SCRAM-SHA-256"};
      failure = co_await self->session_->Authenticate(
          kMechanisms[self->bits_ >> 5 & 3], {"user", std::string(kPassword)}, "relay.example");
    }
    if (!failure) {
      self->source_.allowed = 3;
      failure = co_await self->session_->RunTransactions(&self->source_);
    }
    if (!failure) {
      const bool usable = co_await self->session_->AwaitIdle(self->loop_.now() + absl::Minutes(1));
      self->source_.allowed = SIZE_MAX;
      if (usable) failure = co_await self->session_->RunTransactions(&self->source_);
    }
    if (failure) self->CheckFailure(*failure);
    co_await self->session_->Quit();
    self->session_.reset();
  }

  static Task<void> Server(Session* self) {
    std::string_view rest = self->server_octets_;
    for (size_t turn = 0; turn < kTurnsMax && !rest.empty(); ++turn) {
      co_await SleepUntil(&self->loop_, self->loop_.now() + absl::Milliseconds(5));
      const size_t end = std::min(rest.find(kWait), rest.size());
      std::string octets(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (octets.empty()) continue;
      const absl::Status written =
          co_await self->pair_.server.connection->Write(octets, MonoTime::Infinite());
      if (!written.ok()) co_return;
    }
    co_await SleepUntil(&self->loop_, self->loop_.now() + absl::Milliseconds(5));
    // Else it stays silent for ever.
    if ((self->bits_ & 128) != 0) self->pair_.server.connection.reset();
  }

  void CheckFailure(const Failure& failure) const {
    FUZZ_CHECK(failure.kind != Failure::Kind::kReply || failure.reply.has_value(), server_octets_);
    // A server that says the password by itself may be quoted.
    const bool said = server_octets_.find(kPassword) != std::string::npos;
    FUZZ_CHECK(said || failure.text.find(kPassword) == std::string::npos, server_octets_);
    FUZZ_CHECK(!fuzz::HasControls(failure.text), failure.text);
  }

  // A server that is asked one thing at a time, or one whose replies are known and that
  // content is streamed to.
  static std::shared_ptr<Tolerance> MakeTolerance(bool pipelining, bool cross_message,
                                                  bool streamed) {
    auto tolerance = std::make_shared<Tolerance>(
        ToleranceOptions{.window_max = 4, .cross_message = cross_message});
    if (!pipelining) {
      tolerance->LostItsPlace("tried", Tolerance::Manner::kAhead, MonoTime());
      tolerance->LostItsPlace("tried", Tolerance::Manner::kOneByOne, MonoTime());
    }
    if (!streamed) return tolerance;
    tolerance->Learn(Step::kMail, {250, {"2.1.0 ok"}});
    tolerance->Learn(Step::kRcpt, {250, {"2.1.5 ok"}});
    tolerance->Learn(Step::kEndOfData, {250, {"2.0.0 ok"}});
    tolerance->KnowsBdat();
    MonoTime now;
    for (int i = 0; i < 16; ++i) {
      const MonoTime said = now;
      now = now + absl::Nanoseconds(1);
      tolerance->AnsweredInStream(tolerance->window(now), said, now);
    }
    return tolerance;
  }

  // A delivery takes a 354, or BDAT, and three positive replies of its own at least, beside
  // those to the connection and to EHLO.
  void CheckDelivered(const std::string& wire) const {
    size_t delivered = 0;
    for (const FakeMessage* message : source_.finished) {
      for (const OutgoingRecipient& recipient : message->recipients) {
        if (recipient.result != Result::kAccepted) continue;
        ++delivered;
        break;
      }
    }
    const size_t chunked = Count(wire, " LAST\r\n");
    FUZZ_CHECK(delivered <= CountReplies(server_octets_, "354") + chunked, server_octets_);
    FUZZ_CHECK(delivered == 0 || 3 * delivered + 2 <= CountReplies(server_octets_, "2"),
               server_octets_);
    FUZZ_CHECK(delivered <= Count(wire, "\r\n.\r\n") + chunked, wire);
  }

  void CheckMessage(const FakeMessage& message, const std::string& wire) const {
    const size_t sent = Count(wire, message.name + "\r\n");
    FUZZ_CHECK(sent <= 1, wire);
    if (message.failure) CheckFailure(*message.failure);
    bool content_needed = false;
    for (const OutgoingRecipient& recipient : message.recipients) {
      switch (recipient.result) {
        case Result::kAccepted:
          FUZZ_CHECK(recipient.reply && recipient.reply->positive(), server_octets_);
          FUZZ_CHECK(recipient.step == Step::kEndOfData, server_octets_);
          content_needed = true;
          break;
        case Result::kUncertain:
          FUZZ_CHECK(message.failure.has_value(), server_octets_);
          // What waits in a stream to be written is as good as sent.
          content_needed = content_needed || !OffersChunking();
          break;
        case Result::kRefused:
          FUZZ_CHECK(recipient.reply.has_value(), server_octets_);
          FUZZ_CHECK(recipient.reply->transient() || recipient.reply->permanent(), server_octets_);
          break;
        case Result::kFailed:
          FUZZ_CHECK(message.failure.has_value(), server_octets_);
          FUZZ_CHECK(sent == 0, server_octets_);
          break;
        case Result::kUntried:
          // Streamed content goes out before the server says that it wants none.
          FUZZ_CHECK(sent == 0 || LimitedRecipients() || OffersChunking(), server_octets_);
          break;
      }
    }
    FUZZ_CHECK(!content_needed || sent == 1, server_octets_);
  }

  // RFC 9422 RCPTMAX leaves the rest of the recipients for another transaction.
  bool LimitedRecipients() const { return server_octets_.find('=') != std::string::npos; }

  bool OffersChunking() const {
    return AsciiUppered(server_octets_).find("CHUNKING") != std::string::npos;
  }

  const uint8_t bits_;
  const std::string server_octets_;
  SimClock clock_;
  Loop loop_;
  fakes::MemoryPair pair_;
  std::unique_ptr<ClientSession> session_;
  std::vector<std::unique_ptr<FakeMessage>> messages_;
  FakeSource source_;
};

}  // namespace
}  // namespace mailrace::transport::smtp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mailrace::fuzz::FuzzInput input(data, size);
  const uint8_t bits = input.Octet();
  const uint8_t seed = input.Octet();
  mailrace::transport::smtp::Session session(bits, seed, input.Rest());
  session.Run();
  return 0;
}

// Every dialogue of dialogue/*.dialogue, at every split of what the server sends.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "../fakes/memory_connection.h"
#include "base/sync.h"
#include "dialogue_script.h"
#include "fake_messages.h"
#include "fake_tls_engine.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "transport/smtp/client_session.h"
#include "wire_audit.h"

namespace mailrace::transport::smtp {
namespace {

using fakes::MakeMemoryPair;
using fakes::MemoryPair;
using fakes::RunUntilQuiet;
using Result = OutgoingRecipient::Result;

std::string KindName(Failure::Kind kind) {
  switch (kind) {
    case Failure::Kind::kReply:
      return "reply";
    case Failure::Kind::kLost:
      return "lost";
    case Failure::Kind::kTimeout:
      return "timeout";
    case Failure::Kind::kProtocol:
      return "protocol";
    case Failure::Kind::kTls:
      return "tls";
    case Failure::Kind::kSasl:
      return "sasl";
    case Failure::Kind::kLocal:
      return "local";
  }
  return "";
}

std::string Describe(const Reply& reply) {
  return fmt::format("{} {}", reply.code, reply.enhanced().ToString());
}

std::string Describe(const Failure& failure) {
  std::string text = fmt::format("{} at {}", KindName(failure.kind), StepCommand(failure.step));
  if (failure.step == Step::kBody) text = fmt::format("{} at body", KindName(failure.kind));
  if (failure.kind == Failure::Kind::kReply) text += " " + Describe(*failure.reply);
  if (failure.stale_session) text += ", stale";
  return text;
}

std::string Describe(const FakeMessage& message, const OutgoingRecipient& recipient) {
  std::string text = fmt::format("{} {} ", message.name, recipient.forward_path);
  switch (recipient.result) {
    case Result::kUntried:
      text += "untried";
      if (message.failure) text += ": " + Describe(*message.failure);
      break;
    case Result::kAccepted:
      text += "accepted " + Describe(*recipient.reply);
      break;
    case Result::kRefused:
      text += fmt::format("refused {} {}", StepCommand(recipient.step), Describe(*recipient.reply));
      if (message.failure && message.failure->text == kOwnReplyText) text += " by ourselves";
      break;
    case Result::kFailed:
      text += "failed: " + Describe(*message.failure);
      break;
    case Result::kUncertain:
      text += "uncertain: " + Describe(*message.failure);
      break;
  }
  return text;
}

std::shared_ptr<Tolerance> MakeTolerance(const Script& script) {
  ToleranceOptions options;
  options.cross_message = script.cross_message_allowed;
  options.window_max = !script.bdat_allowed ? 0 : script.trusted > 1 ? script.trusted : 32;
  auto tolerance = std::make_shared<Tolerance>(options);
  if (!script.pipelining_allowed) {
    tolerance->LostItsPlace("tried", Tolerance::Manner::kAhead, MonoTime());
    tolerance->LostItsPlace("tried", Tolerance::Manner::kOneByOne, MonoTime());
  }
  if (script.trusted > 0) {
    tolerance->Learn(Step::kMail, {250, {"2.1.0 Ok"}});
    tolerance->Learn(Step::kRcpt, {250, {"2.1.5 Ok"}});
    tolerance->Learn(Step::kEndOfData, {250, {"2.0.0 Ok: queued"}});
    for (int i = 0; i < 100; ++i) tolerance->Answered(true);
  }
  if (script.trusted > 1) {
    // It answers at once, whatever is under way.
    tolerance->KnowsBdat();
    MonoTime now;
    for (size_t i = 0; i < 100 * script.trusted; ++i) {
      const size_t window = tolerance->window(now);
      const MonoTime said = now;
      now = now + absl::Nanoseconds(1);
      tolerance->AnsweredInStream(window, said, now);
    }
    EXPECT_EQ(tolerance->window(now), script.trusted);
  }
  return tolerance;
}

// One run of a script: both ends on one loop under simulated time.
class Dialogue {
 public:
  Dialogue(const Script* script, std::vector<size_t> splits)
      : script_(script), loop_(&clock_), pair_(MakeMemoryPair(&loop_)) {
    pair_.client.wire->split_sizes = std::move(splits);
    ClientSessionOptions options;
    options.helo_name = "client.example";
    options.tolerance = MakeTolerance(*script);
    source_.backlog = script->trusted > 0 && !script->lone;
    session_ = std::make_unique<ClientSession>(
        &loop_, std::make_unique<Stream>(std::move(pair_.client.connection)), options);
    for (const ScriptMessage& message : script->messages) AddMessage(message);
  }

  void Run() {
    TaskScope scope(&loop_);
    scope.Spawn(Server(this));
    scope.Spawn(Client(this));
    RunUntilQuiet(&loop_, &clock_);
    EXPECT_EQ(scope.running(), 0u) << "somebody still waits";
    EXPECT_EQ(received_, expected_);
    EXPECT_TRUE(source_.all_given_back());
    EXPECT_THAT(audit_.problems(), testing::IsEmpty());
  }
  const std::vector<std::string>& results() const { return results_; }

 private:
  void AddMessage(const ScriptMessage& from) {
    auto message = MakeMessage(from.name, from.content);
    message->reverse_path = from.reverse_path;
    message->octets = from.octets;
    message->eight_bit = from.eight_bit;
    message->smtputf8 = from.smtputf8;
    message->ret = from.ret;
    message->envid = from.envid;
    for (const std::string& path : from.forward_paths) {
      message->Add(path);
      message->recipients.back().notify = from.notify;
      message->recipients.back().orcpt = from.orcpt;
    }
    source_.waiting.push_back(message.get());
    messages_.push_back(std::move(message));
  }

  void Receive(Buffer* from) {
    received_ += from->view();
    audit_.Client(from->view());
    from->Clear();
  }

  static Task<void> Client(Dialogue* self) {
    for (const std::string& step : self->script_->steps) {
      std::optional<Failure> failure;
      const std::string name = step.substr(0, step.find(':'));
      const std::string argument = name == step ? "" : step.substr(name.size() + 1);
      if (name == "greeting") {
        failure = co_await self->session_->ReadGreeting();
      } else if (name == "ehlo") {
        failure = co_await self->session_->Ehlo();
      } else if (name == "helo") {
        failure = co_await self->session_->Helo();
      } else if (name == "starttls") {
        failure = co_await self->session_->StartTls(std::make_unique<FakeTlsEngine>());
      } else if (name == "wraptls") {
        failure = co_await self->session_->WrapTls(std::make_unique<FakeTlsEngine>());
      } else if (name == "auth") {
        failure = co_await self->session_->Authenticate(argument, {"tim", "tanstaaftanstaaf"},
                                                        "server.example");
      } else if (name == "mail") {
        self->source_.allowed = argument.empty() ? SIZE_MAX : std::stoul(argument);
        failure = co_await self->session_->RunTransactions(&self->source_);
        self->NoteMessages();
      } else if (name == "idle") {
        const bool usable =
            co_await self->session_->AwaitIdle(self->loop_.now() + absl::Seconds(2));
        if (!usable) {
          self->results_.push_back("idle: gone");
          break;
        }
      } else if (name == "quit") {
        co_await self->session_->Quit();
        if (self->results_.empty()) self->results_.push_back("quit: done");
      } else {
        ADD_FAILURE() << "unknown step " << step;
      }
      if (failure) {
        self->results_.push_back(fmt::format("{}: {}", name, Describe(*failure)));
        // Says QUIT where the session is good for one.
        co_await self->session_->Quit();
        break;
      }
    }
    self->session_.reset();
  }

  void NoteMessages() {
    for (const FakeMessage* message : source_.finished) {
      for (const OutgoingRecipient& recipient : message->recipients) {
        results_.push_back(Describe(*message, recipient));
      }
    }
    source_.finished.clear();
  }

  static Task<void> Server(Dialogue* self) {
    Buffer buffer;
    for (const ScriptEvent& event : self->script_->events) {
      // Let the client say all that it would say without another word from us.
      co_await SleepUntil(&self->loop_, self->loop_.now() + absl::Milliseconds(5));
      EXPECT_TRUE(event.kind == ScriptEvent::Kind::kClientOctets ||
                  self->pair_.server.wire->octets.empty())
          << "sent ahead of the script: " << self->pair_.server.wire->octets;
      switch (event.kind) {
        case ScriptEvent::Kind::kClientOctets: {
          self->expected_ += event.octets;
          while (self->received_.size() < self->expected_.size()) {
            const absl::StatusOr<size_t> n =
                co_await self->pair_.server.connection->Read(&buffer, MonoTime::Infinite());
            if (!n.ok() || *n == 0) break;
            self->Receive(&buffer);
          }
          break;
        }
        case ScriptEvent::Kind::kServerOctets: {
          self->audit_.Server(event.octets);
          const absl::Status ignored =
              co_await self->pair_.server.connection->Write(event.octets, MonoTime::Infinite());
          if (!ignored.ok()) ADD_FAILURE() << "the client is gone before: " << event.octets;
          break;
        }
        case ScriptEvent::Kind::kClose:
          self->pair_.server.connection.reset();
          co_return;
        case ScriptEvent::Kind::kReset:
          self->pair_.client.wire->failure = absl::UnavailableError("Connection reset by peer");
          self->pair_.server.connection.reset();
          co_return;
        case ScriptEvent::Kind::kStall:
          break;
        case ScriptEvent::Kind::kDribble:
          for (size_t i = 0; i < 10'000 && self->session_ != nullptr; ++i) {
            const std::string octet(1, event.octets[std::min(i, event.octets.size() - 1)]);
            co_await SleepUntil(&self->loop_, self->loop_.now() + absl::Seconds(30));
            const absl::Status ignored =
                co_await self->pair_.server.connection->Write(octet, MonoTime::Infinite());
            if (!ignored.ok()) break;
          }
          break;
        case ScriptEvent::Kind::kTls:
        case ScriptEvent::Kind::kNext:
          ADD_FAILURE() << "for dialogues of the whole engine";
      }
    }
    // What the script does not know of must not come.
    while (true) {
      const absl::StatusOr<size_t> n =
          co_await self->pair_.server.connection->Read(&buffer, MonoTime::Infinite());
      if (!n.ok() || *n == 0) co_return;
      self->Receive(&buffer);
    }
  }

  const Script* const script_;
  SimClock clock_;
  Loop loop_;
  MemoryPair pair_;
  std::unique_ptr<ClientSession> session_;
  std::vector<std::unique_ptr<FakeMessage>> messages_;
  FakeSource source_;
  std::string received_;
  std::string expected_;
  WireAudit audit_{{"tanstaaftanstaaf"}};
  std::vector<std::string> results_;
};

std::vector<std::string> DialogueFiles() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(MAILRACE_SOURCE_DIR) +
                                                               "/tests/transport/smtp/dialogue")) {
    if (entry.path().extension() == ".dialogue") names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class DialogueTest : public testing::TestWithParam<std::string> {};

TEST_P(DialogueTest, IsTheSameAtEverySplit) {
  std::ifstream file(
      fmt::format("{}/tests/transport/smtp/dialogue/{}.dialogue", MAILRACE_SOURCE_DIR, GetParam()));
  std::stringstream text;
  text << file.rdbuf();
  const Script script = ParseScript(text.str());
  ASSERT_FALSE(script.results.empty());
  // Everything at once, one octet at a time, then cut in two at every place. Limits are
  // tried with replies of many thousand octets, where some places stand for all.
  std::vector<std::vector<size_t>> all_splits = {{}};
  if (script.every_split) all_splits.push_back({1});
  const size_t step = script.server_octets_max / 1000 + 1;
  for (size_t at = 1; script.every_split && at < script.server_octets_max; at += step) {
    all_splits.push_back({at, SIZE_MAX});
  }
  for (const std::vector<size_t>& splits : all_splits) {
    SCOPED_TRACE(splits.empty() ? "whole" : fmt::format("split at {}", splits[0]));
    Dialogue dialogue(&script, splits);
    dialogue.Run();
    EXPECT_THAT(dialogue.results(), testing::ElementsAreArray(script.results));
    if (HasFailure()) return;
  }
}

std::string TestName(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace_if(name.begin(), name.end(), [](char c) { return std::isalnum(c) == 0; }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Dialogues, DialogueTest, testing::ValuesIn(DialogueFiles()), TestName);

}  // namespace
}  // namespace mailrace::transport::smtp

// Every dialogue of dialogue/*.dialogue: the whole engine, its policy and its credentials,
// against a server that says what the file says. What goes out is what the file has, octet by
// octet, and never a secret in clear.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "fmt/format.h"
#include "tests/engine/delivery/delivery_fixture.h"
#include "tests/sim/world/tls_policy.h"
#include "tests/transport/smtp/dialogue_script.h"
#include "tests/transport/smtp/wire_audit.h"

namespace mailrace::engine {
namespace {

using transport::Stream;
using transport::smtp::ParseScript;
using transport::smtp::Script;
using transport::smtp::ScriptEvent;
using transport::smtp::WireAudit;

constexpr const char* kDirectory = MAILRACE_SOURCE_DIR "/tests/engine/delivery/dialogue";

// One level for every server, and the script's credentials.
class ScriptPolicy final : public DestinationPolicy {
 public:
  explicit ScriptPolicy(const Script& script) : script_(script) {}
  Tls TlsFor(std::string_view, std::string_view host) const override {
    Tls tls;
    tls.tls.level = script_.policy == "none"      ? TlsLevel::kNone
                    : script_.policy == "may"     ? TlsLevel::kMay
                    : script_.policy == "encrypt" ? TlsLevel::kEncrypt
                                                  : TlsLevel::kSecure;
    if (tls.tls.level == TlsLevel::kNone) return tls;
    static const auto context = *transport::tls::MakeClientContext({});
    tls.tls.context = context;
    tls.tls.rules = script_.policy;
    if (MustMatch(tls.tls.level)) tls.tls.match_names.emplace_back(host);
    return tls;
  }
  Sasl CredentialsFor(const CredentialQuery&) const override {
    Sasl sasl;
    if (!script_.user.empty()) {
      sasl.credentials = transport::sasl::Credentials{script_.user, script_.password};
    }
    return sasl;
  }
  transport::sasl::SecurityOptions SaslOptions(Security security) const override {
    transport::sasl::SecurityOptions options;
    options.noanonymous = true;
    options.noplaintext = security == Security::kClear;
    return options;
  }
  std::vector<std::string> FilterMechanisms(
      const std::vector<std::string>& offered) const override {
    return offered;
  }
  bool sasl_enabled() const override { return !script_.user.empty(); }

 private:
  const Script& script_;
};

class DialogueTest : public DeliveryFixture, public testing::WithParamInterface<std::string> {
 protected:
  void Play() {
    settings_.limits.initial_concurrency = 1;
    settings_.limits.concurrency_limit = 1;
    settings_.relayhost = "[hostile.test]:25";
    settings_.policy = std::make_shared<ScriptPolicy>(script_file_);
    Start();
    const SocketAddress address{*IpAddress::Parse("192.0.2.66"), 25};
    host_->resolver().Add("hostile.test", {address.ip});
    absl::StatusOr<std::unique_ptr<transport::Listener>> listener =
        host_->network().Listen(address);
    ASSERT_TRUE(listener.ok());
    listener_ = *std::move(listener);
    host_->tasks().Spawn(Server(this));
    Submit(To({"a@example.com"}));
    host_->RunFor(absl::Seconds(script_file_.seconds));
    EXPECT_EQ(events_played_, script_file_.events.size()) << "the dialogue ended early";
    EXPECT_EQ(received_, expected_);
    ExpectNoSecretInClear();
    EXPECT_THAT(audit_.problems(), testing::IsEmpty());
    if (stream_ != nullptr) stream_->Cancel();
    listener_->Cancel();
    host_->RunFor(absl::Seconds(1));
  }

  static Task<void> Server(DialogueTest* self) {
    const std::vector<ScriptEvent>& events = self->script_file_.events;
    while (self->events_played_ < events.size()) {
      const absl::StatusOr<transport::AcceptedPeer> peer = co_await self->listener_->Accept();
      if (!peer.ok()) co_return;
      Stream stream(self->host_->network().Adopt(*peer));
      self->stream_ = &stream;
      self->in_tls_ = false;
      self->BeginAudit();
      bool open = true;
      while (open && self->events_played_ < events.size()) {
        open = co_await self->PlayOne(&stream, events[self->events_played_]);
        ++self->events_played_;
      }
      // What the script does not know of must not come.
      while (open) {
        self->Take(&stream);
        const absl::StatusOr<bool> more = co_await stream.Fill(MonoTime::Infinite());
        open = more.ok() && *more;
      }
      self->stream_ = nullptr;
    }
  }

  // False: the connection is over.
  Task<bool> PlayOne(Stream* stream, const ScriptEvent& event) {
    switch (event.kind) {
      case ScriptEvent::Kind::kClientOctets:
        expected_ += event.octets;
        while (received_.size() < expected_.size()) {
          const absl::StatusOr<bool> more = co_await stream->Fill(MonoTime::Infinite());
          if (!more.ok() || !*more) co_return false;
          Take(stream);
        }
        break;
      case ScriptEvent::Kind::kServerOctets: {
        stream->output().Append(event.octets);
        audit_.Server(event.octets);
        const absl::Status sent = co_await stream->Flush(MonoTime::Infinite());
        co_return sent.ok();
      }
      case ScriptEvent::Kind::kTls: {
        const absl::Status shaken = co_await stream->StartTls(
            *transport::tls::Engine::Server(sim::RelayTlsContext()), MonoTime::Infinite());
        in_tls_ = shaken.ok();
        if (in_tls_) audit_.Shaken();
        co_return true;
      }
      case ScriptEvent::Kind::kStall:
        break;
      default:
        co_return false;
    }
    co_return true;
  }

  // Each connection is a dialogue of its own; what was wrong stays.
  void BeginAudit() {
    std::vector<std::string> secrets;
    if (!script_file_.password.empty()) secrets.push_back(script_file_.password);
    WireAudit before = std::exchange(audit_, WireAudit(secrets));
    EXPECT_THAT(before.problems(), testing::IsEmpty());
  }

  void Take(Stream* stream) {
    received_ += stream->input().view();
    audit_.Client(stream->input().view());
    if (!in_tls_) in_clear_ += stream->input().view();
    stream->input().Clear();
  }

  void ExpectNoSecretInClear() const {
    if (script_file_.password.empty()) return;
    const std::string plain =
        fmt::format("{}{}{}{}", '\0', script_file_.user, '\0', script_file_.password);
    for (const std::string& secret :
         {script_file_.password, absl::Base64Escape(plain).substr(0, plain.size() - 2),
          absl::Base64Escape(script_file_.password)}) {
      EXPECT_EQ(in_clear_.find(secret), std::string::npos) << "a secret in clear";
      EXPECT_THAT(Logged(secret), testing::IsEmpty()) << "a secret in the log";
    }
  }

  Script script_file_;
  std::unique_ptr<transport::Listener> listener_;
  Stream* stream_ = nullptr;
  bool in_tls_ = false;
  size_t events_played_ = 0;
  std::string received_, expected_, in_clear_;
  WireAudit audit_;
};

TEST_P(DialogueTest, EndsAsTheFileSays) {
  std::ifstream file(fmt::format("{}/{}.dialogue", kDirectory, GetParam()));
  std::stringstream text;
  text << file.rdbuf();
  script_file_ = ParseScript(text.str());
  ASSERT_FALSE(script_file_.results.empty());
  Play();
  const std::vector<std::string> lines = Logged("status=");
  ASSERT_EQ(lines.size(), script_file_.results.size()) << testing::PrintToString(log_.texts());
  for (size_t i = 0; i < lines.size(); ++i) {
    std::istringstream words(script_file_.results[i]);
    std::string status, dsn, reason;
    words >> status >> dsn;
    std::getline(words >> std::ws, reason);
    EXPECT_THAT(lines[i], testing::HasSubstr(fmt::format("dsn={}, status={}", dsn, status)));
    EXPECT_THAT(lines[i], testing::HasSubstr(reason));
  }
}

std::vector<std::string> DialogueFiles() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kDirectory)) {
    if (entry.path().extension() == ".dialogue") names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

INSTANTIATE_TEST_SUITE_P(Engine, DialogueTest, testing::ValuesIn(DialogueFiles()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace mailrace::engine

// The server's half: PLAIN, CRAM-MD5, DIGEST-MD5 and SCRAM by GNU SASL; LOGIN is ours because the
// library's prompts are not those that clients look for.
#include <array>
#include <utility>

#include "absl/hash/hash.h"
#include "base/text.h"
#include "fmt/format.h"
#include "transport/sasl/client.h"
#include "transport/sasl/gsasl_session.h"

namespace mailrace::transport::sasl {
namespace {

using State = Server::Outcome::State;

constexpr std::array<const char*, 6> kMechanisms{"SCRAM-SHA-256", "SCRAM-SHA-1", "DIGEST-MD5",
                                                 "CRAM-MD5",      "PLAIN",       "LOGIN"};
constexpr size_t kUserOctetsMax = 512;

// Takes as long for a wrong password as for a right one of the same length.
bool SamePassword(std::string_view a, std::string_view b) {
  unsigned char difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned char>(a[i] ^ (b.empty() ? 0 : b[i % b.size()]));
  }
  return difference == 0;
}

// An account without a password cannot be logged in to.
std::optional<std::string> PasswordOf(const Server::Lookup& lookup, std::string_view user) {
  if (user.empty() || user.size() > kUserOctetsMax) return std::nullopt;
  std::optional<std::string> password = lookup(user);
  if (password && password->empty()) return std::nullopt;
  return password;
}

bool PasswordFits(const Server::Lookup& lookup, std::string_view user, std::string_view given) {
  std::optional<std::string> password = PasswordOf(lookup, user);
  const bool same = SamePassword(given, password.value_or(""));
  const bool fits = same && password.has_value();
  if (password) Cleanse(&*password);
  return fits;
}

class LoginServer final : public Server {
 public:
  explicit LoginServer(Lookup lookup) : lookup_(std::move(lookup)) {}

  Outcome Step(std::string_view response) override {
    if (response.size() > kMessageOctetsMax) step_ = kOver;
    switch (step_++) {
      case 0:
        // An initial response, if any, is the user.
        if (response.empty()) return {State::kChallenge, "Username:"};
        step_ = 2;
        user_ = response;
        return {State::kChallenge, "Password:"};
      case 1:
        user_ = response;
        return {State::kChallenge, "Password:"};
      case 2:
        return {PasswordFits(lookup_, user_, response) ? State::kSuccess : State::kFailure, ""};
      default:
        step_ = kOver;
        return {State::kFailure, ""};
    }
  }
  std::string user() const override { return user_; }

 private:
  static constexpr int kOver = 3;

  Lookup lookup_;
  int step_ = 0;
  std::string user_;
};

class GsaslServer final : public Server {
 public:
  explicit GsaslServer(Lookup lookup) : lookup_(std::move(lookup)) {}

  absl::Status Init(const std::string& mechanism, std::string_view service_host);
  Outcome Step(std::string_view response) override;
  std::string user() const override { return user_; }

  // The library asks for what the mechanism needs to know.
  int OnProperty(Gsasl_session* session, Gsasl_property property);

 private:
  // The user whom the exchange authenticates, who may act for nobody else.
  bool ActsForItself(Gsasl_session* session) {
    const char* authid = gsasl_property_fast(session, GSASL_AUTHID);
    const char* authzid = gsasl_property_fast(session, GSASL_AUTHZID);
    user_ = authid == nullptr ? "" : authid;
    return authzid == nullptr || *authzid == '\0' || user_ == authzid;
  }

  Lookup lookup_;
  SessionPtr session_;
  std::string user_;
  bool refused_ = false;  // Whatever the library says in the end.
  bool over_ = false;
};

// A context of its own for servers: the callback belongs to the library's context, and
// the session finds its owner by its hook.
int OnServerProperty(Gsasl* /*library*/, Gsasl_session* session, Gsasl_property property) {
  auto* owner = static_cast<GsaslServer*>(gsasl_session_hook_get(session));
  return owner == nullptr ? static_cast<int>(GSASL_NO_CALLBACK)
                          : owner->OnProperty(session, property);
}

Gsasl* InitialiseServerLibrary() {
  Gsasl* library = nullptr;
  if (gsasl_init(&library) != GSASL_OK) return nullptr;
  gsasl_callback_set(library, OnServerProperty);
  return library;
}

Gsasl* ServerLibrary() {
  static Gsasl* const library = InitialiseServerLibrary();
  return library;
}

// In base64. An account has one salt as long as the process lives (RFC 5802 2.2: it comes from
// the account's database), so that clients may keep what they made of it; the library alone
// would draw one a session.
std::string SaltOf(std::string_view user) {
  static const uint64_t secret = [] {
    uint64_t drawn = 0;
    gsasl_nonce(reinterpret_cast<char*>(&drawn), sizeof drawn);
    return drawn;
  }();
  std::array<size_t, 2> salt{};
  for (size_t i = 0; i < salt.size(); ++i) salt[i] = absl::HashOf(secret, i, std::string(user));
  char* text = nullptr;
  gsasl_base64_to(reinterpret_cast<const char*>(salt.data()), sizeof salt, &text, nullptr);
  std::string made = text == nullptr ? "" : text;
  gsasl_free(text);
  return made;
}

absl::Status GsaslServer::Init(const std::string& mechanism, std::string_view service_host) {
  Gsasl_session* raw = nullptr;
  const int code = ServerLibrary() == nullptr
                       ? GSASL_MALLOC_ERROR
                       : gsasl_server_start(ServerLibrary(), mechanism.c_str(), &raw);
  if (code != GSASL_OK) {
    return absl::InternalError(fmt::format("SASL library: {}", gsasl_strerror(code)));
  }
  session_.reset(raw);
  gsasl_session_hook_set(raw, this);
  absl::Status status = SetProperty(raw, GSASL_SERVICE, "smtp");
  if (status.ok()) status = SetProperty(raw, GSASL_HOSTNAME, service_host);
  return status;
}

int GsaslServer::OnProperty(Gsasl_session* session, Gsasl_property property) {
  if (property == GSASL_VALIDATE_SIMPLE) {
    const char* given = gsasl_property_fast(session, GSASL_PASSWORD);
    const bool fits =
        ActsForItself(session) && given != nullptr && PasswordFits(lookup_, user_, given);
    return fits ? GSASL_OK : GSASL_AUTHENTICATION_ERROR;
  }
  if (property == GSASL_SCRAM_SALT) {
    const char* authid = gsasl_property_fast(session, GSASL_AUTHID);
    const absl::Status set =
        SetProperty(session, property, SaltOf(authid == nullptr ? "" : authid));
    return set.ok() ? GSASL_OK : GSASL_MALLOC_ERROR;
  }
  if (property != GSASL_PASSWORD) return GSASL_NO_CALLBACK;
  const bool itself = ActsForItself(session);
  std::optional<std::string> password = PasswordOf(lookup_, user_);
  // An unknown user fails at the end like a wrong password, so that the exchange does not
  // tell who exists.
  refused_ = !itself || !password.has_value();
  const absl::Status set = SetProperty(session, GSASL_PASSWORD, password.value_or("unknown"));
  if (password) Cleanse(&*password);
  return set.ok() ? GSASL_OK : GSASL_MALLOC_ERROR;
}

Server::Outcome GsaslServer::Step(std::string_view response) {
  if (response.size() > kMessageOctetsMax) over_ = true;
  if (over_) return {State::kFailure, ""};
  StepResult result = RunStep(session_.get(), response);
  if (result.code == GSASL_NEEDS_MORE) return {State::kChallenge, std::move(result.output)};
  over_ = true;
  if (result.code != GSASL_OK || refused_) return {State::kFailure, ""};
  return {State::kSuccess, std::move(result.output)};
}

}  // namespace

std::vector<std::string> Server::Mechanisms() { return {kMechanisms.begin(), kMechanisms.end()}; }

absl::StatusOr<std::unique_ptr<Server>> Server::Start(std::string_view mechanism,
                                                      std::string_view service_host,
                                                      Lookup lookup) {
  const std::string name = AsciiUppered(mechanism);
  if (name == "LOGIN") return std::make_unique<LoginServer>(std::move(lookup));
  for (const char* known : kMechanisms) {
    if (name != known) continue;
    auto server = std::make_unique<GsaslServer>(std::move(lookup));
    absl::Status status = server->Init(name, service_host);
    if (!status.ok()) return status;
    return server;
  }
  return absl::InvalidArgumentError(fmt::format("unknown SASL mechanism '{}'", Printable(name)));
}

}  // namespace mailrace::transport::sasl

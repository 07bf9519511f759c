#include "transport/sasl/client.h"

#include <array>
#include <utility>

#include "base/text.h"
#include "fmt/format.h"
#include "transport/sasl/gsasl_session.h"
#include "transport/sasl/oauth_client.h"
#include "transport/sasl/scram_guard.h"

namespace mailrace::transport::sasl {
namespace {

constexpr std::string_view kTlsExporter = "tls-exporter:";
constexpr std::string_view kTlsUnique = "tls-unique:";

std::string Base64(std::string_view octets) {
  char* text = nullptr;
  size_t size = 0;
  if (gsasl_base64_to(octets.data(), octets.size(), &text, &size) != GSASL_OK) return "";
  std::string result(text, size);
  gsasl_free(text);
  return result;
}

class GsaslClient final : public Client {
 public:
  GsaslClient(SessionPtr session, std::string mechanism, Credentials credentials)
      : session_(std::move(session)),
        mechanism_(std::move(mechanism)),
        credentials_(std::move(credentials)),
        scram_(mechanism_.starts_with("SCRAM-")) {}

  ~GsaslClient() override {
    Cleanse(&client_first_);
    Cleanse(&credentials_.password);
  }

  bool client_first() const override {
    return scram_ || mechanism_ == "PLAIN" || mechanism_ == kExternal;
  }
  bool complete() const override { return complete_; }
  absl::StatusOr<std::string> Step(std::string_view challenge) override;
  std::string SaltingKey(std::string_view challenge) const override;
  void UseSalted(std::string_view salted) override;
  std::string salted() const override;

 private:
  absl::Status Check(std::string_view challenge) const;
  absl::Status Fail(std::string_view why) {
    failed_ = true;
    return absl::InvalidArgumentError(fmt::format("{}: {}", mechanism_, why));
  }

  SessionPtr session_;
  const std::string mechanism_;
  Credentials credentials_;
  const bool scram_;
  int steps_ = 0;
  bool complete_ = false;
  bool failed_ = false;
  std::string client_first_;  // SCRAM: holds the nonce that the server must continue.
};

// What the library would take, but we do not.
absl::Status GsaslClient::Check(std::string_view challenge) const {
  if (challenge.size() > kMessageOctetsMax) {
    return absl::InvalidArgumentError("challenge is too long");
  }
  if (scram_ && steps_ == 1) {
    return CheckScramServerFirst(challenge, ScramClientNonce(client_first_));
  }
  if (mechanism_ == "CRAM-MD5" && challenge.empty()) {
    return absl::InvalidArgumentError("empty challenge");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> GsaslClient::Step(std::string_view challenge) {
  if (failed_) return Fail("the exchange has failed before");
  if (complete_) return Fail("challenge after the end of the exchange");
  absl::Status checked = Check(challenge);
  if (!checked.ok()) return Fail(std::string(checked.message()));
  StepResult result = RunStep(session_.get(), challenge);
  if (result.code != GSASL_OK && result.code != GSASL_NEEDS_MORE) {
    Cleanse(&result.output);
    return Fail(gsasl_strerror(result.code));
  }
  if (scram_ && steps_ == 0) client_first_ = result.output;
  ++steps_;
  complete_ = result.code == GSASL_OK;
  return std::move(result.output);
}

std::string GsaslClient::SaltingKey(std::string_view challenge) const {
  if (!scram_ || steps_ != 1 || !Check(challenge).ok()) return "";
  const std::string_view salt = ScramSaltAndCount(challenge);
  // Mechanisms with and without binding salt alike. NUL is in none of the parts.
  const std::string_view hash = mechanism_.starts_with("SCRAM-SHA-256") ? "256" : "1";
  std::string key;
  for (const std::string_view part :
       {hash, std::string_view(credentials_.user), std::string_view(credentials_.password), salt}) {
    key += part;
    key += '\0';
  }
  return key;
}

void GsaslClient::UseSalted(std::string_view salted) {
  // Without it the library salts by itself.
  if (!SetProperty(session_.get(), GSASL_SCRAM_SALTED_PASSWORD, salted).ok()) failed_ = true;
}

std::string GsaslClient::salted() const {
  const char* salted = gsasl_property_fast(session_.get(), GSASL_SCRAM_SALTED_PASSWORD);
  return salted == nullptr ? std::string() : std::string(salted);
}

// The binding says of which type it is (RFC 5056 2.1).
absl::Status SetBinding(Gsasl_session* session, std::string_view binding) {
  if (binding.starts_with(kTlsExporter)) {
    binding.remove_prefix(kTlsExporter.size());
    return SetProperty(session, GSASL_CB_TLS_EXPORTER, Base64(binding));
  }
  if (binding.starts_with(kTlsUnique)) {
    binding.remove_prefix(kTlsUnique.size());
    return SetProperty(session, GSASL_CB_TLS_UNIQUE, Base64(binding));
  }
  return absl::InvalidArgumentError("channel binding of an unknown type");
}

// Credentials that would mean something else on the wire: a NUL ends PLAIN's fields, a
// line end does not belong into a password file's line (A-12).
// An 0x01 does so for the fields of a bearer token's message.
bool Sendable(std::string_view text) {
  return text.find_first_of(std::string_view("\0\r\n\x01", 4)) == text.npos;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Client::Start(std::string_view mechanism,
                                                      const Credentials& credentials,
                                                      std::string_view service_host,
                                                      std::string_view channel_binding) {
  const std::string name = AsciiUppered(mechanism);
  const bool external = name == kExternal && !credentials.bearer;
  if (!external && ChooseMechanism({name}, {}, true, credentials.bearer).empty()) {
    return absl::InvalidArgumentError(fmt::format("unknown SASL mechanism '{}'", Printable(name)));
  }
  if ((credentials.user.empty() && !external) || !Sendable(credentials.user) ||
      !Sendable(credentials.password)) {
    return absl::InvalidArgumentError("user or password is empty or holds a control character");
  }
  if (name.ends_with("-PLUS") && channel_binding.empty()) {
    return absl::InvalidArgumentError(fmt::format("{} needs a channel binding", name));
  }
  if (credentials.bearer) return StartOauthClient(name, credentials, service_host);
  Gsasl_session* raw = nullptr;
  const int code =
      Library() == nullptr ? GSASL_MALLOC_ERROR : gsasl_client_start(Library(), name.c_str(), &raw);
  if (code != GSASL_OK) {
    return absl::InternalError(fmt::format("SASL library: {}", gsasl_strerror(code)));
  }
  SessionPtr session(raw);
  if (external) {
    absl::Status status = SetProperty(raw, GSASL_AUTHZID, credentials.user);
    if (!status.ok()) return status;
    return std::make_unique<GsaslClient>(std::move(session), name, credentials);
  }
  const std::array<std::pair<Gsasl_property, std::string_view>, 4> properties{
      {{GSASL_AUTHID, credentials.user},
       {GSASL_PASSWORD, credentials.password},
       {GSASL_SERVICE, "smtp"},
       {GSASL_HOSTNAME, service_host}}};
  for (const auto& [property, value] : properties) {
    absl::Status status = SetProperty(raw, property, value);
    if (!status.ok()) return status;
  }
  // Only for -PLUS: told of a binding, GNU SASL 2.2.0 refuses to speak plain SCRAM, where
  // it should say "y" (RFC 5802 6). It says "n": we do not bind.
  if (name.ends_with("-PLUS")) {
    absl::Status status = SetBinding(raw, channel_binding);
    if (!status.ok()) return status;
  }
  return std::make_unique<GsaslClient>(std::move(session), name, credentials);
}

}  // namespace mailrace::transport::sasl

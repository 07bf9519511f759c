// The client's half of a SASL exchange, by GNU SASL (RFC 4422). Pure: challenges in,
// responses out; base64 is the caller's (transport/smtp).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace mailrace::transport::sasl {

struct Credentials {
  std::string user;
  std::string password;
  bool bearer = false;  // `password` is a bearer token (RFC 6750): only for TLS.
  friend bool operator==(const Credentials&, const Credentials&) = default;
};

// Postfix's words of smtp_sasl_security_options, with the meaning that Cyrus SASL gives
// them (SASL_SEC_*): noplaintext excludes PLAIN, LOGIN and bearer tokens; noactive leaves
// SCRAM, mutual_auth SCRAM and DIGEST-MD5; nodictionary and forward_secrecy leave nothing,
// for every mechanism here proves a password or shows a token. noanonymous excludes nothing:
// ANONYMOUS is never used.
struct SecurityOptions {
  bool noplaintext = false;
  bool noactive = false;
  bool nodictionary = false;
  bool noanonymous = false;
  bool mutual_auth = false;
  bool forward_secrecy = false;
  friend bool operator==(const SecurityOptions&, const SecurityOptions&) = default;
};

// The best mechanism that the server offers, the library has and `options` allow, or
// empty. Order: SCRAM-SHA-256, SCRAM-SHA-1, DIGEST-MD5, CRAM-MD5, PLAIN, LOGIN; with
// `channel_binding_available` the -PLUS forms come first. With `bearer` the credential is a
// token: OAUTHBEARER, XOAUTH2 and nothing else. Names compare without case. Never
// EXTERNAL: OffersExternal() is for who showed a certificate.
std::string ChooseMechanism(const std::vector<std::string>& offered, const SecurityOptions& options,
                            bool channel_binding_available, bool bearer = false);

// EXTERNAL (RFC 4422 appendix A): who we are the server knows from our TLS certificate. True
// if it is offered and `options` allow it: neither password nor challenge, but nothing that
// proves the server or withstands who sits between (as Cyrus SASL classes it).
inline constexpr std::string_view kExternal = "EXTERNAL";
bool OffersExternal(const std::vector<std::string>& offered, const SecurityOptions& options);

class Client {
 public:
  // `service_host` is the relay's name. `channel_binding` is tls::Engine's, or empty.
  // EXTERNAL asks to act as the user; without one, as whom the certificate names.
  // InvalidArgument: a mechanism that is none of ours; other credentials without
  // a user or with NUL, CR or LF in them; -PLUS without a binding.
  static absl::StatusOr<std::unique_ptr<Client>> Start(std::string_view mechanism,
                                                       const Credentials& credentials,
                                                       std::string_view service_host,
                                                       std::string_view channel_binding);
  virtual ~Client() = default;
  // True if the first response goes out before any challenge.
  virtual bool client_first() const = 0;
  // Answers one challenge (decoded). The first call of a client-first mechanism has an
  // empty challenge. Error: the exchange must be cancelled ("*"): bad nonce, an
  // iteration count outside [4096, 250000] (more is an attack on us; a weaker one is a
  // downgrade), wrong server signature, a challenge above 12288 octets or after the
  // end … Never holds a secret. The result may: wipe it once it is sent.
  virtual absl::StatusOr<std::string> Step(std::string_view challenge) = 0;
  // What answering `challenge` would have to salt (RFC 5802 3), or empty if it is cheap.
  // That takes up to a tenth of a second: not for a shard. The key holds the password.
  virtual std::string SaltingKey(std::string_view /*challenge*/) const { return ""; }
  // What an earlier exchange with the same key came to; before that Step.
  virtual void UseSalted(std::string_view /*salted*/) {}
  // After that Step: for the next exchange. A secret as good as the password.
  virtual std::string salted() const { return ""; }
  // True once the mechanism is satisfied: a 235 before that is a failure.
  virtual bool complete() const = 0;
};

// The server's half, for mailrace-sink and submission AUTH.
class Server {
 public:
  // Returns the password of a user, or nothing. An empty password counts as nothing.
  using Lookup = std::function<std::optional<std::string>(std::string_view user)>;
  static std::vector<std::string> Mechanisms();
  static absl::StatusOr<std::unique_ptr<Server>> Start(std::string_view mechanism,
                                                       std::string_view service_host,
                                                       Lookup lookup);
  virtual ~Server() = default;
  struct Outcome {
    enum class State { kChallenge, kSuccess, kFailure } state;
    std::string challenge;  // Also the last server message with kSuccess (SCRAM's v=).
  };
  // The first call has the initial response, or nothing where the client sent none.
  virtual Outcome Step(std::string_view response) = 0;
  virtual std::string user() const = 0;  // After kSuccess.
};

}  // namespace mailrace::transport::sasl

// One TLS connection as a pure function of octets (no socket, no clock): records in,
// records and plaintext out. Client or server. Lives on one shard.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/buffer.h"
#include "base/socket_address.h"
#include "transport/tls/context.h"

namespace mailrace::transport::tls {

// A resumable session: opaque, memory only, secret. Keyed by the whole DestinationKey
// at its owner; the engine checks certificate and name again after resumption (V7). One
// of TLS 1.3 resumes once (RFC 8446 C.4), offered again it leads to a full handshake.
class Session;
using SessionPtr = std::shared_ptr<Session>;

struct ClientEngineOptions {
  std::string server_name;  // SNI; empty: none. Never an address literal.
  // When set, the handshake fails nothing, but `verified` below is true only if the
  // chain is trusted AND the certificate bears one of `match_names` or `match_ip`.
  // A name that begins with '.' matches any sub-domain (one or more labels). An address
  // literal among the names matches nothing: that is what match_ip is for.
  std::vector<std::string> match_names;
  std::optional<IpAddress> match_ip;
  // RFC 9525 uses no subject CN; the named legacy switch smtp_tls_match_subject_cn.
  bool match_subject_cn = false;
  SessionPtr resume;  // Offered if set.
};

// What the log lines and `explain` say (postfix-semantics 3.10).
struct Info {
  std::string protocol;  // "TLSv1.3"
  std::string cipher;    // "TLS_AES_256_GCM_SHA384"
  int cipher_bits_used = 0;
  int cipher_bits = 0;
  // As Postfix prints them; empty below TLS 1.3, where the cipher's name says it.
  std::string key_exchange;      // "X25519", "ECDHE (prime256v1)", "DHE (2048 bits)"
  std::string server_signature;  // "RSA-PSS (2048 bits)", "ECDSA (prime256v1)", "ED25519"
  std::string server_digest;     // "SHA256"; empty if resumed (nothing was signed).
  bool resumed = false;
  bool peer_certificate = false;
  bool chain_trusted = false;  // The chain leads to a trust anchor and is valid now.
  bool name_matched = false;   // match_names or match_ip, whatever the chain.
  bool verified() const { return chain_trusted && name_matched; }
  // Why chain_trusted is false, as Postfix words it behind "certificate verification
  // failed for HOST: ": "self-signed certificate", "untrusted issuer NAME", "certificate
  // has expired", "num=N:TEXT" … Judged anew after every handshake, a resumed one too.
  std::string verify_problem;
  std::string subject_cn;
  std::string issuer_cn;
  std::string certificate_fingerprint;  // SHA-256, colon-separated upper-case hex.
  std::string public_key_fingerprint;
  absl::Time not_after = absl::InfiniteFuture();  // Of the peer's certificate.
};

class Engine {
 public:
  // `context` must be a client context.
  static absl::StatusOr<std::unique_ptr<Engine>> Client(std::shared_ptr<const Context> context,
                                                        const ClientEngineOptions& options);
  static absl::StatusOr<std::unique_ptr<Engine>> Server(std::shared_ptr<const Context> context);
  virtual ~Engine() = default;

  // --- Octets. Records from the peer: consumes all of `records`. ---
  virtual void Receive(std::string_view records) = 0;
  // Moves the records to be sent to the end of *out.
  virtual void TakeRecords(Buffer* out) = 0;

  // --- Handshake. ---
  enum class Step { kDone, kNeedsRecords };
  // Call after each Receive until kDone, sending what TakeRecords gives each time, also
  // after an error (the alert). Error: the library's reason, one line.
  virtual absl::StatusOr<Step> Handshake() = 0;

  // --- Data, after the handshake. ---
  // Encrypts; the records come out of TakeRecords.
  virtual absl::Status Write(std::string_view plaintext) = 0;
  // Decrypts what was received, appends to *into. Returns false once the peer sent
  // close_notify, in the same call that appends what came before it; what follows it is
  // never looked at. Error on a bad record, or if more than 512 KiB are received unread.
  virtual absl::StatusOr<bool> Read(Buffer* into) = 0;
  // Queues close_notify.
  virtual void Close() = 0;

  // After the handshake.
  virtual const Info& info() const = 0;
  // Clients: a session that arrived since the last call (TLS 1.3 tickets arrive after
  // the handshake, several of them), or null.
  virtual SessionPtr TakeSession() = 0;
  // Channel binding for SCRAM-PLUS in RFC 5056 2.1's form, type, colon and octets:
  // "tls-exporter:…" under TLS 1.3 (RFC 9266), "tls-unique:…" under TLS 1.2 with the
  // extended master secret (RFC 5929, RFC 7627); empty if there is none.
  virtual std::string ChannelBinding() const = 0;
};

}  // namespace mailrace::transport::tls

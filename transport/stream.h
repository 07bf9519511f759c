// A connection with buffers, and TLS once it was started: what SMTP sessions of both
// sides speak over. Lives on one shard; used by one coroutine at a time.
#pragma once

#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/task.h"
#include "transport/connection.h"
#include "transport/tls/engine.h"

namespace mailrace::transport {

class Stream {
 public:
  explicit Stream(std::unique_ptr<Connection> connection);
  ~Stream();

  // Received octets (decrypted under TLS) that the session has not consumed.
  Buffer& input() { return input_; }
  // Octets that the next Flush sends.
  Buffer& output() { return output_; }

  // Reads more into input(), at least one octet. False when the peer closed in an
  // orderly way (FIN, under TLS with or without close_notify: SMTP has its own
  // framing, reliability.md T-22). After close_notify nothing is read any more, in
  // clear least of all (S-10). Under TLS may write (alerts, key updates).
  Task<absl::StatusOr<bool>> Fill(MonoTime deadline);

  // Sends all of output(), which is empty afterwards even on failure. A deadline
  // covers the whole call. A failure is final: the peer may hold half a command, so
  // each later Flush fails with it too.
  Task<absl::Status> Flush(MonoTime deadline);

  // Hands the connection to `engine` and shakes hands. REQUIRES: output() is empty.
  // Octets already in input() are plaintext injected before TLS (C-05, S-01): the
  // caller has to check; here they fail the call. InvalidArgument and the like carry
  // the TLS library's reason. After a failure nothing is sent or read any more: the
  // dialogue can not fall back to clear text on this connection.
  Task<absl::Status> StartTls(std::unique_ptr<tls::Engine> engine, MonoTime deadline);

  // Null before StartTls succeeded.
  tls::Engine* tls() { return tls_.get(); }

  // Under TLS: queues close_notify and sends it, waiting for nothing more than the
  // deadline. Call before destruction in the orderly case.
  Task<void> Shutdown(MonoTime deadline);

  void Cancel() { connection_->Cancel(); }
  // Ends a Fill in flight with Cancelled; the stream stays usable. It may be missed when
  // Fill is just between two reads of TLS records: the caller's deadline ends it then.
  void CancelRead() { connection_->CancelRead(); }
  SocketAddress local() const { return connection_->local(); }
  SocketAddress remote() const { return connection_->remote(); }

 private:
  // Sends and empties cipher_out_.
  Task<absl::Status> SendRecords(MonoTime deadline);
  // Nothing goes out or comes in any more.
  void Poison(const absl::Status& why);

  std::unique_ptr<Connection> connection_;
  std::unique_ptr<tls::Engine> tls_;
  Buffer input_;
  Buffer output_;
  Buffer cipher_in_;   // TLS records as received; empty without TLS.
  Buffer cipher_out_;  // TLS records to send.
  bool peer_closed_ = false;
  absl::Status write_status_;  // The first failure to send.
};

}  // namespace mailrace::transport

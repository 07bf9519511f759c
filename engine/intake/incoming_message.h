// One message on its way in, from its first recipient to Acceptor::Accept: its envelope,
// the content not yet handed over, and our trace fields at its top. Lives in a session.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/socket_address.h"
#include "base/task.h"
#include "engine/intake/acceptor.h"
#include "engine/intake/header_scan.h"
#include "engine/intake/intake_options.h"
#include "transport/smtp/server_machine_commands.h"

namespace mailrace::engine {

class IncomingMessage {
 public:
  // All borrowed; they outlive the message.
  IncomingMessage(Acceptor* acceptor, const IntakeOptions* options);
  IncomingMessage(const IncomingMessage&) = delete;
  IncomingMessage& operator=(const IncomingMessage&) = delete;
  // Abandons what was not accepted.
  ~IncomingMessage() { Abandon(); }

  // `now`: the same as `arrival`, by the loop's clock.
  void Begin(const transport::smtp::MailCommand& mail, absl::Time arrival, MonoTime now);
  void AddRecipient(const transport::smtp::RcptCommand& rcpt);
  bool begun() const { return begun_; }
  QueueId id() const { return envelope_.id; }
  MonoTime mail_time() const { return mail_time_; }  // Of Begin().
  const queue::Envelope& envelope() const { return envelope_; }

  // Who hands it in, for the Received field. Before the first content is looked at.
  struct Source {
    std::string helo_name;
    IpAddress peer;
    std::string protocol;
    SocketAddress listener;  // Where the client connected to.
    std::string submitter;   // Who logged in; empty: nobody.
  };
  void SetSource(Source source);

  // Canonical content is appended here by whoever reads it.
  std::string* content() { return &content_; }

  // Looks at the headers that have come and stores what is more than one body record.
  // Call it between reads: it bounds the memory. Failures are kept for Finish().
  Task<void> Store();

  // The content is complete. An empty result: envelope() and TakeContent() are ready for
  // Accept; else the reply to give, and Abandon() it.
  std::string Finish(bool eight_bit);
  queue::Octets TakeContent();
  // What was wrong with the message's labels of class and tenant, which count as absent
  // then; empty: nothing. After Finish().
  const std::string& label_problem() const { return label_problem_; }
  // The envelope goes to Accept and the message forgets all.
  queue::Envelope TakeEnvelope();
  void Abandon();

 private:
  void Stamp();
  std::string HeaderRefusal() const;
  void RemoveLabels();
  void RemoveRepeatedRecipients();
  bool NeedsSmtpUtf8() const;

  Acceptor* const acceptor_;
  const IntakeOptions* const options_;
  bool begun_ = false;
  bool stamped_ = false;
  MonoTime mail_time_;
  queue::Envelope envelope_;
  Source source_;
  std::string content_;
  HeaderScan headers_{0};
  std::string label_problem_;
  std::string refusal_;  // Not empty: the content is thrown away as it comes.
};

// The reply that a failed Admit, PutChunk or Accept stands for:
// always 4xx, so that the client keeps the message.
std::string QueueRefusal(const absl::Status& status);

}  // namespace mailrace::engine

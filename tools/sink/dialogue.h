// One session's SMTP as a sink speaks it (RFC 5321, 2920, 3030, 3207, 3461, 4954, 6531),
// sans I/O: octets in, replies out. Accepts any sender and recipient, insists on the
// order of commands, and does what the fault plan says. Made for speed: it reads whole
// groups of commands from the buffer they came in.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/random.h"
#include "tools/sink/content_reader.h"
#include "tools/sink/counters.h"
#include "tools/sink/fault_plan.h"
#include "tools/sink/options.h"
#include "tools/sink/recorder.h"
#include "transport/sasl/client.h"

namespace mailrace::sink {

// What the sessions of one thread share. All borrowed; outlives them.
struct DialogueContext {
  const SinkOptions* options = nullptr;
  const FaultPlan* faults = nullptr;
  Recorder* recorder = nullptr;
  SinkCounters* counters = nullptr;
  Random* random = nullptr;  // For the faults.
  const Clock* clock = nullptr;
};

class Dialogue {
 public:
  // What the session does once the replies are sent.
  enum class Step : uint8_t {
    kContinue,  // Read more.
    kStartTls,  // Shake hands, then TlsStarted().
    kStall,     // Read on, never answer.
    kClose,
  };

  // `context` is borrowed. `session` is the number that records bear.
  Dialogue(const DialogueContext* context, uint64_t session);

  // The first reply.
  Step Greet(Buffer* out);
  // Consumes what it can of *input, which may leave the beginning of a line. Once it
  // returned anything but kContinue the rest of *input is untouched.
  Step Process(Buffer* input, Buffer* out);
  // RFC 3207 4.2: the session begins anew, under TLS.
  void TlsStarted(std::string protocol, std::string cipher);
  // The reply that ends a session which the sink has to leave: "421 …".
  void Leave(std::string_view why, Buffer* out);

 private:
  enum class Expect : uint8_t { kCommand, kData, kChunk, kAuthResponse, kAuthEnd };
  using Handler = Step (Dialogue::*)(std::string_view argument);
  struct Command {
    std::string_view verb;
    Handler handler;
    SinkStep step;
    bool before_tls;  // Allowed while --require-tls is not met.
  };
  static const Command kCommands[];
  // RFC 4954 4: an AUTH line may have 12288 octets.
  static constexpr size_t kLineOctetsMax = 12'290;
  static constexpr int kErrorsMax = 100;

  Step OnLine(std::string_view* input);
  Step OnCommand(std::string_view line);
  Step OnData(std::string_view* input);
  Step OnChunk(std::string_view* input);
  Step OnAuthLine(std::string_view line);

  Step Ehlo(std::string_view argument);
  Step Helo(std::string_view argument);
  Step Starttls(std::string_view argument);
  Step Auth(std::string_view argument);
  Step Mail(std::string_view argument);
  Step Rcpt(std::string_view argument);
  Step Data(std::string_view argument);
  Step Bdat(std::string_view argument);
  Step Rset(std::string_view argument);
  Step Noop(std::string_view argument);
  Step Quit(std::string_view argument);
  Step Vrfy(std::string_view argument);

  Step AuthStep(std::string_view response);
  Step EndAuth();
  // Refuses a MAIL or its parameter; empty if all is well.
  std::string_view MailProblem(std::string_view parameters);
  // All content is there. Accept() takes the X-Mailrace-Id only to have the signature of
  // a handler, so that a fault can stand in for it.
  Step FinishMessage();
  Step Accept(std::string_view id);

  Step Inject(const Fault& fault, Handler instead_of, std::string_view argument);
  Step Reply(std::string_view line);
  // A reply to what a correct client does not send.
  Step Refuse(std::string_view line);
  void ResetTransaction();
  bool Offers(std::string_view keyword) const;
  std::vector<std::string> OfferedMechanisms() const;

  const DialogueContext* const context_;
  const SinkOptions* const options_;
  SinkCounters* const counters_;
  const uint64_t session_;

  Buffer* out_ = nullptr;  // During Greet() and Process().
  Expect expect_ = Expect::kCommand;
  int errors_ = 0;
  uint64_t messages_ = 0;

  bool greeted_ = false;  // EHLO or HELO.
  bool tls_ = false;
  std::string tls_protocol_;
  std::string tls_cipher_;
  std::unique_ptr<transport::sasl::Server> auth_;
  std::string user_;  // Authenticated.

  bool in_transaction_ = false;
  bool smtputf8_ = false;
  std::string reverse_path_;
  std::vector<std::string> recipients_;
  ContentReader content_;
  uint64_t chunk_left_ = 0;
  bool chunk_last_ = false;
  bool in_chunks_ = false;      // A BDAT came in this transaction.
  bool chunk_refused_ = false;  // Its octets come all the same.

  // Of the read that is being processed.
  uint64_t group_commands_ = 0;
  bool group_ended_message_ = false;
};

}  // namespace mailrace::sink

// The server side of SMTP as a pure function of octets: commands in, replies and events
// out, RFC 5321 with PIPELINING, SIZE, 8BITMIME, SMTPUTF8, DSN, ENHANCEDSTATUSCODES,
// CHUNKING, STARTTLS and AUTH. It knows syntax, order and limits; who may send and what
// becomes of a message is its driver's business (engine/intake). One a connection; not
// thread-safe.
//
//   machine.Greet();
//   loop: event = machine.Next(&input, &content);
//         send machine.TakeReplies(), before reading when the event is kNeedsInput
//
//   command ──MAIL──> kMail ──AcceptMail──> RCPT… ──DATA 354──> data ──dot──> kMessage
//      ^                                      └──BDAT──> chunk … LAST ──────────┘  │
//      └──────────────────────────── transaction forgotten ───────────────────────┘
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "transport/smtp/server_machine_commands.h"
#include "transport/smtp/server_machine_content.h"

namespace mailrace::transport::smtp {

struct ServerOptions {
  std::string hostname;                      // myhostname
  std::string banner;                        // smtpd_banner, expanded: what follows "220 ".
  uint64_t message_size_limit = 10'240'000;  // Octets; 0: none.
  size_t recipient_limit = 1000;             // smtpd_recipient_limit
  size_t recipient_overshoot_limit = 1000;   // RCPTs over the limit that are no errors yet.
  size_t hard_error_limit = 20;              // smtpd_hard_error_limit
  size_t junk_command_limit = 100;           // smtpd_junk_command_limit
  size_t command_octets_max = 2048;          // MAIL, RCPT with CRLF; others 512. line_length_limit
  size_t line_octets_max = 998;              // smtp_line_length_limit; 0: none.
  BareNewline bare_newline = BareNewline::kReject;  // smtpd_forbid_bare_newline
  int bare_newline_reject_code = 550;  // smtpd_forbid_bare_newline_reject_code; 521 hangs up.
  // smtpd_forbid_unauth_pipelining: what follows a command that must be the last of its
  // group ends the session. Always so behind STARTTLS and a BDAT that cannot be read.
  bool forbid_unauth_pipelining = true;
  bool helo_required = true;  // smtpd_helo_required
  bool starttls = false;      // A certificate is at hand.
  // What AUTH offers in clear and inside TLS; both empty: no AUTH. Upper case.
  std::vector<std::string> auth_mechanisms;
  std::vector<std::string> auth_mechanisms_tls;
  // smtpd_discard_ehlo_keywords, upper case: not announced. Without DSN its parameters are
  // refused, too.
  std::vector<std::string> discard_ehlo_keywords;
  // Content that is refused is read to its end, but no further than this.
  uint64_t discard_octets_max = uint64_t{1} << 30;
};

class ServerMachine {
 public:
  // `options` is borrowed and outlives the machine.
  explicit ServerMachine(const ServerOptions* options);

  enum class Event : uint8_t {
    kNeedsInput,    // Send the replies, then read more. A partial command stays in *input.
    kMail,          // mail() is well-formed: AcceptMail() or Refuse().
    kRcpt,          // rcpt() is: AcceptRcpt() or Refuse().
    kMessage,       // The content is complete: answer with 250 or a refusal in this place of
                    // the dialogue (Reply), then MessageAccepted() or MessageRefused().
    kAbandoned,     // The transaction was given up, or its content refused: refusal() is the
                    // reply that was given, or empty.
    kRefused,       // A command was answered 4xx or 5xx: refusal() is that reply.
    kStartTls,      // Send the replies, shake hands, then TlsStarted(). *input is empty.
    kAuth,          // auth_mechanism() is one that we offer; auth_response() its initial response.
    kAuthResponse,  // auth_response() answers the challenge. Both: AuthChallenge(),
                    // AuthSucceeded() or AuthFailed().
    kClose,         // Send the replies and close.
  };

  // The connection was accepted: queues 220.
  void Greet();

  // Consumes commands or content from the front of *input, appends content to *content,
  // until something happens. Call it again after each event but kNeedsInput and kClose;
  // the driver may empty *content between calls.
  Event Next(std::string_view* input, std::string* content);

  // Replies to be sent, in order, in front of everything that comes later.
  std::string TakeReplies();

  // --- Answers to events. ---
  void AcceptMail();
  void AcceptRcpt();
  // `reply` without CRLF: "452 4.3.1 …". Answers kMail and kRcpt.
  void Refuse(std::string_view reply);
  // What came of kMessage; may be told later, when other commands have been read.
  void MessageAccepted();
  void MessageRefused();
  // The next step of the exchange (RFC 4954 4); `challenge` is not yet base64.
  void AuthChallenge(std::string_view challenge);
  void AuthSucceeded();
  // After the third one the session is over.
  void AuthFailed();
  // Inside TLS everything is forgotten (RFC 3207 4.2).
  void TlsStarted();

  // Queues a line of the driver's: the reply to kMessage, "421 …".
  void Reply(std::string_view reply);

  // --- What the driver asks. ---
  const MailCommand& mail() const { return mail_; }
  const RcptCommand& rcpt() const { return rcpt_; }
  const ContentScanner& content() const { return scanner_; }
  const std::string& auth_mechanism() const { return auth_mechanism_; }  // Upper case.
  const std::string& auth_response() const { return auth_response_; }    // Decoded.
  // Whether AUTH is there to be used, now or after STARTTLS.
  bool auth_offered() const { return !AuthMechanisms().empty(); }
  bool auth_needs_tls() const { return !auth_offered() && !options_->auth_mechanisms_tls.empty(); }
  bool authenticated() const { return authenticated_; }
  bool in_transaction() const { return in_mail_; }
  bool in_content() const { return mode_ == Mode::kData || mode_ == Mode::kChunk; }
  const std::string& helo_name() const { return helo_name_; }
  bool esmtp() const { return esmtp_; }
  bool tls() const { return tls_; }
  // The last command's name: "RCPT", "CONNECT" before any, "END-OF-MESSAGE" and so on.
  std::string_view last_command() const { return last_command_; }
  // After kRefused and kAbandoned.
  const std::string& refusal() const { return refusal_; }
  // Octets of the command that violated the pipelining rules or a protocol; empty: none.
  const std::string& improper_input() const { return improper_input_; }
  // Postfix's "ehlo=1 mail=1 rcpt=0/1 commands=2/3".
  std::string CommandCounts() const;

 private:
  enum class Mode : uint8_t { kCommand, kAuth, kData, kChunk, kDiscardLine, kClosed };
  enum class Outcome : uint8_t { kGoOn, kNeedsInput, kEvent };
  struct Count {
    uint32_t all = 0;
    uint32_t refused = 0;
  };

  Outcome NextCommand(std::string_view* input);
  Outcome TakeLine(std::string_view* input, std::string_view* line);
  Outcome DiscardLine(std::string_view* input);
  void Dispatch(const CommandLine& command, std::string_view* input);
  void Unknown(const CommandLine& command);
  void Vrfy(const CommandLine& command);
  void Hello(const CommandLine& command, std::string_view* input);
  bool Offers(std::string_view keyword) const;
  void StartTlsCommand(const CommandLine& command, std::string_view* input);
  const std::vector<std::string>& AuthMechanisms() const {
    return tls_ ? options_->auth_mechanisms_tls : options_->auth_mechanisms;
  }
  void Auth(const CommandLine& command, std::string_view* input);
  Outcome NextAuthResponse(std::string_view* input);
  void MailFrom(const CommandLine& command);
  void RcptTo(const CommandLine& command);
  void Data(const CommandLine& command, std::string_view* input);
  void Bdat(const CommandLine& command, std::string_view* input);
  std::string_view CannotSend() const;
  Outcome FeedData(std::string_view* input, std::string* content);
  Outcome FeedChunk(std::string_view* input, std::string* content);
  void EndOfChunk(std::string* content);
  void EndOfContent();
  std::string ContentRefusal() const;
  bool NothingBehind(std::string_view* input);
  void Reject(std::string_view reply);
  void HangUp(std::string_view reply);
  void DropTransaction();
  bool ChunkRefused() const { return !chunk_refusal_.empty() || !bdat_refusal_.empty(); }
  Outcome Happened() const;

  const ServerOptions* options_;
  Mode mode_ = Mode::kCommand;
  Event event_ = Event::kNeedsInput;  // What Next() is about to return, if anything.
  std::string replies_;
  std::string refusal_;
  std::string improper_input_;
  std::string_view last_command_ = "CONNECT";
  Verb verb_ = Verb::kUnknown;
  std::array<Count, kVerbs> counts_{};
  size_t errors_ = 0;
  size_t junk_ = 0;
  uint64_t discarded_ = 0;

  std::string helo_name_;
  bool esmtp_ = false;
  bool tls_ = false;

  std::string auth_mechanism_;
  std::string auth_response_;
  bool authenticated_ = false;
  size_t auth_failures_ = 0;

  bool in_mail_ = false;
  MailCommand mail_;
  RcptCommand rcpt_;
  size_t rcpts_accepted_ = 0;
  size_t rcpts_refused_ = 0;
  size_t rcpts_over_limit_ = 0;

  ContentScanner scanner_;
  bool in_bdat_ = false;      // A BDAT of this transaction came: only BDAT may follow.
  std::string bdat_refusal_;  // Not empty: every chunk of it is answered so.
  uint64_t chunk_left_ = 0;
  uint64_t chunk_octets_ = 0;
  bool chunk_last_ = false;
  std::string chunk_refusal_;  // Not empty: this chunk alone is read and refused.
};

}  // namespace mailrace::transport::smtp

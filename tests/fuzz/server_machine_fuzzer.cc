// ServerMachine with a client that sends anything: replies that are replies, one message
// for one end of data, and the same dialogue however the octets come.
//
// Input: options, the split, the driver's decisions (a bit each: refuse); then what the
// client sends.
#include "transport/smtp/server_machine.h"

#include "base/address.h"
#include "fmt/format.h"
#include "fuzz_input.h"

namespace mailrace::transport::smtp {
namespace {

using Event = ServerMachine::Event;

constexpr size_t kReplyLineOctetsMax = 510;  // RFC 5321 4.5.3.1.5, without CRLF.

ServerOptions TakeOptions(uint8_t bits) {
  ServerOptions options;
  options.hostname = "mx.example";
  options.banner = "mx.example ESMTP";
  options.starttls = (bits & 1) != 0;
  options.forbid_unauth_pipelining = (bits & 2) != 0;
  if ((bits & 4) != 0) options.bare_newline = BareNewline::kNormalize;
  if ((bits & 8) != 0) {
    options.message_size_limit = 200;
    options.recipient_limit = 2;
    options.recipient_overshoot_limit = 2;
    options.hard_error_limit = 3;
    options.junk_command_limit = 2;
    options.command_octets_max = 600;
    options.line_octets_max = 64;
  }
  options.helo_required = (bits & 16) != 0;
  if ((bits & 32) != 0) options.bare_newline_reject_code = 521;
  if ((bits & 64) != 0) options.message_size_limit = 0;
  if ((bits & 128) != 0) {
    options.auth_mechanisms = {"CRAM-MD5"};
    options.auth_mechanisms_tls = {"PLAIN", "LOGIN"};
  }
  return options;
}

// One dialogue, with a driver that refuses what `decisions` says.
class Dialogue {
 public:
  Dialogue(const ServerOptions* options, std::string_view wire, uint8_t decisions)
      : options_(options), wire_(wire), decisions_(decisions), machine_(options) {
    machine_.Greet();
    TakeReplies();
  }

  void Run(uint8_t seed) {
    octet_by_octet_ = seed == 1;
    for (const std::string_view piece : fuzz::Pieces(wire_, seed)) {
      const bool in_content = machine_.in_content();
      const size_t replies = final_replies_;
      pending_ += piece;
      Drive();
      if (octet_by_octet_) CheckAnswered(piece.front(), in_content, final_replies_ - replies);
      if (closed_) return;
    }
  }

  const std::string& transcript() const { return transcript_; }
  bool improper() const { return !machine_.improper_input().empty(); }

 private:
  void Drive() {
    std::string_view input = pending_;
    while (true) {
      const size_t before = input.size();
      const Event event = machine_.Next(&input, &content_);
      consumed_ += before - input.size();
      if (event == Event::kStartTls) FUZZ_CHECK(input.empty(), shown());
      // Nobody knows how much behind a BDAT that cannot be read is content.
      if (event == Event::kRefused && machine_.refusal().starts_with("501 5.5.4 Syntax: BDAT")) {
        FUZZ_CHECK(input.empty(), shown());
      }
      // In the order in which they came about.
      TakeReplies();
      Happened(event);
      TakeReplies();
      if (event == Event::kClose) closed_ = true;
      if (event == Event::kClose || event == Event::kNeedsInput) break;
      // Progress: events come from octets, but for the last of a session.
      FUZZ_CHECK(++events_ <= wire_.size() + 2, shown());
    }
    pending_.erase(0, pending_.size() - input.size());
  }

  bool Refuses() { return (decisions_ >> (decided_++ % 8) & 1) != 0; }

  void Happened(Event event) {
    switch (event) {
      case Event::kMail:
        return Mail();
      case Event::kRcpt:
        return Rcpt();
      case Event::kMessage:
        return Message();
      case Event::kAbandoned:
        transcript_ += "[abandoned " + machine_.refusal() + "]\n";
        if (!machine_.in_transaction()) in_mail_ = false;
        return;
      case Event::kRefused:
        transcript_ += "[refused " + machine_.refusal() + "]\n";
        FUZZ_CHECK(!machine_.refusal().empty(), shown());
        return;
      case Event::kStartTls:
        FUZZ_CHECK(options_->starttls && !machine_.tls(), shown());
        FUZZ_CHECK(!machine_.in_transaction(), shown());
        transcript_ += "[tls]\n";
        machine_.TlsStarted();
        return;
      case Event::kAuth:
      case Event::kAuthResponse:
        return Login(event);
      case Event::kNeedsInput:
      case Event::kClose:
        return;
    }
  }

  void Login(Event event) {
    FUZZ_CHECK(machine_.auth_offered() && !machine_.authenticated(), shown());
    FUZZ_CHECK(!machine_.in_transaction() && machine_.esmtp(), shown());
    FUZZ_CHECK(event == Event::kAuth || challenged_, shown());
    transcript_ += "[auth " + machine_.auth_mechanism() + "]\n";
    challenged_ = event == Event::kAuth && Refuses();
    if (challenged_) return machine_.AuthChallenge("Password:");
    if (Refuses()) return machine_.AuthFailed();
    machine_.AuthSucceeded();
  }

  void CheckPath(const std::string& path) const {
    FUZZ_CHECK(!fuzz::HasControls(path) && path.size() <= 254, shown());
    FUZZ_CHECK(machine_.mail().smtputf8 ? IsValidUtf8(path) : IsAscii(path), shown());
  }

  void Mail() {
    FUZZ_CHECK(!in_mail_, shown());
    FUZZ_CHECK(!options_->helo_required || !machine_.helo_name().empty(), shown());
    CheckPath(machine_.mail().reverse_path);
    FUZZ_CHECK(!fuzz::HasControls(machine_.mail().envid), shown());
    transcript_ += "[mail " + machine_.mail().reverse_path + "]\n";
    if (Refuses()) return machine_.Refuse("451 4.3.0 not now");
    machine_.AcceptMail();
    in_mail_ = true;
    recipients_ = 0;
    content_.clear();
    data_start_ = std::string_view::npos;
  }

  void Rcpt() {
    FUZZ_CHECK(in_mail_ && recipients_ < options_->recipient_limit, shown());
    CheckPath(machine_.rcpt().forward_path);
    FUZZ_CHECK(!machine_.rcpt().forward_path.empty(), shown());
    FUZZ_CHECK(!fuzz::HasControls(machine_.rcpt().orcpt), shown());
    transcript_ += "[rcpt " + machine_.rcpt().forward_path + "]\n";
    if (Refuses()) return machine_.Refuse("550 5.1.1 no such user");
    machine_.AcceptRcpt();
    ++recipients_;
  }

  void Message() {
    FUZZ_CHECK(in_mail_ && recipients_ > 0, shown());
    FUZZ_CHECK(!machine_.in_transaction(), shown());
    in_mail_ = false;
    transcript_ += "[message " + content_ + "]\n";
    FUZZ_CHECK(fuzz::OnlyCrlfLines(content_), shown());
    FUZZ_CHECK(content_.find('\0') == std::string::npos, shown());
    FUZZ_CHECK(content_.empty() || content_.ends_with("\r\n"), shown());
    FUZZ_CHECK(
        options_->line_octets_max == 0 || fuzz::LongestLine(content_) <= options_->line_octets_max,
        shown());
    FUZZ_CHECK(options_->message_size_limit == 0 || content_.size() <= options_->message_size_limit,
               shown());
    FUZZ_CHECK(machine_.content().eight_bit() == !IsAscii(content_), shown());
    if (data_start_ != std::string_view::npos) CheckEndOfData();
    content_.clear();
    if (Refuses()) {
      machine_.Reply("451 4.3.0 queue file write error");
      return machine_.MessageRefused();
    }
    machine_.Reply("250 2.0.0 Ok: queued");
    machine_.MessageAccepted();
  }

  // The first CRLF "." CRLF behind the DATA line, and no other place, ends the data.
  void CheckEndOfData() const {
    size_t end = data_start_ + 3;
    if (wire_.substr(data_start_, 3) != ".\r\n") end = wire_.find("\r\n.\r\n", data_start_) + 5;
    FUZZ_CHECK(consumed_ == end, shown());
  }

  void TakeReplies() {
    std::string_view replies;
    const std::string taken = machine_.TakeReplies();
    transcript_ += taken;
    FUZZ_CHECK(fuzz::OnlyCrlfLines(taken) && (taken.empty() || taken.ends_with("\r\n")), taken);
    for (replies = taken; !replies.empty();) {
      const size_t end = replies.find("\r\n");
      CheckReply(replies.substr(0, end));
      replies.remove_prefix(end + 2);
    }
  }

  void CheckReply(std::string_view line) {
    const std::string text(line);
    FUZZ_CHECK(line.size() >= 4 && line.size() <= kReplyLineOctetsMax, text);
    FUZZ_CHECK(line[0] >= '2' && line[0] <= '5', text);
    FUZZ_CHECK(line[1] >= '0' && line[1] <= '9' && line[2] >= '0' && line[2] <= '9', text);
    FUZZ_CHECK(line[3] == ' ' || line[3] == '-', text);
    FUZZ_CHECK(!fuzz::HasControls(line) && IsValidUtf8(line), text);
    if (line[3] == ' ') ++final_replies_;
    if (line.starts_with("354")) {
      FUZZ_CHECK(in_mail_ && recipients_ > 0, text);
      if (octet_by_octet_) data_start_ = consumed_;
    }
  }

  // RFC 5321 4.2: one reply for one command, and none for anything else. Behind one that
  // was an error too many may come 421.
  void CheckAnswered(char octet, bool was_in_content, size_t replies) const {
    FUZZ_CHECK(replies <= 2, shown());
    FUZZ_CHECK(replies < 2 || closed_, shown());
    if (octet == '\n' && !was_in_content && !machine_.in_content()) {
      FUZZ_CHECK(replies > 0, shown());
    }
  }

  std::string shown() const { return std::string(wire_); }

  const ServerOptions* const options_;
  const std::string_view wire_;
  const uint8_t decisions_;
  ServerMachine machine_;
  std::string pending_;
  std::string content_;
  std::string transcript_;
  size_t consumed_ = 0;
  size_t events_ = 0;
  size_t decided_ = 0;
  size_t recipients_ = 0;
  size_t final_replies_ = 0;
  size_t data_start_ = std::string_view::npos;  // Known only octet by octet.
  bool octet_by_octet_ = false;
  bool in_mail_ = false;
  bool challenged_ = false;
  bool closed_ = false;
};

void Run(const uint8_t* data, size_t size) {
  fuzz::FuzzInput input(data, size);
  const ServerOptions options = TakeOptions(input.Octet());
  const uint8_t seed = input.Octet();
  const uint8_t decisions = input.Octet();
  const std::string_view wire = input.Rest();
  Dialogue whole(&options, wire, decisions);
  whole.Run(0);
  Dialogue split(&options, wire, decisions);
  split.Run(seed);
  Dialogue octets(&options, wire, decisions);
  octets.Run(1);
  // Where a command has to be the last of its group the split makes the difference, and
  // that is all that it may make.
  if (whole.improper() || wire.size() > 32 * 1024) return;
  FUZZ_CHECK(whole.transcript() == split.transcript(), std::string(wire));
  FUZZ_CHECK(whole.transcript() == octets.transcript(), std::string(wire));
}

}  // namespace
}  // namespace mailrace::transport::smtp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mailrace::transport::smtp::Run(data, size);
  return 0;
}

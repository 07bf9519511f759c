#include "tests/sim/world/sim_relay.h"

#include <algorithm>
#include <utility>

#include "tests/sim/world/heard_replies.h"

namespace mailrace::sim {

namespace {

// A relay does not wait for ever either (RFC 5321 4.5.3.2.7 asks for five minutes).
constexpr absl::Duration kPatience = absl::Minutes(30);

bool StartsWith(std::string_view line, std::string_view verb) { return line.starts_with(verb); }

// "<a@b> SIZE=1" -> "a@b"
std::string PathOf(std::string_view argument) {
  const size_t open = argument.find('<');
  const size_t close = argument.find('>');
  if (open == std::string_view::npos || close == std::string_view::npos) return "?";
  return std::string(argument.substr(open + 1, close - open - 1));
}

std::string VerbOf(const std::string& line) {
  const std::string verb = line.substr(0, line.find(' '));
  return verb == "BDAT" && line.ends_with(" LAST") ? "BDAT LAST" : verb;
}

}  // namespace

struct SimRelay::Dialogue {
  transport::Stream* stream;
  SocketAddress site;
  std::string line{};
  bool in_mail = false;
  std::string reverse_path{};
  std::vector<std::string> recipients{};
  size_t rcpts = 0;      // Commands, whatever was said to them.
  std::string chunks{};  // Content that came by BDAT.
  HeardReplies heard{};
};

SimRelay::SimRelay(Loop* loop, transport::Network* network, RelayBook* book)
    : loop_(loop), network_(network), book_(book), tasks_(loop) {}

SimRelay::~SimRelay() = default;

absl::Status SimRelay::Listen(SocketAddress address) {
  absl::StatusOr<std::unique_ptr<transport::Listener>> listener = network_->Listen(address);
  if (!listener.ok()) return listener.status();
  listeners_.push_back(*std::move(listener));
  tasks_.Spawn(AcceptLoop(listeners_.back().get()));
  return absl::OkStatus();
}

Task<void> SimRelay::AcceptLoop(transport::Listener* listener) {
  while (true) {
    const absl::StatusOr<transport::AcceptedPeer> peer = co_await listener->Accept();
    if (!peer.ok()) co_return;
    ++book_->sessions;
    tasks_.Spawn(Session(network_->Adopt(*peer)));
  }
}

void SimRelay::CloseSessions() {
  for (transport::Stream* stream : streams_) stream->Cancel();
}

Task<void> SimRelay::Stop() {
  for (const std::unique_ptr<transport::Listener>& listener : listeners_) listener->Cancel();
  CloseSessions();
  co_await tasks_.Join();
  listeners_.clear();
}

RelayAct SimRelay::Act(const Dialogue& dialogue, RelayStep step, std::string_view argument,
                       std::string usual) const {
  std::optional<RelayAct> act;
  if (site_script_ != nullptr) act = site_script_(dialogue.site, step, argument);
  if (act && act->kind != RelayAct::Kind::kUsual) return *std::move(act);
  return {RelayAct::Kind::kReply, std::move(usual), true, act ? act->delay : absl::ZeroDuration()};
}

std::string SimRelay::EhloReply(const Dialogue& dialogue) const {
  std::vector<std::string> keywords = keywords_;
  if (tls_ != nullptr) {
    keywords.push_back(dialogue.stream->tls() == nullptr ? "STARTTLS" : "AUTH PLAIN");
  }
  std::string reply = "250";
  reply += keywords.empty() ? " " : "-";
  reply += "relay.test greets you";
  for (size_t i = 0; i < keywords.size(); ++i) {
    reply += "\r\n250";
    reply += i + 1 < keywords.size() ? "-" : " ";
    reply += keywords[i];
  }
  return reply;
}

void SimRelay::NoteHeard(const Dialogue& dialogue) {
  const HeardReplies::Refused& refused = dialogue.heard.refused();
  book_->refused_senders.insert(refused.senders.begin(), refused.senders.end());
  book_->refused_recipients.insert(refused.recipients.begin(), refused.recipients.end());
}

Task<bool> SimRelay::Say(Dialogue* dialogue, RelayAct act) {
  if (act.delay > absl::ZeroDuration()) co_await SleepUntil(loop_, loop_->now() + act.delay);
  if (act.kind == RelayAct::Kind::kDrop) co_return false;
  if (act.kind == RelayAct::Kind::kSilence) {
    while (true) {
      dialogue->stream->input().Clear();
      const absl::StatusOr<bool> more = co_await dialogue->stream->Fill(loop_->now() + kPatience);
      if (!more.ok() || !*more) co_return false;
    }
  }
  dialogue->heard.Said(act.text);
  NoteHeard(*dialogue);
  dialogue->stream->output().Append(act.text + "\r\n");
  const absl::Status status = co_await dialogue->stream->Flush(loop_->now() + kPatience);
  co_return status.ok() && act.kind == RelayAct::Kind::kReply;
}

Task<bool> SimRelay::ReadLine(Dialogue* dialogue) {
  const MonoTime deadline = loop_->now() + kPatience;
  while (true) {
    Buffer& input = dialogue->stream->input();
    const size_t end = input.view().find("\r\n");
    if (end != std::string_view::npos) {
      dialogue->line = std::string(input.view().substr(0, end));
      input.Consume(end + 2);
      if (dialogue->line.find_first_of("\r\n") != std::string::npos) {
        book_->violations.push_back("bare CR or LF: " + dialogue->line);
      }
      co_return true;
    }
    const absl::StatusOr<bool> more = co_await dialogue->stream->Fill(deadline);
    if (!more.ok() || !*more) co_return false;
  }
}

Task<void> SimRelay::Session(std::unique_ptr<transport::Connection> connection) {
  transport::Stream stream(std::move(connection));
  streams_.push_back(&stream);
  Dialogue dialogue{&stream, stream.local()};
  bool open =
      co_await Say(&dialogue, Act(dialogue, RelayStep::kGreeting, "", "220 relay.test ESMTP"));
  while (open) {
    open = co_await ReadLine(&dialogue);
    if (!open) break;
    open = co_await Converse(&dialogue);
  }
  dialogue.heard.Closed();
  NoteHeard(dialogue);
  std::erase(streams_, &stream);
}

Task<bool> SimRelay::Converse(Dialogue* dialogue) {
  const std::string line = dialogue->line;
  dialogue->heard.Asked(VerbOf(line), PathOf(line));
  NoteHeard(*dialogue);
  RelayAct act;
  if (StartsWith(line, "EHLO ")) {
    act = Act(*dialogue, RelayStep::kEhlo, line.substr(5), EhloReply(*dialogue));
  } else if (StartsWith(line, "HELO ")) {
    act = Act(*dialogue, RelayStep::kHelo, line.substr(5), "250 relay.test");
  } else if (StartsWith(line, "AUTH ")) {
    ++book_->auths;
    if (tls_ != nullptr && dialogue->stream->tls() == nullptr) {
      book_->violations.push_back("credentials in clear");
    }
    act = Act(*dialogue, RelayStep::kAuth, line.substr(5), "235 2.7.0 welcome");
  } else if (StartsWith(line, "MAIL FROM:")) {
    act = Act(*dialogue, RelayStep::kMail, line.substr(10), "250 2.1.0 ok");
    // Who hears replies late may have heard another's refusal for that of the transaction.
    if (dialogue->in_mail && !dialogue->heard.late()) {
      book_->violations.push_back("nested MAIL");
    }
    if (tls_ != nullptr && dialogue->stream->tls() == nullptr) {
      book_->violations.push_back("mail in clear");
    }
    dialogue->in_mail = act.kind == RelayAct::Kind::kReply && act.text.starts_with("250");
    dialogue->reverse_path = PathOf(line);
    dialogue->recipients.clear();
    dialogue->rcpts = 0;
    if (act.text.starts_with("5")) book_->refused_senders.insert(dialogue->reverse_path);
  } else if (StartsWith(line, "RCPT TO:")) {
    act = dialogue->in_mail ? Act(*dialogue, RelayStep::kRcpt, line.substr(8), "250 2.1.5 ok")
                            : RelayAct{RelayAct::Kind::kReply, "503 5.5.1 MAIL first"};
    book_->recipients_most = std::max(book_->recipients_most, ++dialogue->rcpts);
    if (dialogue->in_mail && act.text.starts_with("250")) {
      dialogue->recipients.push_back(PathOf(line));
    } else if (dialogue->in_mail && act.text.starts_with("5")) {
      book_->refused_recipients.insert(PathOf(line));
    }
  } else if (line == "DATA") {
    const bool open = co_await Content(dialogue);
    co_return open;
  } else if (StartsWith(line, "BDAT ")) {
    const bool open = co_await Chunk(dialogue);
    co_return open;
  } else if (line == "STARTTLS" && tls_ != nullptr) {
    const bool open = co_await StartTls(dialogue);
    co_return open;
  } else if (line == "RSET") {
    act = Act(*dialogue, RelayStep::kRset, "", "250 2.0.0 ok");
    dialogue->in_mail = false;
    dialogue->chunks.clear();
  } else if (line == "NOOP") {
    act.text = "250 2.0.0 ok";
  } else if (line == "QUIT") {
    act = {RelayAct::Kind::kReplyAndHang, "221 2.0.0 bye"};
  } else {
    book_->violations.push_back("unknown command: " + line);
    act.text = "500 5.5.2 what?";
  }
  const bool open = co_await Say(dialogue, std::move(act));
  co_return open;
}

Task<bool> SimRelay::StartTls(Dialogue* dialogue) {
  RelayAct act = Act(*dialogue, RelayStep::kStartTls, "", "220 2.0.0 ready");
  const bool ready = act.kind == RelayAct::Kind::kReply && act.text.starts_with("220");
  bool open = co_await Say(dialogue, std::move(act));
  if (!open || !ready) co_return open;
  ++book_->handshakes;
  const absl::Status shaken = co_await dialogue->stream->StartTls(
      *transport::tls::Engine::Server(tls_), loop_->now() + kPatience);
  dialogue->in_mail = false;
  open = shaken.ok();
  co_return open;
}

void SimRelay::Take(const Dialogue& dialogue, std::string content) {
  for (const std::string& to : dialogue.recipients) ++book_->delivered_to[to];
  book_->deliveries.push_back(
      {dialogue.reverse_path, dialogue.recipients, std::move(content), loop_->now()});
}

// RFC 3030 2: its octets are read whatever becomes of it.
Task<bool> SimRelay::Chunk(Dialogue* dialogue) {
  const std::string line = dialogue->line;
  size_t octets = std::stoul(line.substr(5));
  const bool last = line.ends_with(" LAST");
  std::string chunk;
  while (octets > 0) {
    Buffer& input = dialogue->stream->input();
    const std::string_view part = input.view().substr(0, octets);
    chunk += part;
    octets -= part.size();
    input.Consume(part.size());
    if (octets == 0) break;
    const absl::StatusOr<bool> more = co_await dialogue->stream->Fill(loop_->now() + kPatience);
    if (!more.ok() || !*more) co_return false;
  }
  ++book_->chunks;
  RelayAct act{RelayAct::Kind::kReply, "503 5.5.1 MAIL and RCPT first"};
  if (dialogue->in_mail && !dialogue->recipients.empty()) {
    dialogue->chunks += chunk;
    act = last ? Act(*dialogue, RelayStep::kEndOfData, dialogue->reverse_path, "250 2.0.0 queued")
               : RelayAct{RelayAct::Kind::kReply, "250 2.0.0 chunk"};
    if (last && act.accept) {
      Take(*dialogue, std::move(dialogue->chunks));
    } else if (last && act.text.starts_with("5")) {
      for (const std::string& to : dialogue->recipients) book_->refused_recipients.insert(to);
    }
  }
  if (last) {
    dialogue->in_mail = false;
    dialogue->chunks.clear();
  }
  const bool open = co_await Say(dialogue, std::move(act));
  co_return open;
}

Task<bool> SimRelay::Content(Dialogue* dialogue) {
  if (!dialogue->in_mail || dialogue->recipients.empty()) {
    dialogue->in_mail = false;
    const bool open =
        co_await Say(dialogue, {RelayAct::Kind::kReply, "554 5.5.1 no valid recipients"});
    co_return open;
  }
  RelayAct act = Act(*dialogue, RelayStep::kData, "", "354 go ahead");
  const bool refused = !act.text.starts_with("354");
  if (act.text.starts_with("5")) {
    for (const std::string& to : dialogue->recipients) book_->refused_recipients.insert(to);
  }
  if (refused) dialogue->in_mail = false;
  bool open = co_await Say(dialogue, std::move(act));
  if (!open || refused) co_return open;

  std::string content;
  while (true) {
    open = co_await ReadLine(dialogue);
    if (!open) co_return false;
    if (dialogue->line == ".") break;
    if (dialogue->line.starts_with(".")) dialogue->line.erase(0, 1);
    content += dialogue->line + "\r\n";
  }
  dialogue->in_mail = false;
  dialogue->heard.Asked(".");
  act = Act(*dialogue, RelayStep::kEndOfData, dialogue->reverse_path, "250 2.0.0 queued");
  if (act.accept) {
    Take(*dialogue, std::move(content));
  } else if (act.text.starts_with("5")) {
    for (const std::string& to : dialogue->recipients) book_->refused_recipients.insert(to);
  }
  open = co_await Say(dialogue, std::move(act));
  co_return open;
}

}  // namespace mailrace::sim

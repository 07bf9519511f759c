// An SMTP relay that keeps the standard, except where its script says otherwise. Shares
// no code with the client it talks to, so that both cannot be wrong in the same way.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/sync.h"
#include "transport/connection.h"
#include "transport/stream.h"

namespace mailrace::sim {

enum class RelayStep {
  kGreeting,
  kEhlo,
  kHelo,
  kStartTls,
  kAuth,
  kMail,
  kRcpt,
  kData,
  kEndOfData,
  kRset
};

// What the relay does instead of the usual.
struct RelayAct {
  enum class Kind {
    kReply,         // Says `text`.
    kReplyAndHang,  // Says `text` and closes, as with 421.
    kDrop,          // Closes.
    kSilence,       // Says nothing any more.
    kUsual,         // As if there were no script, after `delay`.
  };
  Kind kind = Kind::kReply;
  std::string text;     // Without the final CRLF.
  bool accept = false;  // At the end of data: takes the message, whatever it says.
  absl::Duration delay = absl::ZeroDuration();  // Before it does anything.
};

// What relays took and refused, for the oracle. Survives the hosts of both sides.
struct RelayBook {
  struct Delivery {
    std::string reverse_path;
    std::vector<std::string> recipients;
    std::string content;  // As sent, dots unstuffed.
    MonoTime time;
  };
  std::vector<Delivery> deliveries;
  std::map<std::string, size_t> delivered_to;  // How often each recipient was.
  // Said or, one reply too late, heard (heard_replies.h).
  std::set<std::string> refused_senders;     // 5xx to MAIL.
  std::set<std::string> refused_recipients;  // 5xx to RCPT, DATA or the end of data.
  std::vector<std::string> violations;       // Of the standard, by the client.
  uint64_t sessions = 0;
  uint64_t chunks = 0;  // BDAT commands.
  uint64_t auths = 0;
  uint64_t handshakes = 0;
  size_t recipients_most = 0;  // RCPT commands in one transaction.
};

class SimRelay {
 public:
  // `argument` is what follows the command's verb. Nothing: the usual.
  using Script = std::function<std::optional<RelayAct>(RelayStep step, std::string_view argument)>;
  // The same where several addresses are served: `site` is the one that was connected to.
  using SiteScript = std::function<std::optional<RelayAct>(
      const SocketAddress& site, RelayStep step, std::string_view argument)>;

  // Borrowed; outlive the relay.
  SimRelay(Loop* loop, transport::Network* network, RelayBook* book);
  // REQUIRES: Stop() was awaited.
  ~SimRelay();

  absl::Status Listen(SocketAddress address);
  void set_script(Script script) {
    site_script_ = [script = std::move(script)](const SocketAddress&, RelayStep step,
                                                std::string_view argument) {
      return script(step, argument);
    };
  }
  void set_site_script(SiteScript script) { site_script_ = std::move(script); }
  // Keywords of the reply to EHLO. With CHUNKING it takes BDAT.
  void set_keywords(std::vector<std::string> keywords) { keywords_ = std::move(keywords); }
  // Offers STARTTLS, and AUTH behind it; mail that comes otherwise is a violation.
  void set_tls(std::shared_ptr<const transport::tls::Context> context) {
    tls_ = std::move(context);
  }
  size_t sessions_open() const { return streams_.size(); }
  // Closes all sessions, as a relay that restarts: 421 to each, or nothing.
  void CloseSessions();
  Task<void> Stop();

 private:
  struct Dialogue;
  Task<void> AcceptLoop(transport::Listener* listener);
  Task<void> Session(std::unique_ptr<transport::Connection> connection);
  Task<bool> Converse(Dialogue* dialogue);
  Task<bool> StartTls(Dialogue* dialogue);
  Task<bool> Content(Dialogue* dialogue);
  Task<bool> Chunk(Dialogue* dialogue);
  Task<bool> ReadLine(Dialogue* dialogue);
  Task<bool> Say(Dialogue* dialogue, RelayAct act);
  RelayAct Act(const Dialogue& dialogue, RelayStep step, std::string_view argument,
               std::string usual) const;
  // Writes down whom the client may take for refused although we meant another.
  void NoteHeard(const Dialogue& dialogue);
  void Take(const Dialogue& dialogue, std::string content);
  std::string EhloReply(const Dialogue& dialogue) const;

  Loop* const loop_;
  transport::Network* const network_;
  RelayBook* const book_;
  TaskScope tasks_;
  SiteScript site_script_;
  std::shared_ptr<const transport::tls::Context> tls_;
  std::vector<std::string> keywords_{"PIPELINING",          "8BITMIME", "SIZE", "DSN",
                                     "ENHANCEDSTATUSCODES", "SMTPUTF8"};
  std::list<std::unique_ptr<transport::Listener>> listeners_;
  std::list<transport::Stream*> streams_;
};

}  // namespace mailrace::sim

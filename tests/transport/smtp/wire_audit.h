// What no dialogue needs to say, since it holds in each: lines end by CRLF, content has one end,
// nothing more is said of what was refused or behind a word that ends the session, and no secret
// leaves outside of AUTH.
//
// Reads both directions of one connection as a server would that has never seen our client. The
// client is known to have heard all that Server() was told before the next Client().
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace mailrace::transport::smtp {

class WireAudit {
 public:
  // `secrets`: the password, and what else must not show.
  explicit WireAudit(std::vector<std::string> secrets = {});

  // What went over the wire, in its order; in any pieces.
  void Client(std::string_view octets);
  void Server(std::string_view octets);
  // Both are behind a TLS handshake now.
  void Shaken() { silence_.clear(); }

  // What was wrong, each as a sentence.
  const std::vector<std::string>& problems() const { return problems_; }

 private:
  enum class Asked { kGreeting, kCommand, kAuth, kStartTls, kMail, kRcpt, kData, kEnd, kChunk };
  enum class Mode { kLines, kContent, kChunk };
  struct Transaction {
    bool refused = false;  // MAIL, DATA, or a part of the content.
    size_t unanswered = 0;
    size_t accepted = 0;
    bool ended = false;
    bool nobody() const { return refused || (unanswered == 0 && accepted == 0); }
  };
  struct Question {
    Asked asked;
    size_t transaction;
  };

  void Problem(std::string text) { problems_.push_back(std::move(text)); }
  void CheckLineEnds(std::string_view octets);
  void CheckSecrets(std::string_view text, bool in_auth);
  // One line, content or chunk of client_. False: it is not whole yet.
  bool TakeOne();
  void TakeLine(const std::string& line);
  bool TakeContent();
  void TakeMailCommand(const std::string& line);
  void TakeChunk(const std::string& line);
  void Ask(Asked asked) { questions_.push_back({asked, transactions_.size() - 1}); }
  void Reply(int code);
  void ReplyToTransaction(const Question& question, int code);

  std::vector<std::string> secrets_;
  std::vector<std::string> problems_;
  std::string client_, server_;  // Not whole lines yet.
  char last_ = '\n';             // Of the client.
  int code_ = 0;                 // Of a reply whose last line has not come.
  Mode mode_ = Mode::kLines;
  size_t chunk_octets_ = 0;  // Still to come.
  bool auth_goes_on_ = false;
  bool auth_refused_ = false;
  std::string silence_;  // Why nothing more may be said; empty: it may.
  std::vector<Transaction> transactions_{1};
  std::deque<Question> questions_{{Asked::kGreeting, 0}};
};

}  // namespace mailrace::transport::smtp

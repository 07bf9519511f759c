// What a client hears that reads a relay's replies strictly in the order of its commands, for the
// oracle. A relay that says more than it was asked puts each reply that follows one command
// late, and one refusal may reach a recipient that the relay never refused. Nobody can tell, as
// long as each reply can be one to the command where it is heard; if one cannot, nothing of that
// transaction may be believed.
//
// Knows nothing of how the client does it. One a session.
#pragma once

#include <deque>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace mailrace::sim {

class HeardReplies {
 public:
  // Whom a client may take for refused with 5xx.
  struct Refused {
    std::set<std::string> senders;  // At MAIL: the whole message.
    std::set<std::string> recipients;
  };

  // A command of the client, in order: its verb and its path, if it has one. "." is the end of
  // content behind DATA; the greeting needs no asking.
  void Asked(std::string_view verb, std::string_view path = {});
  // What the relay said to one command: a reply, or several.
  void Said(std::string_view text);
  // No more comes of this session.
  void Closed();

  // Who was refused by a reply to something else, as far as nothing contradicts it.
  const Refused& refused() const { return refused_; }
  // The reply that was heard last was meant for an earlier command: the client does not know
  // where the relay is, and cannot.
  bool late() const { return late_; }

 private:
  struct Command {
    std::string verb;
    std::string path;
  };
  struct Heard {
    std::string line;  // The last of its lines.
    size_t meant_for;  // The how manieth command.
  };
  struct Transaction {
    bool begun = false;  // MAIL was accepted.
    std::vector<std::string> accepted;
    bool odd = false;  // A positive reply was not in the words of its kind.
    Refused refused;
  };

  void Match();
  void Hear(const Command& command, const Heard& reply);
  void HearMail(const Command& command, const std::string& line);
  void HearRcpt(const Command& command, const std::string& line);
  void HearData(const std::string& line);
  void HearEnd(const std::string& line, bool chunk);
  void RefuseAccepted();
  // What was heard in this transaction stands.
  void Believe();
  // The client gives the session up, and believes nothing of this transaction.
  void Contradicted();

  std::deque<Command> asked_{{"greeting", ""}};
  std::deque<Heard> said_;
  size_t answered_ = 0;  // Commands, by the relay's own count.
  size_t matched_ = 0;   // Commands, by the client's.
  bool late_ = false;    // The reply that is being heard was meant for another command.
  bool used_ = false;    // A transaction lies behind.
  bool over_ = false;
  Transaction transaction_;
  Refused refused_;
};

}  // namespace mailrace::sim

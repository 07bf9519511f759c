// Dialogues between the relay client and a scripted server, as text:
//
//   # A comment.
//   do greeting ehlo mail:1 idle mail quit    what the client is told to do, in order
//   options no-pipelining no-cross-message whole    whole: not at every split
//   options no-bdat trusted=8      no BDAT; up to 8 messages streamed from the first one on, as
//                                  from a backlog; trusted=1: by BDAT, that is not yet proven
//   options lone                   nothing more follows than the messages below
//   message m1 from=a@example.org to=b@example.net,c@example.net 8bit utf8 octets=9
//           ret=HDRS envid=x notify=NEVER orcpt=rfc822;b content=text   (one line)
//   S: 220 ready                              the server sends this line
//   C: EHLO client.example                    the client sends this line, and nothing
//                                             more before the next S
//   S~ 250 par                                the server sends this without a line end
//   S! close | reset | stall                  FIN | RST | nothing more, for ever
//   S! dribble 250 ok                         an octet every 30 s, the last one for ever
//   S! tls                                    shakes hands; what follows is under TLS
//   S! next                                   FIN, and what follows is another connection
//   => m1 b@example.net accepted 250 2.0.0    a result; all of them, in order
//
// For the engine as a whole (tests/engine/delivery/dialogue/), which needs no telling what to do:
//
//   policy none | may | encrypt | secure      smtp_tls_security_level
//   login user secret                         credentials for this relay
//   wait 400                                  seconds that the dialogue has; else 10
//   => deferred 4.7.4 TLS is required         what the log says of the message
//
// In S lines \0, \e, \t and \xNN stand for octets; {N} repeats the character before it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mailrace::transport::smtp {

struct ScriptEvent {
  enum class Kind {
    kServerOctets,
    kClientOctets,
    kClose,
    kReset,
    kStall,
    kDribble,
    kTls,
    kNext
  } kind;
  std::string octets;  // Consecutive lines of one side are one event.
};

struct ScriptMessage {
  std::string name;
  std::string reverse_path = "a@example.org";
  std::vector<std::string> forward_paths;
  std::string content = "Hello\r\n";
  uint64_t octets = 7;
  bool eight_bit = false;
  bool smtputf8 = false;
  std::string ret, envid, notify, orcpt;
};

struct Script {
  std::vector<std::string> steps = {"greeting", "ehlo", "mail", "quit"};
  bool pipelining_allowed = true;
  bool cross_message_allowed = true;
  bool bdat_allowed = true;
  // Messages that may be streamed; its replies are known to be Postfix's. 1: by BDAT, one by one.
  size_t trusted = 0;
  bool lone = false;  // No more messages seem to follow than there are.
  bool every_split = true;
  std::vector<ScriptMessage> messages;
  std::string policy = "none";
  std::string user, password;  // Empty: no credentials.
  int seconds = 10;
  std::vector<ScriptEvent> events;
  std::vector<std::string> results;
  size_t server_octets_max = 0;  // The longest octets of one server event.
};

// Ends the process with a message on a line that it cannot read: a broken script must
// not pass for a test.
Script ParseScript(std::string_view text);

}  // namespace mailrace::transport::smtp

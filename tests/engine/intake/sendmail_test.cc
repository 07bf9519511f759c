// sendmail(1): its options, what it makes of a message, its exit codes.

#include "engine/intake/sendmail.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "engine/intake/sendmail_arguments.h"
#include "engine/intake/sendmail_message.h"
#include "fmt/format.h"

namespace mailrace::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

SendmailArguments Parsed(const std::vector<std::string>& words,
                         const std::string& program = "sendmail") {
  const absl::StatusOr<SendmailArguments> arguments = ParseSendmailArguments(program, words);
  EXPECT_TRUE(arguments.ok()) << arguments.status();
  return arguments.value_or(SendmailArguments());
}

TEST(SendmailArgumentsTest, ReadsThePostfixOptions) {
  const SendmailArguments arguments =
      Parsed({"-oi", "-t", "-f", "a@example.com", "-FFred", "-N", "success,delay", "-R", "hdrs",
              "-Vid1", "-v", "-oem", "-o7", "-B", "8BITMIME", "-h3", "-G", "b@example.com"});
  EXPECT_FALSE(arguments.dot_ends_input);
  EXPECT_TRUE(arguments.recipients_from_headers);
  EXPECT_EQ(arguments.sender, "a@example.com");
  EXPECT_EQ(arguments.full_name, "Fred");
  EXPECT_EQ(arguments.notify, "SUCCESS,DELAY");
  EXPECT_EQ(arguments.ret, "HDRS");
  EXPECT_EQ(arguments.envid, "id1");
  EXPECT_TRUE(arguments.verbose);
  EXPECT_THAT(arguments.recipients, ElementsAre("b@example.com"));
}

// "-eq" is no "-q": the message would be lost, and the exit status 0.
TEST(SendmailArgumentsTest, TheValueOfAnIgnoredOptionIsNoOption) {
  for (const std::string word : {"-ep", "-eq", "-ew", "-em", "-oeq", "-odi", "-c", "-cn"}) {
    const SendmailArguments arguments = Parsed({word, "b@example.com"});
    EXPECT_EQ(arguments.mode, SendmailMode::kSubmit) << word;
    EXPECT_THAT(arguments.recipients, ElementsAre("b@example.com")) << word;
  }
  EXPECT_THAT(Parsed({"-o", "db", "-e", "q", "b@example.com"}).recipients,
              ElementsAre("b@example.com"));
  EXPECT_FALSE(Parsed({"-o", "i", "b@example.com"}).dot_ends_input);
}

TEST(SendmailArgumentsTest, ModesComeFromOptionsAndFromTheName) {
  EXPECT_EQ(Parsed({"-bs"}).mode, SendmailMode::kSmtp);
  EXPECT_EQ(Parsed({"-bp"}).mode, SendmailMode::kListQueue);
  EXPECT_EQ(Parsed({"-bm", "-it"}).mode, SendmailMode::kSubmit);
  EXPECT_EQ(Parsed({"-q"}).mode, SendmailMode::kFlushQueue);
  EXPECT_EQ(Parsed({}, "mailq").mode, SendmailMode::kListQueue);
  EXPECT_EQ(Parsed({}, "newaliases").mode, SendmailMode::kInitAliases);
}

TEST(SendmailArgumentsTest, BehindTheDashesThereAreOnlyAddresses) {
  EXPECT_THAT(Parsed({"--", "-t", "-oQ/tmp"}).recipients, ElementsAre("-t", "-oQ/tmp"));
  EXPECT_EQ(Parsed({"-f", "-oQ/tmp -X/x a@b"}).sender, "-oQ/tmp -X/x a@b");
}

TEST(SendmailArgumentsTest, WhatCannotBeReadIsAUsageError) {
  const std::vector<std::vector<std::string>> kBad = {
      {"-f"}, {"-bd"},    {"-N", "never,delay"}, {"-R", "all"}, {"-V", "a\r\nb"},
      {"-%"}, {"-V", ""}, {"-s", "x"},           {"-o"}};
  for (const std::vector<std::string>& words : kBad) {
    EXPECT_FALSE(ParseSendmailArguments("sendmail", words).ok()) << testing::PrintToString(words);
  }
}

std::string Canonical(std::string_view input, bool dot_ends_input = true) {
  std::string first;
  for (size_t cut = 0; cut <= input.size(); ++cut) {
    SendmailInput reader(dot_ends_input, 1000);
    absl::StatusOr<bool> more = reader.Feed(input.substr(0, cut));
    if (more.ok() && *more) more = reader.Feed(input.substr(cut));
    EXPECT_TRUE(more.ok());
    if (more.ok() && *more) EXPECT_TRUE(reader.Finish().ok());
    const std::string content = reader.TakeContent();
    if (cut == 0) first = content;
    EXPECT_EQ(content, first) << cut;
  }
  return first;
}

TEST(SendmailInputTest, LinesEndInCrlfAndStrayCarriageReturnsAreSpaces) {
  EXPECT_EQ(Canonical("a\nb\r\nc"), "a\r\nb\r\nc\r\n");
  EXPECT_EQ(Canonical("a\rb\r\r\nc\rd"), "a b \r\nc d\r\n");
  EXPECT_EQ(Canonical("x\n\r.\r\ny\n"), "x\r\n .\r\ny\r\n");
  EXPECT_EQ(Canonical(""), "");
}

TEST(SendmailInputTest, ALoneDotEndsTheInputUnlessToldOtherwise) {
  EXPECT_EQ(Canonical("a\n.\nb\n"), "a\r\n");
  EXPECT_EQ(Canonical("a\n.\nb\n", false), "a\r\n.\r\nb\r\n");
  EXPECT_EQ(Canonical("a\n..\nb\n"), "a\r\n..\r\nb\r\n");
}

TEST(SendmailInputTest, NulAndTooMuchAreErrors) {
  SendmailInput nul(true, 1000);
  EXPECT_TRUE(absl::IsInvalidArgument(nul.Feed(std::string_view("a\0b\n", 4)).status()));
  SendmailInput large(true, 10);
  EXPECT_TRUE(absl::IsResourceExhausted(large.Feed("0123456789x").status()));
}

TEST(SendmailHeaderTest, FindsEveryFormOfRecipientAndDropsBcc) {
  const absl::StatusOr<HeaderFields> header = ReadHeader(
      "From: me@example.com\r\n"
      "To: Fred (a (nested, \\) one)) Foo <fred@example.com>,\r\n\t\"Doe, J\" <j@example.com>\r\n"
      "cc: friends: a@example.com, \"b c\"@example.com; , d @ example . com\r\n"
      "Bcc: secret@example.com,\r\n more@[192.0.2.1]\r\n"
      "Subject: To: nobody@example.com\r\n\r\nTo: body@example.com\r\n",
      100);
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_THAT(header->recipients, ElementsAre("fred@example.com", "j@example.com", "a@example.com",
                                              "\"b c\"@example.com", "d@example.com",
                                              "secret@example.com", "more@[192.0.2.1]"));
  EXPECT_TRUE(header->has_from);
  EXPECT_THAT(header->section, testing::Not(HasSubstr("secret")));
  EXPECT_THAT(header->section, testing::Not(HasSubstr("more@")));
  EXPECT_THAT(header->section, testing::EndsWith("Subject: To: nobody@example.com\r\n"));
}

TEST(SendmailHeaderTest, ResentFieldsNameTheRecipients) {
  const absl::StatusOr<HeaderFields> header = ReadHeader(
      "To: old@example.com\r\nResent-To: new@example.com\r\nResent-Bcc: b@example.com\r\n\r\n",
      100);
  ASSERT_TRUE(header.ok());
  EXPECT_THAT(header->recipients, ElementsAre("new@example.com", "b@example.com"));
}

TEST(SendmailHeaderTest, TooManyOrUnreadableAddressesAreErrors) {
  std::string many = "To: ";
  for (int i = 0; i < 10000; ++i) many += fmt::format("r{}@example.com,\r\n ", i);
  EXPECT_TRUE(absl::IsResourceExhausted(ReadHeader(many, 1000).status()));
  for (const std::string_view bad : {"a@b <", "\"open", "(open", "a@x b@y", "<>", "[1.2.3"}) {
    EXPECT_TRUE(
        absl::IsInvalidArgument(ReadHeader(fmt::format("To: {}\r\n\r\n", bad), 100).status()))
        << bad;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(ReadHeader("To: " + std::string(100, '('), 100).status()));
}

// A server that says one line to every line, from a list, on a thread of its own.
class ScriptedServer {
 public:
  explicit ScriptedServer(std::vector<std::string> replies) : replies_(std::move(replies)) {
    fd_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(fd_, 1), 0);
    socklen_t length = sizeof(address);
    getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length);
    where_ = fmt::format("127.0.0.1:{}", ntohs(address.sin_port));
    thread_ = std::thread([this] { Serve(); });
  }
  // What the client said.
  std::string Heard() {
    if (thread_.joinable()) thread_.join();
    return heard_;
  }
  ~ScriptedServer() {
    shutdown(fd_, SHUT_RDWR);
    Heard();
    close(fd_);
  }
  const std::string& where() const { return where_; }

 private:
  void Serve() {
    const int client = accept(fd_, nullptr, nullptr);
    if (client < 0) return;
    for (const std::string& reply : replies_) {
      if (send(client, reply.data(), reply.size(), MSG_NOSIGNAL) < 0) break;
      const std::string end = reply.starts_with("354") ? "\r\n.\r\n" : "\r\n";
      const size_t from = heard_.size();
      while (heard_.size() < from + end.size() || !heard_.ends_with(end)) {
        char octet;
        if (recv(client, &octet, 1, 0) <= 0) {
          close(client);
          return;
        }
        heard_ += octet;
      }
    }
    close(client);
  }
  std::vector<std::string> replies_;
  int fd_;
  std::string where_;
  std::string heard_;
  std::thread thread_;
};

struct Ran {
  int exit_code;
  std::string errors;
};

Ran RunSendmail(std::vector<std::string> words, const std::string& input,
                const std::string& where) {
  int in[2];
  int err[2];
  EXPECT_EQ(pipe(in), 0);
  EXPECT_EQ(pipe(err), 0);
  EXPECT_EQ(write(in[1], input.data(), input.size()), static_cast<ssize_t>(input.size()));
  close(in[1]);
  SendmailEnvironment environment;
  environment.submission_address = where;
  environment.myhostname = "host.example.com";
  environment.user = "joe";
  environment.input_fd = in[0];
  environment.error_fd = err[1];
  words.insert(words.begin(), "/usr/sbin/sendmail");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  Ran ran{SendmailMain(static_cast<int>(argv.size()), argv.data(), environment), ""};
  close(err[1]);
  char buffer[4096];
  const ssize_t n = read(err[0], buffer, sizeof(buffer));
  ran.errors.assign(buffer, n > 0 ? static_cast<size_t>(n) : 0);
  close(err[0]);
  close(in[0]);
  return ran;
}

const std::vector<std::string> kAllGood = {"220 hi\r\n",       "250 hi\r\n",
                                           "250 2.1.0 Ok\r\n", "250 2.1.5 Ok\r\n",
                                           "354 go\r\n",       "250 2.0.0 Ok: queued as X\r\n",
                                           "221 2.0.0 Bye\r\n"};

TEST(SendmailFoldTest, ALineTooLongForSmtpGoesOnBehindABlank) {
  EXPECT_EQ(FoldLongLines("0123456789\r\nx", 10), "0123456789\r\nx");
  EXPECT_EQ(FoldLongLines("0123456789abcdefghij\r\nx\r\n", 10),
            "0123456789\r\n abcdefghi\r\n j\r\nx\r\n");
  // Where it may be parted, nothing is added; a list of addresses is parted between them.
  EXPECT_EQ(FoldLongLines("01234567 9abcdef\r\n", 10), "01234567\r\n 9abcdef\r\n");
  EXPECT_EQ(FoldLongLines("0123456789 abcdef\r\n", 10), "0123456789\r\n abcdef\r\n");
  EXPECT_EQ(FoldLongLines("a@b.c,d@e.f,g@h.i\r\n", 10), "a@b.c,\r\n d@e.f,\r\n g@h.i\r\n");
  // A character of UTF-8 stays in one piece; what is none is cut where it must be.
  EXPECT_EQ(FoldLongLines("012345678\u00e4xyz\r\n", 10), "012345678\r\n \u00e4xyz\r\n");
  EXPECT_EQ(FoldLongLines(std::string(12, '\x80'), 10),
            std::string(6, '\x80') + "\r\n " + std::string(6, '\x80'));
  EXPECT_EQ(FoldLongLines(std::string(3000, 'x'), 0), std::string(3000, 'x'));
}

TEST(SendmailFoldTest, NoLineIsLongerThanTheLimitWhateverComes) {
  for (size_t limit = 3; limit < 20; ++limit) {
    for (const std::string pattern : {"x", " ", ",", "x ", "x,", "xxxxxxx ", "\u00e4", "\x80"}) {
      std::string line;
      while (line.size() < 100) line += pattern;
      const std::string folded = FoldLongLines(line + "\r\n" + line, limit);
      for (size_t at = 0; at < folded.size();) {
        const size_t end = std::min(folded.find("\r\n", at), folded.size());
        EXPECT_LE(end - at, limit) << pattern;
        at = end + 2;
      }
    }
  }
}

TEST(SendmailTest, ARecipientIsWholeWhereItsFieldIsFolded) {
  std::vector<std::string> replies = kAllGood;
  std::string to = "b0@example.com";
  for (int i = 1; i < 100; ++i) {
    to += fmt::format(",b{}@example.com", i);
    replies.insert(replies.begin() + 3, "250 2.1.5 Ok\r\n");
  }
  ScriptedServer server(replies);
  EXPECT_EQ(RunSendmail({"-t"}, "To: " + to + "\n\ntext\n", server.where()).exit_code, EX_OK);
  const std::string heard = server.Heard();
  for (int i = 0; i < 100; ++i) {
    EXPECT_THAT(heard, HasSubstr(fmt::format("RCPT TO:<b{}@example.com>\r\n", i)));
  }
  EXPECT_THAT(heard, HasSubstr(",\r\n b"));
}

TEST(SendmailTest, SubmitsAndExitsZeroAfterThe250) {
  ScriptedServer server(kAllGood);
  const Ran ran = RunSendmail({"-t", "-N", "never", "-V", "a+b"},
                              "To: b@example.com\nBcc:\nSubject: x\n\n.dot\nend", server.where());
  EXPECT_EQ(ran.exit_code, EX_OK) << ran.errors;
  EXPECT_EQ(server.Heard(),
            "EHLO host.example.com\r\nMAIL FROM:<joe@host.example.com> SIZE=72 ENVID=a+2Bb\r\n"
            "RCPT TO:<b@example.com> NOTIFY=NEVER\r\nDATA\r\n"
            "From: joe@host.example.com\r\nTo: b@example.com\r\nSubject: x\r\n\r\n..dot\r\nend\r\n"
            ".\r\nQUIT\r\n");
}

TEST(SendmailTest, RefusalsBecomeExitCodes) {
  const std::pair<size_t, std::pair<std::string, int>> kCases[] = {
      {0, {"421 4.3.2 stopping\r\n", EX_TEMPFAIL}},
      {2, {"452 4.3.1 Insufficient system storage\r\n", EX_TEMPFAIL}},
      {2, {"554 5.7.1 Relay access denied\r\n", EX_NOPERM}},
      {2, {"552 5.3.4 Message size exceeds fixed limit\r\n", EX_UNAVAILABLE}},
      {3, {"550 5.1.1 No such user\r\n", EX_NOUSER}},
      {5, {"550 5.6.0 Error: message line longer\r\n", EX_DATAERR}},
      {5, {"451 4.3.0 Error: queue file write error\r\n", EX_TEMPFAIL}},
      {5, {"garbage\r\n", EX_TEMPFAIL}},
  };
  for (const auto& [step, expected] : kCases) {
    std::vector<std::string> replies = kAllGood;
    replies[step] = expected.first;
    replies.resize(step + 1);
    ScriptedServer server(replies);
    EXPECT_EQ(RunSendmail({"b@example.com"}, "text\n", server.where()).exit_code, expected.second)
        << expected.first;
  }
}

TEST(SendmailTest, ALostConnectionAfterTheDotIsTemporary) {
  std::vector<std::string> replies(kAllGood.begin(), kAllGood.begin() + 5);
  ScriptedServer server(replies);
  EXPECT_EQ(RunSendmail({"b@example.com"}, "text\n", server.where()).exit_code, EX_TEMPFAIL);
}

TEST(SendmailTest, WithoutAnEngineItIsATemporaryFailureThatSaysSo) {
  const Ran ran = RunSendmail({"b@example.com"}, "text\n", "/nonexistent/submission");
  EXPECT_EQ(ran.exit_code, EX_TEMPFAIL);
  EXPECT_THAT(ran.errors, HasSubstr("mail system is not running"));
}

TEST(SendmailTest, WithoutAListenerTheConfigurationIsToBlame) {
  const Ran ran = RunSendmail({"b@example.com"}, "text\n", "");
  EXPECT_EQ(ran.exit_code, EX_CONFIG);
  EXPECT_THAT(ran.errors, HasSubstr("submission_listen"));
}

TEST(SendmailTest, HostileArgumentsNeverReachTheDialogue) {
  const std::string nowhere = "/nonexistent/submission";
  EXPECT_EQ(RunSendmail({"-f", "-oQ/tmp -X/x a@b", "b@example.com"}, "x\n", nowhere).exit_code,
            EX_USAGE);
  EXPECT_EQ(
      RunSendmail({"-f", "a@x.example>\r\nRCPT TO:<e@x", "b@example.com"}, "", nowhere).exit_code,
      EX_USAGE);
  EXPECT_EQ(RunSendmail({"--", "-oQ/tmp"}, "x\n", nowhere).exit_code, EX_DATAERR);
  EXPECT_EQ(RunSendmail({"b@example.com>\r\nDATA"}, "x\n", nowhere).exit_code, EX_DATAERR);
  EXPECT_EQ(RunSendmail({}, "x\n", nowhere).exit_code, EX_USAGE);
  EXPECT_EQ(RunSendmail({"-t"}, "Subject: nobody\n\n", nowhere).exit_code, EX_USAGE);
  EXPECT_EQ(RunSendmail({"b@example.com"}, std::string("a\0b\n", 4), nowhere).exit_code,
            EX_DATAERR);
}

}  // namespace
}  // namespace mailrace::engine

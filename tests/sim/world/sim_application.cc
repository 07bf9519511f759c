#include "tests/sim/world/sim_application.h"

#include <memory>
#include <string_view>
#include <utility>

#include "fmt/format.h"
#include "tests/sim/world/sim_intake.h"

namespace mailrace::sim {

namespace {

// RFC 5321 4.5.3.2.6: a client waits so long for the reply to the end of data.
constexpr absl::Duration kPatience = absl::Minutes(10);

std::string Stuffed(std::string_view content) {
  std::string stuffed;
  for (size_t at = 0; at < content.size();) {
    const size_t end = content.find("\r\n", at) + 2;
    if (content[at] == '.') stuffed += '.';
    stuffed += content.substr(at, end - at);
    at = end;
  }
  return stuffed;
}

}  // namespace

struct SimApplication::Dialogue {
  transport::Stream* stream;
  std::string line{};
};

Task<bool> SimApplication::Send(Dialogue* dialogue, std::string octets) {
  dialogue->stream->output().Append(octets);
  const absl::Status sent = co_await dialogue->stream->Flush(loop_->now() + kPatience);
  co_return sent.ok();
}

Task<bool> SimApplication::Expect(Dialogue* dialogue, std::string code) {
  Buffer& input = dialogue->stream->input();
  while (true) {
    const size_t end = input.view().find("\r\n");
    if (end != std::string_view::npos) {
      dialogue->line = std::string(input.view().substr(0, end));
      input.Consume(end + 2);
      if (dialogue->line.size() > 3 && dialogue->line[3] == '-') continue;
      co_return dialogue->line.starts_with(code);
    }
    const absl::StatusOr<bool> more = co_await dialogue->stream->Fill(loop_->now() + kPatience);
    if (!more.ok() || !*more) co_return false;
  }
}

Task<void> SimApplication::Submit(std::vector<Submission> messages, Acknowledged acknowledged) {
  absl::StatusOr<std::unique_ptr<transport::Connection>> connection = co_await network_->Connect(
      SubmissionAddress(), std::nullopt, loop_->now() + absl::Minutes(1));
  if (!connection.ok()) co_return;
  transport::Stream stream(*std::move(connection));
  Dialogue dialogue{&stream};
  bool good = co_await Expect(&dialogue, "220");
  if (good) good = co_await Send(&dialogue, "EHLO app.test\r\n");
  if (good) good = co_await Expect(&dialogue, "250");
  for (Submission& message : messages) {
    if (!good) co_return;
    const std::string tag = message.tag;
    good = co_await Transaction(&dialogue, std::move(message));
    if (good) acknowledged(tag);
  }
  if (!good) co_return;
  good = co_await Send(&dialogue, "QUIT\r\n");
  if (good) good = co_await Expect(&dialogue, "221");
}

// MAIL, RCPT and DATA as one group (RFC 2920 3.1), or each by itself.
Task<bool> SimApplication::Transaction(Dialogue* dialogue, Submission message) {
  std::vector<std::string> commands{fmt::format("MAIL FROM:<{}>\r\n", message.reverse_path)};
  for (const std::string& to : message.recipients) {
    commands.push_back(fmt::format("RCPT TO:<{}>{}\r\n", to, message.never ? " NOTIFY=NEVER" : ""));
  }
  commands.push_back("DATA\r\n");
  const bool grouped = random_->Below(2) == 0;
  std::string group;
  for (const std::string& command : commands) group += command;
  bool good = true;
  if (grouped) good = co_await Send(dialogue, std::move(group));
  for (const std::string& command : commands) {
    if (good && !grouped) good = co_await Send(dialogue, command);
    if (good) good = co_await Expect(dialogue, command == "DATA\r\n" ? "354" : "250");
  }
  if (!good) co_return false;
  good = co_await Send(dialogue, Stuffed(message.content) + message.smuggled + ".\r\n");
  if (good) good = co_await Expect(dialogue, "250");
  co_return good;
}

}  // namespace mailrace::sim

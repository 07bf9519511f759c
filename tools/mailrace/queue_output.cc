#include "tools/mailrace/queue_output.h"

#include <ctime>

#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::tools {

namespace {

using Json = nlohmann::json;

// Postfix's formats for long queue ids (showq_compat.c's columns).
constexpr const char* kHeading = "{:<17} {:>8} {:<19} {}\n";
constexpr int kReasonColumn = 76;

void Put(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

std::string LocalTime(int64_t seconds, const char* format) {
  const auto time = static_cast<time_t>(seconds);
  tm local{};
  localtime_r(&time, &local);
  char text[64];
  const size_t size = std::strftime(text, sizeof text, format, &local);
  return {text, size};
}

std::string Duration(int64_t seconds) {
  if (seconds < 0) seconds = 0;
  if (seconds < 60) return fmt::format("{} s", seconds);
  if (seconds < 3600) return fmt::format("{} min {} s", seconds / 60, seconds % 60);
  if (seconds < 86400) return fmt::format("{} h {} min", seconds / 3600, seconds % 3600 / 60);
  return fmt::format("{} d {} h", seconds / 86400, seconds % 86400 / 3600);
}

void Line(const char* name, const std::string& value) {
  if (!value.empty()) Put(fmt::format("{:<14}{}\n", fmt::format("{}:", name), Printable(value)));
}

void PrintTimeline(const Json& timeline) {
  Put("Timeline:\n");
  for (const Json& entry : timeline) {
    const std::string event = TextOf(entry, "event");
    const int64_t time = NumberOf(entry, "time");
    const std::string when = time == 0 ? "" : LocalTime(time, "%Y-%m-%d %H:%M:%S");
    if (event == "arrival") {
      Put(fmt::format("  {:<19}  arrival   {} octets, {} recipients\n", when,
                      NumberOf(entry, "size"), NumberOf(entry, "recipients")));
    } else if (event == "attempt") {
      Put(fmt::format("  {:<19}  {:<8}  relay={}, dsn={}, {:.2f} s: {}\n", when,
                      TextOf(entry, "result"), Printable(TextOf(entry, "relay")),
                      TextOf(entry, "dsn"), entry.value("seconds", 0.0),
                      Printable(TextOf(entry, "text"))));
    } else {
      Put(fmt::format("  {:<19}  ({} {})\n", when, NumberOf(entry, "attempts"), event));
    }
  }
}

void PrintWaits(const Json& waits) {
  for (const Json& wait : waits) {
    const int64_t until = NumberOf(wait, "until");
    std::string text = fmt::format("{}: {}", Printable(TextOf(wait, "nexthop")),
                                   Printable(TextOf(wait, "reason")));
    if (until > 0) {
      text += fmt::format("; next attempt {} (in {})", LocalTime(until, "%Y-%m-%d %H:%M:%S"),
                          Duration(until - static_cast<int64_t>(std::time(nullptr))));
    } else if (TextOf(wait, "state") == "deferred") {
      text += "; no attempt by itself";
    }
    Line("Waits", text);
  }
}

}  // namespace

void Complain(const std::string& text) { std::fprintf(stderr, "mailrace: %s\n", text.c_str()); }

std::string TextOf(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

int64_t NumberOf(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_number() ? found->get<int64_t>() : 0;
}

void MailqPrinter::Print(const Json& message) {
  if (messages_++ == 0) {
    Put(fmt::format(kHeading, "----Queue ID-----", "--Size--", "---Arrival Time----",
                    "--Sender/Recipient------"));
  }
  octets_ += static_cast<uint64_t>(NumberOf(message, "message_size"));
  const std::string state = TextOf(message, "queue_name");
  const char mark = state == "active" ? '*' : state == "hold" ? '!' : ' ';
  Put(fmt::format(kHeading, TextOf(message, "queue_id") + mark, NumberOf(message, "message_size"),
                  // asctime's, without the year.
                  LocalTime(NumberOf(message, "arrival_time"), "%a %b %e %H:%M:%S"),
                  Printable(TextOf(message, "sender"))));
  std::string last_reason;
  for (const Json& recipient : message.value("recipients", Json::array())) {
    const std::string reason = Printable(TextOf(recipient, "delay_reason"));
    if (!reason.empty() && reason != last_reason) {
      Put(fmt::format("{:>{}}\n", fmt::format("({})", reason), kReasonColumn + 2));
      last_reason = reason;
    }
    Put(fmt::format(kHeading, "", "", "", Printable(TextOf(recipient, "address"))));
  }
  Put("\n");
}

void MailqPrinter::Finish() {
  if (messages_ == 0) {
    Put("Mail queue is empty\n");
  } else {
    Put(fmt::format("-- {} Kbytes in {} Request{}.\n", (octets_ + 1023) / 1024, messages_,
                    messages_ == 1 ? "" : "s"));
  }
}

void PrintShown(const Json& message) {
  Line("Queue id", TextOf(message, "queue_id"));
  Line("State", TextOf(message, "queue_name"));
  Line("Sender", TextOf(message, "sender"));
  Line("Message-Id", TextOf(message, "message_id"));
  Line("Size", fmt::format("{} octets", NumberOf(message, "message_size")));
  const int64_t arrival = NumberOf(message, "arrival_time");
  Line("Arrived", fmt::format("{} ({} ago)", LocalTime(arrival, "%Y-%m-%d %H:%M:%S %z"),
                              Duration(static_cast<int64_t>(std::time(nullptr)) - arrival)));
  Line("Class", TextOf(message, "class"));
  Line("Tenant", TextOf(message, "tenant"));
  Line("Submitter", TextOf(message, "submitter"));
  Line("Envelope id", TextOf(message, "envelope_id"));
  Line("Attempts", fmt::format("{}", NumberOf(message, "attempts")));
  Put("Recipients:\n");
  for (const Json& recipient : message.value("recipients", Json::array())) {
    const std::string nexthop = Printable(TextOf(recipient, "nexthop"));
    Put(fmt::format("  {:<9}  {}{}\n", TextOf(recipient, "state"),
                    Printable(TextOf(recipient, "address")),
                    nexthop.empty() ? "" : " via " + nexthop));
  }
  PrintTimeline(message.value("timeline", Json::array()));
  PrintWaits(message.value("waits", Json::array()));
  Put("\n");
}

}  // namespace mailrace::tools

#include "engine/intake/trace_header.h"

#include "absl/time/civil_time.h"
#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::engine {

namespace {

constexpr std::string_view kDays[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
constexpr std::string_view kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

// An address in brackets as RFC 5321 4.1.3 writes it.
std::string AddressLiteral(const IpAddress& ip) {
  return fmt::format("[{}{}]", ip.v6 ? "IPv6:" : "", ip.ToString());
}

}  // namespace

std::string MailDate(absl::Time time) {
  // By hand: absl::FormatTime takes longer than the rest of a small message's intake.
  const absl::CivilSecond t = absl::ToCivilSecond(time, absl::UTCTimeZone());
  const auto day = static_cast<size_t>(absl::GetWeekday(t));
  return fmt::format("{}, {:2} {} {} {:02}:{:02}:{:02} +0000 (UTC)", kDays[day], t.day(),
                     kMonths[t.month() - 1], t.year(), t.hour(), t.minute(), t.second());
}

std::string_view PeerName(const IpAddress& ip) { return ip.loopback() ? "localhost" : "unknown"; }

std::string SafeHeloName(std::string_view helo_name) {
  std::string safe = Printable(helo_name, 255);
  // "[IPv6:…]" is the one place where a colon belongs.
  const bool literal = safe.starts_with('[') && safe.ends_with(']');
  for (char& c : safe) {
    const bool unsafe = std::string_view("<>()\\\";@ ").find(c) != std::string_view::npos;
    if (unsafe || (c == ':' && !literal)) c = '?';
  }
  return safe;
}

std::string ReceivedField(const ReceivedBy& by) {
  std::string field = fmt::format("Received: from {} ({} {})\r\n", SafeHeloName(by.helo_name),
                                  PeerName(by.peer), AddressLiteral(by.peer));
  if (!by.authenticated_sender.empty()) {
    field += fmt::format("\t(Authenticated sender: {})\r\n", SafeHeloName(by.authenticated_sender));
  }
  field += fmt::format("\tby {} ({}) with {} id {}", by.myhostname, by.mail_name, by.protocol,
                       by.id.ToString());
  const std::string date = MailDate(by.time);
  field += by.recipient.empty() ? fmt::format(";\r\n\t{}\r\n", date)
                                : fmt::format("\r\n\tfor <{}>; {}\r\n", by.recipient, date);
  return field;
}

std::string NewMessageId(absl::Time time, QueueId id, std::string_view myhostname) {
  const absl::CivilSecond t = absl::ToCivilSecond(time, absl::UTCTimeZone());
  return fmt::format("<{:04}{:02}{:02}{:02}{:02}{:02}.{}@{}>", t.year(), t.month(), t.day(),
                     t.hour(), t.minute(), t.second(), id.ToString(), myhostname);
}

}  // namespace mailrace::engine

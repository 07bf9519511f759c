#include "engine/possible_duplicates.h"

#include <algorithm>
#include <utility>

#include "absl/status/statusor.h"
#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::engine {

namespace {

using Message = PossibleDuplicates::Message;

// Whom the store says we still owe of those in `flight`.
Message StillOwed(const FlightRecord::Flight& flight,
                  const absl::StatusOr<queue::RecoveredMessage>& found) {
  Message message{flight.id, {}, {}, 0};
  if (absl::IsNotFound(found.status())) return message;  // All were done.
  if (!found.ok()) {
    message.recipients = flight.recipients;
    message.more = flight.more;
    return message;
  }
  const auto& recipients = found->envelope.recipients;
  const auto& done = found->done_indices;
  for (const uint32_t index : flight.recipients) {
    if (index >= recipients.size() || std::binary_search(done.begin(), done.end(), index)) continue;
    message.recipients.push_back(index);
    message.addresses.push_back(recipients[index].address);
  }
  const auto owed = static_cast<uint32_t>(recipients.size() - done.size());
  message.more = std::min(flight.more,
                          owed - std::min(owed, static_cast<uint32_t>(message.recipients.size())));
  return message;
}

// What one relay can be owed at most beyond a list that may be out of date.
std::string BoundByConfiguration(const Settings& settings) {
  const auto sessions = static_cast<uint64_t>(std::max(0, settings.limits.concurrency_limit));
  const auto recipients = static_cast<uint64_t>(std::max(0, settings.limits.recipient_limit));
  // One whose end is unanswered and the next, or a stream.
  const uint64_t transactions = std::max<uint64_t>(2, settings.tolerance.window_max);
  const std::string rest =
      "and those whose outcome came in the last moments before (a commit "
      "begins every 5 ms and ends with its sync)";
  if (sessions == 0 || recipients == 0) {
    return fmt::format(
        "beyond this list the configuration sets no limit: all recipients of the "
        "transactions that were under way, {}",
        rest);
  }
  return fmt::format(
      "beyond this list at most {} recipients for each next-hop ({} sessions x {} "
      "transactions x {} recipients), {}",
      sessions * transactions * recipients, sessions, transactions, recipients, rest);
}

}  // namespace

PossibleDuplicates FindPossibleDuplicates(const EarlierFlights& flights, queue::Store* store,
                                          const Settings& settings) {
  PossibleDuplicates result;
  for (const FlightRecord::Flight& flight : flights.flights) {
    Message message = StillOwed(flight, store->ReadMessage(flight.id));
    if (message.recipients.empty() && message.more == 0) continue;
    result.recipients += message.recipients.size() + message.more;
    result.messages.push_back(std::move(message));
  }
  result.unnamed_recipients = flights.unnamed_recipients;
  result.recipients += flights.unnamed_recipients;
  result.exact = flights.complete && flights.damaged_slots == 0;
  if (result.exact) return result;
  for (const std::string& damaged : flights.damaged_files) {
    result.doubt.push_back(fmt::format("flight journal {}", damaged));
  }
  if (flights.damaged_slots > 0) {
    result.doubt.push_back(
        fmt::format("{} slots of the flight journals are half written", flights.damaged_slots));
  }
  if (flights.damaged_files.empty() && !flights.complete) {
    result.doubt.emplace_back(
        "the machine was started anew since the queue was in use, and the flight journals may be "
        "older than its end");
  }
  result.doubt.push_back(BoundByConfiguration(settings));
  return result;
}

std::string SummaryLine(const PossibleDuplicates& found) {
  if (found.recipients == 0) return "0 recipients may be delivered twice";
  std::string line =
      fmt::format("{} recipients of {} messages may be delivered twice",
                  found.recipients - found.unnamed_recipients, found.messages.size());
  for (size_t i = 0; i < found.messages.size() && i < kIdsInLine; ++i) {
    line += i == 0 ? ": " : ", ";
    line += found.messages[i].id.ToString();
  }
  if (found.messages.size() > kIdsInLine) {
    line += fmt::format(" and {} more", found.messages.size() - kIdsInLine);
  }
  if (found.unnamed_recipients > 0) {
    line +=
        fmt::format("; and {} recipients of messages that are not known", found.unnamed_recipients);
  }
  return line;
}

std::string MessageLine(const PossibleDuplicates::Message& message) {
  std::string line = message.id.ToString() + ":";
  for (size_t i = 0; i < message.addresses.size() && i < kAddressesInLine; ++i) {
    line += fmt::format("{} to=<{}>", i == 0 ? "" : ",", Printable(message.addresses[i]));
  }
  const size_t named = std::min(message.addresses.size(), kAddressesInLine);
  const size_t others = message.recipients.size() + message.more - named;
  if (others > 0) line += fmt::format("{} {} recipients", named > 0 ? " and" : "", others);
  return line + ": message may be sent more than once";
}

}  // namespace mailrace::engine

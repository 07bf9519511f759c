// What a start says about the end before it (invariants I3, R3): whom a relay may have
// taken mail for although we still owe it. Joins the flight journals with the store, which
// knows whose outcome became durable all the same.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/flight_file.h"
#include "engine/settings.h"
#include "queue/store.h"

namespace mailrace::engine {

struct PossibleDuplicates {
  struct Message {
    QueueId id;
    std::vector<uint32_t> recipients;    // Still owed, by number, ascending.
    std::vector<std::string> addresses;  // Of these; fewer if the envelope is unreadable.
    uint32_t more = 0;                   // At most so many others of its recipients.
  };
  std::vector<Message> messages;  // Ascending.
  // The bound K: all of the above, and those of transactions that are not named.
  uint64_t recipients = 0;
  uint64_t unnamed_recipients = 0;
  // False: the machine was started anew, or a journal is damaged; `doubt` says why and
  // what bounds the number then.
  bool exact = true;
  std::vector<std::string> doubt;
};

// `flights`: as found. Reads the envelope of each message that is named there.
PossibleDuplicates FindPossibleDuplicates(const EarlierFlights& flights, queue::Store* store,
                                          const Settings& settings);

// For the log, in this order. Summary: "5 recipients of 3 messages may be delivered twice:
// ID, ID, ID" with at most kIdsInLine ids. Then for each message "ID: to=<a>, to=<b>:
// message may be sent more than once", at most kAddressesInLine each.
inline constexpr size_t kIdsInLine = 50;
inline constexpr size_t kAddressesInLine = 50;
std::string SummaryLine(const PossibleDuplicates& found);
std::string MessageLine(const PossibleDuplicates::Message& message);

}  // namespace mailrace::engine

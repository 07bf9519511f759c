// The flight journals of an engine on disk: flight.0, flight.1 … in queue_directory, one a
// shard, each mapped into memory. The kernel keeps what was stored there when the process
// is killed; nothing is synced, so after a power cut (another boot id) what the files say
// may be older than the truth, and whoever reports it says so.
//
// A store to a mapped page is a system call's worth of work only when the page was just
// written back (once in some seconds and page); few pages are in use.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/flight_journal.h"

namespace mailrace::engine {

// Zeros if the system does not tell: then no boot is like another.
BootId CurrentBootId();

class FlightFile {
 public:
  // Makes flight.SHARD beside an old one of that name; Publish() puts it in its place.
  // All of its space is taken, so that a full disk cannot hurt later. The error names it.
  static absl::StatusOr<std::unique_ptr<FlightFile>> Make(const std::string& directory, int shard,
                                                          const BootId& boot);
  ~FlightFile();
  FlightFile(const FlightFile&) = delete;
  FlightFile& operator=(const FlightFile&) = delete;

  // Replaces the old one at once: whoever dies before has the old list, later the new.
  absl::Status Publish();
  // After the shard has ended: the file goes if it lists nothing.
  void RemoveIfEmpty();
  FlightJournal& journal() { return journal_; }

 private:
  FlightFile(std::string path, std::span<char> region, const BootId& boot)
      : path_(std::move(path)), region_(region), journal_(region, boot) {}
  const std::string path_;
  const std::span<char> region_;
  FlightJournal journal_;
};

// What earlier processes left.
struct EarlierFlights {
  std::vector<FlightRecord::Flight> flights;  // One a message, ascending.
  uint64_t unnamed_recipients = 0;
  uint64_t damaged_slots = 0;
  // The machine was started anew since, or a file could not be read: the list may lack some.
  bool complete = true;
  std::vector<std::string> damaged_files;  // "PATH is cut short".
};
// FailedPrecondition: a newer format; other errors: the directory cannot be read. They
// name the file.
absl::StatusOr<EarlierFlights> ReadFlightFiles(const std::string& directory, const BootId& boot);

// After all are published: removes those that belong to no shard now (there were more), and
// what a process left that died while it made its own.
void RemoveStaleFlightFiles(const std::string& directory, int shards);

}  // namespace mailrace::engine

// The directory of a queue: made, checked and locked before anything in it is touched;
// and copied aside before damage is accepted.
//
//   DIR/lock     held while a process uses the queue; holds its process id
//   DIR/marker   see rocksdb_store_marker.h
//   DIR/queue/   the database
//   DIR/queue.rebuilt/   the next one, while a damaged one is copied
//   DIR/queue.damaged-TIMESTAMP/   what was there when loss was accepted
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace mailrace::queue {

// Holds the lock until it is destroyed.
class StoreDirectory {
 public:
  // Makes `path` and the database's directory (0700) where they are missing. Refuses a
  // directory of another owner, one that group or others can write to, a read-only file
  // system and a queue that a process uses (this one too).
  static absl::StatusOr<std::unique_ptr<StoreDirectory>> Open(const std::string& path);
  // For looking only: makes and writes nothing. Others may look too, nobody may use the
  // queue meanwhile. NotFound: there is no queue.
  static absl::StatusOr<std::unique_ptr<StoreDirectory>> OpenToRead(const std::string& path);
  ~StoreDirectory();
  StoreDirectory(const StoreDirectory&) = delete;
  StoreDirectory& operator=(const StoreDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string database_path() const { return path_ + "/queue"; }
  bool HasCurrent() const;
  // Tables, blobs and logs that are not empty: records may be in them. Sorted.
  std::vector<std::string> RecordFiles() const;
  // The log that was written last, with its path; empty if there is none.
  std::string NewestLog() const;

  // Makes CURRENT name the newest MANIFEST, which is what it always does. NotFound: there
  // is none.
  absl::Status RestoreCurrent() const;

  // Copies database and marker aside and returns the path of the copy. Tables never
  // change, so they are linked; logs are copied. Durable before it returns.
  absl::StatusOr<std::string> CopyAside(absl::Time now) const;

  // An empty directory beside the database for a new one; its path.
  absl::StatusOr<std::string> PrepareRebuild() const;
  // That one becomes the database, atomically, and the old one goes.
  absl::Status FinishRebuild() const;

 private:
  StoreDirectory(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}
  const std::string path_;
  const int lock_;  // File descriptor.
};

}  // namespace mailrace::queue

// A file system for RocksDB that forgets, refuses and lies as real ones do when the
// power goes, the disk is full or a sync fails (reliability.md 0, V1..V6).
//
// Octets go to the real files at once; what was not synced is taken back when the power
// is cut: appended octets, and changes of directories (new files, renames, removals)
// whose directory was not synced. Real syncs are left out, so tests are fast.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "rocksdb/file_system.h"

namespace mailrace::queue {

// Thread-safe.
class FaultyFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  // `graveyard` is a directory on the file system of the tested files, for what must be
  // able to come back.
  explicit FaultyFileSystem(std::string graveyard);

  // From now on nothing reaches the disk and what was not synced is gone. Close what is
  // open, then PowerOn.
  void CutPower() { CutPower(nullptr); }
  // The same, but of what was written over older octets any sectors may be on the disk.
  void CutPower(Random* random);
  void PowerOn();
  // The power goes by itself before change `number` from now (appends, syncs and changes
  // of directories count); CutPower() then takes back what was not synced.
  void CutPowerAt(uint64_t number);
  uint64_t changes() const;

  // The next `count` syncs of a log fail with EIO; the octets stay in the file (V4).
  void FailLogSyncs(int count);
  // Nothing can be appended (ENOSPC), and no space is free (V5).
  void SetFull(bool full);
  // So much is free, whatever is written.
  void SetFreeSpace(uint64_t octets);
  // Every change fails with EROFS (V6).
  void SetReadOnly(bool read_only);
  // Syncs return OK and make nothing durable: an oracle must notice.
  void SetSyncIsIgnored(bool ignored);

  uint64_t log_syncs() const;

  const char* Name() const override { return "FaultyFileSystem"; }
  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus ReopenWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                       std::unique_ptr<rocksdb::FSWritableFile>* file,
                                       rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus ReuseWritableFile(const std::string& path, const std::string& old_path,
                                      const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSWritableFile>* file,
                                      rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewDirectory(const std::string& path, const rocksdb::IOOptions& options,
                                 std::unique_ptr<rocksdb::FSDirectory>* directory,
                                 rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus DeleteFile(const std::string& path, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to,
                               const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus Truncate(const std::string& path, size_t size,
                             const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus GetFreeSpace(const std::string& path, const rocksdb::IOOptions& options,
                                 uint64_t* octets, rocksdb::IODebugContext* debug) override;

 private:
  friend class FaultyFile;
  friend class FaultyDirectory;

  // What was there before octets were written over it.
  struct Overwritten {
    uint64_t offset = 0;
    std::string octets;
  };
  struct FileState {
    uint64_t written = 0;
    uint64_t synced = 0;
    std::vector<Overwritten> overwritten;  // Since the last sync.
  };
  // A change of a directory that the power cut undoes.
  struct Change {
    std::string path;    // What is there now and was not, or was and is not.
    std::string from;    // A rename's old name.
    std::string buried;  // What was at `path` before; empty if nothing.
    FileState buried_state;
    bool removal = false;
  };

  // REQUIRES for these: mutex_ is held.
  rocksdb::IOStatus Refusal();
  void Bury(const std::string& path, Change* change);
  void Undo(const Change& change);
  FileState& StateOf(const std::string& path);
  void DirectorySynced(const std::string& directory, rocksdb::DirFsyncOptions::FsyncReason reason);

  // REQUIRES: mutex_ is held.
  rocksdb::IOStatus Rename(const std::string& from, const std::string& to,
                           const std::function<rocksdb::IOStatus()>& rename);

  // From open files.
  rocksdb::IOStatus Writing(const std::string& path, uint64_t offset, size_t octets);
  rocksdb::IOStatus Synced(const std::string& path);
  rocksdb::IOStatus Truncated(const std::string& path, uint64_t size);

  const std::string graveyard_;
  mutable std::mutex mutex_;
  std::map<std::string, FileState> files_;
  std::vector<Change> changes_;
  uint64_t buried_ = 0;
  uint64_t log_syncs_ = 0;
  uint64_t change_count_ = 0;
  uint64_t cut_at_ = 0;  // 0: never.
  int failing_syncs_ = 0;
  bool power_off_ = false;
  bool full_ = false;
  std::optional<uint64_t> free_octets_;
  bool read_only_ = false;
  bool sync_is_ignored_ = false;
};

}  // namespace mailrace::queue

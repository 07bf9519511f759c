#include "tests/queue/faulty_file_system.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <utility>

namespace mailrace::queue {

namespace fs = std::filesystem;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

namespace {

constexpr size_t kSectorOctets = 512;

bool IsLog(const std::string& path) { return path.ends_with(".log"); }
std::string DirectoryOf(const std::string& path) { return fs::path(path).parent_path().string(); }

}  // namespace

class FaultyFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  // Writes from `offset` on.
  FaultyFile(FaultyFileSystem* system, std::string path, uint64_t offset,
             std::unique_ptr<rocksdb::FSWritableFile> file)
      : FSWritableFileOwnerWrapper(std::move(file)),
        system_(system),
        path_(std::move(path)),
        offset_(offset) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    const IOStatus refused = system_->Writing(path_, offset_, data.size());
    if (!refused.ok()) return refused;
    offset_ += data.size();
    return FSWritableFileOwnerWrapper::Append(data, options, debug);
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                  IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  IOStatus Truncate(uint64_t size, const IOOptions& options, IODebugContext* debug) override {
    const IOStatus refused = system_->Truncated(path_, size);
    if (!refused.ok()) return refused;
    return FSWritableFileOwnerWrapper::Truncate(size, options, debug);
  }
  IOStatus Sync(const IOOptions&, IODebugContext*) override { return system_->Synced(path_); }
  IOStatus Fsync(const IOOptions&, IODebugContext*) override { return system_->Synced(path_); }
  // Writes the pages but not the size: no promise.
  IOStatus RangeSync(uint64_t, uint64_t, const IOOptions&, IODebugContext*) override {
    return IOStatus::OK();
  }
  void PrepareWrite(size_t, size_t, const IOOptions&, IODebugContext*) override {}

 private:
  FaultyFileSystem* const system_;
  const std::string path_;
  uint64_t offset_;
};

class FaultyDirectory final : public rocksdb::FSDirectoryWrapper {
 public:
  FaultyDirectory(FaultyFileSystem* system, std::string path,
                  std::unique_ptr<rocksdb::FSDirectory> directory)
      : FSDirectoryWrapper(std::move(directory)), system_(system), path_(std::move(path)) {}

  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return FsyncWithDirOptions(options, debug, rocksdb::DirFsyncOptions());
  }
  IOStatus FsyncWithDirOptions(const IOOptions&, IODebugContext*,
                               const rocksdb::DirFsyncOptions& why) override {
    const std::lock_guard lock(system_->mutex_);
    const IOStatus refused = system_->Refusal();
    if (!refused.ok()) return refused;
    system_->DirectorySynced(path_, why.reason);
    return IOStatus::OK();
  }

 private:
  FaultyFileSystem* const system_;
  const std::string path_;
};

FaultyFileSystem::FaultyFileSystem(std::string graveyard)
    : FileSystemWrapper(rocksdb::FileSystem::Default()), graveyard_(std::move(graveyard)) {
  fs::create_directories(graveyard_);
}

void FaultyFileSystem::CutPower(Random* random) {
  const std::lock_guard lock(mutex_);
  power_off_ = true;
  for (auto change = changes_.rbegin(); change != changes_.rend(); ++change) Undo(*change);
  changes_.clear();
  for (auto& [path, state] : files_) {
    if (fs::exists(path)) {
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      for (auto old = state.overwritten.rbegin(); old != state.overwritten.rend(); ++old) {
        for (size_t at = 0; at < old->octets.size(); at += kSectorOctets) {
          if (random != nullptr && random->Below(2) == 0) continue;
          const std::string_view sector = std::string_view(old->octets).substr(at, kSectorOctets);
          file.seekp(static_cast<std::streamoff>(old->offset + at));
          file.write(sector.data(), static_cast<std::streamsize>(sector.size()));
        }
      }
      file.close();
      if (fs::file_size(path) > state.synced) fs::resize_file(path, state.synced);
    }
    state.overwritten.clear();
    state.written = state.synced;
  }
}

void FaultyFileSystem::PowerOn() {
  const std::lock_guard lock(mutex_);
  power_off_ = false;
  cut_at_ = 0;
}

void FaultyFileSystem::CutPowerAt(uint64_t number) {
  const std::lock_guard lock(mutex_);
  cut_at_ = change_count_ + number;
}

uint64_t FaultyFileSystem::changes() const {
  const std::lock_guard lock(mutex_);
  return change_count_;
}

void FaultyFileSystem::FailLogSyncs(int count) {
  const std::lock_guard lock(mutex_);
  failing_syncs_ = count;
}

void FaultyFileSystem::SetFull(bool full) {
  const std::lock_guard lock(mutex_);
  full_ = full;
}

void FaultyFileSystem::SetFreeSpace(uint64_t octets) {
  const std::lock_guard lock(mutex_);
  free_octets_ = octets;
}

void FaultyFileSystem::SetReadOnly(bool read_only) {
  const std::lock_guard lock(mutex_);
  read_only_ = read_only;
}

void FaultyFileSystem::SetSyncIsIgnored(bool ignored) {
  const std::lock_guard lock(mutex_);
  sync_is_ignored_ = ignored;
}

uint64_t FaultyFileSystem::log_syncs() const {
  const std::lock_guard lock(mutex_);
  return log_syncs_;
}

IOStatus FaultyFileSystem::Refusal() {
  if (++change_count_ == cut_at_) power_off_ = true;
  if (power_off_) return IOStatus::IOError("the power is off");
  if (read_only_) return IOStatus::IOError("Read-only file system");
  return IOStatus::OK();
}

void FaultyFileSystem::Bury(const std::string& path, Change* change) {
  if (!fs::exists(path)) return;
  change->buried = graveyard_ + "/" + std::to_string(++buried_);
  fs::create_hard_link(path, change->buried);
  change->buried_state = StateOf(path);
  files_.erase(path);
}

void FaultyFileSystem::Undo(const Change& change) {
  if (!change.from.empty()) {
    fs::rename(change.path, change.from);
    files_[change.from] = files_[change.path];
    files_.erase(change.path);
  } else if (!change.removal) {
    fs::remove(change.path);
    files_.erase(change.path);
  }
  if (!change.buried.empty()) {
    fs::rename(change.buried, change.path);
    files_[change.path] = change.buried_state;
  }
}

IOStatus FaultyFileSystem::Writing(const std::string& path, uint64_t offset, size_t octets) {
  const std::lock_guard lock(mutex_);
  const IOStatus refused = Refusal();
  if (!refused.ok()) return refused;
  // Also what is written over: a file system that copies on write needs new room for it.
  if (full_) return IOStatus::NoSpace("No space left on device");
  FileState& state = files_[path];
  if (offset < state.written) {
    std::string old(std::min<uint64_t>(octets, state.written - offset), '\0');
    std::ifstream file(path, std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    file.read(old.data(), static_cast<std::streamsize>(old.size()));
    state.overwritten.push_back({offset, std::move(old)});
  }
  state.written = std::max(state.written, offset + octets);
  return IOStatus::OK();
}

IOStatus FaultyFileSystem::Synced(const std::string& path) {
  const std::lock_guard lock(mutex_);
  const IOStatus refused = Refusal();
  if (!refused.ok()) return refused;
  if (IsLog(path)) {
    ++log_syncs_;
    if (failing_syncs_ > 0) {
      --failing_syncs_;
      return IOStatus::IOError("Input/output error");
    }
  }
  if (sync_is_ignored_) return IOStatus::OK();
  FileState& state = files_[path];
  state.synced = state.written;
  state.overwritten.clear();
  return IOStatus::OK();
}

void FaultyFileSystem::DirectorySynced(const std::string& directory,
                                       rocksdb::DirFsyncOptions::FsyncReason reason) {
  if (sync_is_ignored_) return;
  // As RocksDB does it on btrfs: with a new file's octets its name is durable, but nothing else.
  const bool new_files_only = reason == rocksdb::DirFsyncOptions::kNewFileSynced;
  std::erase_if(changes_, [&](const Change& change) {
    if (DirectoryOf(change.path) != directory) return false;
    if (new_files_only && (change.removal || !change.from.empty())) return false;
    if (!change.buried.empty()) fs::remove(change.buried);
    return true;
  });
}

IOStatus FaultyFileSystem::Truncated(const std::string& path, uint64_t size) {
  const std::lock_guard lock(mutex_);
  const IOStatus refused = Refusal();
  if (!refused.ok()) return refused;
  FileState& state = StateOf(path);
  state.written = size;
  state.synced = std::min(state.synced, size);
  return IOStatus::OK();
}

// What was there before our time is durable.
FaultyFileSystem::FileState& FaultyFileSystem::StateOf(const std::string& path) {
  const auto [state, fresh] = files_.try_emplace(path);
  if (fresh && fs::exists(path)) state->second.written = state->second.synced = fs::file_size(path);
  return state->second;
}

IOStatus FaultyFileSystem::NewWritableFile(const std::string& path,
                                           const rocksdb::FileOptions& options,
                                           std::unique_ptr<rocksdb::FSWritableFile>* file,
                                           IODebugContext* debug) {
  const std::lock_guard lock(mutex_);
  IOStatus status = Refusal();
  if (!status.ok()) return status;
  Change change{.path = path};
  Bury(path, &change);
  // A new inode, as the buried one must keep its octets.
  fs::remove(path);
  std::unique_ptr<rocksdb::FSWritableFile> real;
  status = target()->NewWritableFile(path, options, &real, debug);
  if (!status.ok()) return status;
  changes_.push_back(std::move(change));
  files_[path] = FileState();
  *file = std::make_unique<FaultyFile>(this, path, 0, std::move(real));
  return status;
}

IOStatus FaultyFileSystem::ReopenWritableFile(const std::string& path,
                                              const rocksdb::FileOptions& options,
                                              std::unique_ptr<rocksdb::FSWritableFile>* file,
                                              IODebugContext* debug) {
  const std::lock_guard lock(mutex_);
  IOStatus status = Refusal();
  if (!status.ok()) return status;
  if (!fs::exists(path)) changes_.push_back(Change{.path = path});
  const uint64_t end = StateOf(path).written;
  std::unique_ptr<rocksdb::FSWritableFile> real;
  status = target()->ReopenWritableFile(path, options, &real, debug);
  if (status.ok()) *file = std::make_unique<FaultyFile>(this, path, end, std::move(real));
  return status;
}

IOStatus FaultyFileSystem::ReuseWritableFile(const std::string& path, const std::string& old_path,
                                             const rocksdb::FileOptions& options,
                                             std::unique_ptr<rocksdb::FSWritableFile>* file,
                                             IODebugContext* debug) {
  const std::lock_guard lock(mutex_);
  std::unique_ptr<rocksdb::FSWritableFile> real;
  const auto reuse = [&] {
    return target()->ReuseWritableFile(path, old_path, options, &real, debug);
  };
  const IOStatus status = path == old_path ? reuse() : Rename(old_path, path, reuse);
  if (!status.ok()) return status;
  StateOf(path);
  *file = std::make_unique<FaultyFile>(this, path, 0, std::move(real));
  return status;
}

IOStatus FaultyFileSystem::NewDirectory(const std::string& path, const IOOptions& options,
                                        std::unique_ptr<rocksdb::FSDirectory>* directory,
                                        IODebugContext* debug) {
  std::unique_ptr<rocksdb::FSDirectory> real;
  const IOStatus status = target()->NewDirectory(path, options, &real, debug);
  if (status.ok()) *directory = std::make_unique<FaultyDirectory>(this, path, std::move(real));
  return status;
}

IOStatus FaultyFileSystem::DeleteFile(const std::string& path, const IOOptions& options,
                                      IODebugContext* debug) {
  const std::lock_guard lock(mutex_);
  IOStatus status = Refusal();
  if (!status.ok()) return status;
  Change change{.path = path, .removal = true};
  Bury(path, &change);
  status = target()->DeleteFile(path, options, debug);
  if (status.ok()) changes_.push_back(std::move(change));
  return status;
}

IOStatus FaultyFileSystem::RenameFile(const std::string& from, const std::string& to,
                                      const IOOptions& options, IODebugContext* debug) {
  const std::lock_guard lock(mutex_);
  return Rename(from, to, [&] { return target()->RenameFile(from, to, options, debug); });
}

IOStatus FaultyFileSystem::Rename(const std::string& from, const std::string& to,
                                  const std::function<IOStatus()>& rename) {
  IOStatus status = Refusal();
  if (!status.ok()) return status;
  Change change{.path = to, .from = from};
  Bury(to, &change);
  const FileState state = StateOf(from);
  status = rename();
  if (!status.ok()) return status;
  files_[to] = state;
  files_.erase(from);
  changes_.push_back(std::move(change));
  return status;
}

IOStatus FaultyFileSystem::Truncate(const std::string& path, size_t size, const IOOptions& options,
                                    IODebugContext* debug) {
  const IOStatus refused = Truncated(path, size);
  if (!refused.ok()) return refused;
  return target()->Truncate(path, size, options, debug);
}

IOStatus FaultyFileSystem::GetFreeSpace(const std::string& path, const IOOptions& options,
                                        uint64_t* octets, IODebugContext* debug) {
  {
    const std::lock_guard lock(mutex_);
    if (full_ || free_octets_) {
      *octets = full_ ? 0 : *free_octets_;
      return IOStatus::OK();
    }
  }
  return target()->GetFreeSpace(path, options, octets, debug);
}

}  // namespace mailrace::queue

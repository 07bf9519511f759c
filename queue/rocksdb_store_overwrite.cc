#include "queue/rocksdb_store_overwrite.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <utility>

#include "base/random.h"
#include "fmt/format.h"
#include "queue/log_frame.h"
#include "queue/rocksdb_store_log_reader.h"

namespace mailrace::queue {
namespace {

using rocksdb::FileOptions;
using rocksdb::FSSequentialFile;
using rocksdb::FSWritableFile;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

constexpr std::string_view kLogEnd = ".log";
constexpr std::string_view kSpareEnd = ".spare";
// As many logs as become obsolete together, when memtables are flushed.
constexpr size_t kSparesMax = 4;
// A new queue's first logs, before any is obsolete.
constexpr size_t kBlanks = 2;
constexpr uint64_t kSpareOctetsMin = 64 << 10;
// Small commits fill pages badly: a log may grow far beyond its reserve.
constexpr uint64_t kTimesReserveMax = 4;
// All spares together are a small part of what is free.
constexpr uint64_t kFreeForEach = 16;
constexpr size_t kBlankPiece = 1 << 20;

// The number in a log's name. Nothing: no log's.
std::optional<uint64_t> LogNumber(const std::string& path) {
  if (!path.ends_with(kLogEnd)) return std::nullopt;
  std::string_view name = path;
  name.remove_suffix(kLogEnd.size());
  name.remove_prefix(name.rfind('/') + 1);
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return number;
}

// Aligned as the kernel wants it of who goes past its cache.
class FrameBuffer {
 public:
  Slice Encode(const FrameHeader& header, std::string_view payload) {
    const size_t octets = FrameOctets(payload.size());
    Reserve(octets);
    EncodeFrame(header, payload, octets_.get());
    return {octets_.get(), octets};
  }
  Slice Copy(std::string_view octets) {
    Reserve(octets.size());
    octets.copy(octets_.get(), octets.size());
    return {octets_.get(), octets.size()};
  }

 private:
  struct Free {
    void operator()(char* octets) const { std::free(octets); }
  };
  void Reserve(size_t octets) {
    if (octets <= capacity_) return;
    capacity_ = std::bit_ceil(octets);
    octets_.reset(static_cast<char*>(std::aligned_alloc(kFrameAlignment, capacity_)));
  }

  std::unique_ptr<char, Free> octets_;
  size_t capacity_ = 0;
};

// A log that is being written. RocksDB appends what it has buffered, whole records as a rule:
// each piece is a frame.
class FramedLog final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  // `log_sync` is borrowed: of the file system, which outlives its files.
  FramedLog(std::unique_ptr<FSWritableFile> file, FrameHeader first, LogSync* log_sync)
      : FSWritableFileOwnerWrapper(std::move(file)), next_(first), log_sync_(log_sync) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    // Behind half a frame nothing can be found any more.
    if (!failed_.ok()) return failed_;
    if (data.empty()) return IOStatus::OK();
    failed_ = target()->Append(frame_.Encode(next_, data.ToStringView()), options, debug);
    if (!failed_.ok()) return failed_;
    ++next_.index;
    next_.position += data.size();
    log_sync_->Appended(next_.log);
    return IOStatus::OK();
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                  IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    return Synced(target()->Sync(options, debug));
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return Synced(target()->Fsync(options, debug));
  }
  // How the file below is written is no concern of RocksDB's: it would align and pad by itself.
  bool use_direct_io() const override { return false; }
  IOStatus PositionedAppend(const Slice&, uint64_t, const IOOptions&, IODebugContext*) override {
    return IOStatus::NotSupported("a log is appended to");
  }
  IOStatus PositionedAppend(const Slice& data, uint64_t offset, const IOOptions& options,
                            const rocksdb::DataVerificationInfo&, IODebugContext* debug) override {
    return PositionedAppend(data, offset, options, debug);
  }
  uint64_t GetFileSize(const IOOptions&, IODebugContext*) override { return next_.position; }
  // The file keeps its length, and has what it needs.
  IOStatus Truncate(uint64_t, const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
  IOStatus RangeSync(uint64_t, uint64_t, const IOOptions&, IODebugContext*) override {
    return IOStatus::OK();
  }
  void PrepareWrite(size_t, size_t, const IOOptions&, IODebugContext*) override {}
  IOStatus Allocate(uint64_t, uint64_t, const IOOptions&, IODebugContext*) override {
    return IOStatus::OK();
  }

 private:
  IOStatus Synced(IOStatus status) {
    if (!status.ok()) return status;
    next_.synced = next_.index;
    log_sync_->Synced(next_.log);
    return status;
  }

  FrameHeader next_;
  LogSync* const log_sync_;
  FrameBuffer frame_;
  IOStatus failed_;
};

// An old log, opened to cut off what was allocated behind its end: here nothing was.
class SealedLog final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  using FSWritableFileOwnerWrapper::FSWritableFileOwnerWrapper;

  IOStatus Append(const Slice&, const IOOptions&, IODebugContext*) override {
    return IOStatus::NotSupported("a log of an earlier run is not continued");
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                  IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  IOStatus Truncate(uint64_t, const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
};

// Where RocksDB has made a file it need not sync the directory on file systems that keep a synced
// file's name (btrfs). Our logs were renamed.
class SyncedDirectory final : public rocksdb::FSDirectoryWrapper {
 public:
  using FSDirectoryWrapper::FSDirectoryWrapper;

  IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* debug,
                               const rocksdb::DirFsyncOptions&) override {
    return FSDirectoryWrapper::FsyncWithDirOptions(options, debug, rocksdb::DirFsyncOptions());
  }
};

class FramedLogContent final : public FSSequentialFile {
 public:
  FramedLogContent(std::unique_ptr<LogFrameReader> reader, Logger* logger)
      : reader_(std::move(reader)), logger_(logger) {}

  IOStatus Read(size_t octets, const IOOptions&, Slice* result, char* scratch,
                IODebugContext*) override {
    size_t got = 0;
    while (got < octets) {
      if (rest_.empty()) {
        const IOStatus status = reader_->Next(&piece_);
        if (!status.ok()) return status;
        if (!told_ && !reader_->damage().empty() && logger_ != nullptr) {
          logger_->Log(Severity::kError, "queue", reader_->damage());
          told_ = true;
        }
        if (piece_.empty()) break;
        rest_ = piece_;
      }
      const size_t size = rest_.copy(scratch + got, octets - got);
      rest_.remove_prefix(size);
      got += size;
    }
    *result = Slice(scratch, got);
    return IOStatus::OK();
  }

  IOStatus Skip(uint64_t octets) override {
    std::string scratch;
    Slice read;
    while (octets > 0) {
      scratch.resize(std::min<uint64_t>(octets, 1 << 16));
      const IOStatus status = Read(scratch.size(), IOOptions(), &read, scratch.data(), nullptr);
      if (!status.ok() || read.empty()) return status;
      octets -= read.size();
    }
    return IOStatus::OK();
  }

 private:
  const std::unique_ptr<LogFrameReader> reader_;
  Logger* const logger_;
  bool told_ = false;
  std::string piece_;
  std::string_view rest_;
};

}  // namespace

IOStatus OverwrittenLogs::Prepare(const std::string& directory, uint64_t reserve) {
  reserve_ = reserve;
  std::vector<std::string> names;
  IOStatus status = target()->GetChildren(directory, IOOptions(), &names, nullptr);
  if (!status.ok()) return status;
  for (const std::string& name : names) {
    if (!name.ends_with(kSpareEnd)) continue;
    Spare spare{directory + "/" + name};
    status = target()->GetFileSize(spare.path, IOOptions(), &spare.octets, nullptr);
    // Marked anew: after a power cut the name may be older than what is in it.
    if (status.ok() && IsWorthKeeping(spare.octets) && spares_.size() < kSparesMax &&
        Mark(spare.path, &spare).ok()) {
      spares_.push_back(std::move(spare));
    } else {
      status = target()->DeleteFile(spare.path, IOOptions(), nullptr);
      if (!status.ok()) return status;
    }
  }
  if (spares_.empty()) MakeBlanks(directory);
  return IOStatus::OK();
}

void OverwrittenLogs::MakeBlanks(const std::string& directory) {
  for (size_t i = 1; i <= kBlanks && reserve_ > 0 && HasRoomFor(directory, reserve_); ++i) {
    Spare blank{fmt::format("{}/blank-{}{}", directory, i, kSpareEnd), reserve_, /*blank=*/true};
    IOStatus status = MakeBlank(blank.path, reserve_);
    if (status.ok()) status = Mark(blank.path, &blank);
    if (!status.ok()) {
      // A log that grows is slower, nothing else.
      target()->DeleteFile(blank.path, IOOptions(), nullptr).PermitUncheckedError();
      return;
    }
    spares_.push_back(std::move(blank));
  }
}

IOStatus OverwrittenLogs::MakeBlank(const std::string& path, uint64_t octets) {
  std::unique_ptr<FSWritableFile> file;
  IOStatus status = target()->NewWritableFile(path, FileOptions(), &file, nullptr);
  if (!status.ok()) return status;
  const std::string piece(kBlankPiece, '\0');
  for (uint64_t written = 0; status.ok() && written < octets;) {
    const size_t size = std::min<uint64_t>(kBlankPiece, octets - written);
    status = file->Append(Slice(piece.data(), size), IOOptions(), nullptr);
    written += size;
  }
  if (status.ok()) status = file->Sync(IOOptions(), nullptr);
  file->InvalidateCache(0, 0).PermitUncheckedError();
  const IOStatus closed = file->Close(IOOptions(), nullptr);
  return status.ok() ? closed : status;
}

IOStatus OverwrittenLogs::Mark(const std::string& from, Spare* spare) {
  // What an earlier life left must not look like this one's.
  spare->life = SystemRandom().Next64();
  if (direct_) {
    const IOStatus status = WriteMark(from, *spare, /*direct=*/true);
    if (status.ok()) return status;
    // Some file systems only say at the first write that they cannot.
    direct_ = false;
  }
  const bool renamed = target()->FileExists(from, IOOptions(), nullptr).IsNotFound();
  return WriteMark(renamed ? spare->path : from, *spare, /*direct=*/false);
}

IOStatus OverwrittenLogs::WriteMark(const std::string& from, const Spare& spare, bool direct) {
  std::unique_ptr<FSWritableFile> file;
  IOStatus status = Reuse(spare.path, from, FileOptions(), direct, &file);
  if (!status.ok()) return status;
  FrameBuffer buffer;
  status = file->Append(buffer.Copy(SpareMark(spare.life)), IOOptions(), nullptr);
  if (status.ok()) status = file->Sync(IOOptions(), nullptr);
  file->InvalidateCache(0, 0).PermitUncheckedError();
  const IOStatus closed = file->Close(IOOptions(), nullptr);
  return status.ok() ? closed : status;
}

// Past the kernel's cache, where it can be: nobody reads a log while it is written, and the
// kernel would count, and some write, more than the pages that have changed.
IOStatus OverwrittenLogs::Reuse(const std::string& path, const std::string& from,
                                FileOptions options, bool direct,
                                std::unique_ptr<FSWritableFile>* file) {
  options.use_direct_writes = direct;
  const IOStatus status = target()->ReuseWritableFile(path, from, options, file, nullptr);
  if (!status.ok() || !direct || (*file)->GetRequiredBufferAlignment() <= kFrameAlignment) {
    return status;
  }
  (*file)->Close(IOOptions(), nullptr).PermitUncheckedError();
  file->reset();
  return IOStatus::NotSupported("the disk's blocks are larger than pages");
}

bool OverwrittenLogs::IsWorthKeeping(uint64_t octets) const {
  return octets >= kSpareOctetsMin && octets <= kTimesReserveMax * reserve_;
}

bool OverwrittenLogs::HasRoomFor(const std::string& path, uint64_t octets) {
  uint64_t free = 0;
  return target()->GetFreeSpace(path, IOOptions(), &free, nullptr).ok() &&
         free / kFreeForEach >= octets;
}

bool OverwrittenLogs::TakeSpare(Spare* spare) {
  const std::lock_guard lock(mutex_);
  if (spares_.empty()) return false;
  *spare = std::move(spares_.back());
  spares_.pop_back();
  return true;
}

IOStatus OverwrittenLogs::NewWritableFile(const std::string& path, const FileOptions& options,
                                          std::unique_ptr<FSWritableFile>* file,
                                          IODebugContext* debug) {
  const std::optional<uint64_t> number = LogNumber(path);
  Spare spare;
  if (number && TakeSpare(&spare)) {
    std::unique_ptr<FSWritableFile> real;
    if (Reuse(path, spare.path, options, direct_, &real).ok()) {
      FrameHeader first;
      first.log = *number;
      first.life = spare.life;
      first.reserve = spare.octets;
      first.blank = spare.blank;
      *file = std::make_unique<FramedLog>(std::move(real), first, &log_sync_);
      log_sync_.Made(*number);
      return IOStatus::OK();
    }
    const std::lock_guard lock(mutex_);
    spares_.push_back(std::move(spare));  // For a better time.
  }
  const IOStatus status = target()->NewWritableFile(path, options, file, debug);
  if (number && status.ok()) log_sync_.Made(*number);
  return status;
}

IOStatus OverwrittenLogs::ReopenWritableFile(const std::string& path, const FileOptions& options,
                                             std::unique_ptr<FSWritableFile>* file,
                                             IODebugContext* debug) {
  std::unique_ptr<LogFrameReader> framed;
  if (const std::optional<uint64_t> number = LogNumber(path)) {
    const IOStatus status = LogFrameReader::Open(target(), path, *number, &framed);
    if (!status.ok() && !status.IsNotFound() && !status.IsPathNotFound()) return status;
  }
  const IOStatus status = target()->ReopenWritableFile(path, options, file, debug);
  if (status.ok() && framed != nullptr) *file = std::make_unique<SealedLog>(std::move(*file));
  return status;
}

IOStatus OverwrittenLogs::NewDirectory(const std::string& path, const IOOptions& options,
                                       std::unique_ptr<rocksdb::FSDirectory>* directory,
                                       IODebugContext* debug) {
  std::unique_ptr<rocksdb::FSDirectory> real;
  const IOStatus status = target()->NewDirectory(path, options, &real, debug);
  if (status.ok()) *directory = std::make_unique<SyncedDirectory>(std::move(real));
  return status;
}

IOStatus OverwrittenLogs::NewSequentialFile(const std::string& path, const FileOptions& options,
                                            std::unique_ptr<FSSequentialFile>* file,
                                            IODebugContext* debug) {
  if (const std::optional<uint64_t> number = LogNumber(path)) {
    std::unique_ptr<LogFrameReader> framed;
    const IOStatus status = LogFrameReader::Open(target(), path, *number, &framed);
    if (!status.ok()) return status;
    if (framed != nullptr) {
      *file = std::make_unique<FramedLogContent>(std::move(framed), logger_);
      return status;
    }
  }
  return target()->NewSequentialFile(path, options, file, debug);
}

IOStatus OverwrittenLogs::GetFileSize(const std::string& path, const IOOptions& options,
                                      uint64_t* octets, IODebugContext* debug) {
  if (const std::optional<uint64_t> number = LogNumber(path)) {
    std::unique_ptr<LogFrameReader> framed;
    const IOStatus status = LogFrameReader::Open(target(), path, *number, &framed);
    if (!status.ok()) return status;
    if (framed != nullptr) return framed->Length(octets);
  }
  return target()->GetFileSize(path, options, octets, debug);
}

IOStatus OverwrittenLogs::DeleteFile(const std::string& path, const IOOptions& options,
                                     IODebugContext* debug) {
  Spare spare;
  if (reserve_ > 0 && LogNumber(path) &&
      target()->GetFileSize(path, IOOptions(), &spare.octets, debug).ok() &&
      IsWorthKeeping(spare.octets) && HasRoomFor(path, spare.octets)) {
    spare.path = path.substr(0, path.size() - kLogEnd.size()) + std::string(kSpareEnd);
    // The next log must not wait for the mark.
    {
      const std::lock_guard lock(mutex_);
      if (spares_.size() + coming_ >= kSparesMax) {
        return target()->DeleteFile(path, options, debug);
      }
      ++coming_;
    }
    const bool marked = Mark(path, &spare).ok();
    const std::lock_guard lock(mutex_);
    --coming_;
    if (marked) {
      spares_.push_back(std::move(spare));
      return IOStatus::OK();
    }
    if (target()->FileExists(path, IOOptions(), debug).IsNotFound()) {
      return target()->DeleteFile(spare.path, options, debug);
    }
  }
  return target()->DeleteFile(path, options, debug);
}

}  // namespace mailrace::queue

// Reads a log that was written over a file (log_frame.h) as the octets that RocksDB appended to
// it. RocksDB gets also what is damaged, so that it salvages what it can; that it refuses the log
// is made sure of here, since it passes over zeros and takes damage at the end for a torn write.
// One thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "queue/log_frame.h"
#include "rocksdb/file_system.h"

namespace mailrace::queue {

class LogFrameReader {
 public:
  // Null in *reader: `path` is a log as RocksDB itself writes one. `number`: of its name.
  static rocksdb::IOStatus Open(rocksdb::FileSystem* file_system, const std::string& path,
                                uint64_t number, std::unique_ptr<LogFrameReader>* reader);

  // What follows, or nothing at the end: behind the last frame that somebody was promised, or
  // behind it what was written as a whole. Octets that fit no checksum stand for what is damaged.
  rocksdb::IOStatus Next(std::string* piece);

  // The first damage: file, place and what is wrong. Empty: none so far.
  const std::string& damage() const { return damage_; }

  // Octets of the log, by reading all of it.
  rocksdb::IOStatus Length(uint64_t* octets);

 private:
  struct Place {
    uint64_t offset = 0;
    FrameHeader header;
  };

  LogFrameReader(std::unique_ptr<rocksdb::FSRandomAccessFile> file, std::string path,
                 uint64_t number, uint64_t file_octets)
      : file_(std::move(file)),
        path_(std::move(path)),
        number_(number),
        file_octets_(file_octets) {}

  rocksdb::IOStatus Read(uint64_t offset, size_t octets, std::string* into) const;
  bool Follows(const FrameHeader& header) const;
  bool EndsInFile(const FrameHeader& header) const;
  std::optional<Place> FindPromised() const;
  void Scan(uint64_t from, uint64_t to,
            const std::function<bool(uint64_t offset, std::string_view octets)>& look) const;
  rocksdb::IOStatus End(std::string* piece);
  void LookBehindEnd();
  bool IsHeadOfNext(std::string_view sector) const;
  void Damaged(uint64_t offset, std::string_view what);
  void Pass(const FrameHeader& header);

  const std::unique_ptr<rocksdb::FSRandomAccessFile> file_;
  const std::string path_;
  const uint64_t number_;
  const uint64_t file_octets_;
  uint64_t offset_ = 0;
  uint64_t index_ = 0;  // Of the frame that comes next.
  uint64_t position_ = 0;
  std::optional<uint64_t> life_;      // Nothing: the head of the first frame is damaged.
  std::optional<FrameHeader> first_;  // Of the log: what the file was.
  bool ended_ = false;
  std::string damage_;
};

}  // namespace mailrace::queue

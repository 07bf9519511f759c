#include "queue/rocksdb_store_log_reader.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"

namespace mailrace::queue {
namespace {

using rocksdb::IOStatus;

constexpr size_t kScanOctets = 1 << 20;
// Frames of one sync, at most: a group's octets in pieces of RocksDB's buffer.
constexpr uint64_t kFramesUnsyncedMax = 4096;

// No record of RocksDB's is so long, or of that kind.
constexpr char kFiller = '\xFF';
constexpr size_t kFillerOctets = 128 << 10;

bool IsZero(std::string_view octets) {
  return octets.find_first_not_of('\0') == std::string_view::npos;
}

}  // namespace

IOStatus LogFrameReader::Open(rocksdb::FileSystem* file_system, const std::string& path,
                              uint64_t number, std::unique_ptr<LogFrameReader>* reader) {
  reader->reset();
  uint64_t octets = 0;
  IOStatus status = file_system->GetFileSize(path, rocksdb::IOOptions(), &octets, nullptr);
  if (!status.ok()) return status;
  std::unique_ptr<rocksdb::FSRandomAccessFile> file;
  status = file_system->NewRandomAccessFile(path, rocksdb::FileOptions(), &file, nullptr);
  if (!status.ok()) return status;
  std::unique_ptr<LogFrameReader> found(new LogFrameReader(std::move(file), path, number, octets));
  std::string sector;
  status = found->Read(0, kSectorOctets, &sector);
  if (!status.ok()) return status;
  const std::optional<FrameHeader> header = DecodeFrameHeader(sector);
  if (header) {
    found->ended_ = header->log != number;  // Nothing of this one reached the file.
    found->life_ = header->life;
  } else if (IsSpareMark(sector)) {
    found->life_ = SpareLife(sector);
  } else if (!LooksLikeHead(sector) && !(IsZero(sector) && found->FindPromised())) {
    // Of a sector that the disk lost zeros are left, which RocksDB would pass over.
    return IOStatus::OK();
  }
  *reader = std::move(found);
  return IOStatus::OK();
}

IOStatus LogFrameReader::Read(uint64_t offset, size_t octets, std::string* into) const {
  into->resize(octets);
  rocksdb::Slice read;
  const IOStatus status =
      file_->Read(offset, octets, rocksdb::IOOptions(), &read, into->data(), nullptr);
  if (!status.ok()) return status;
  if (read.data() == into->data()) {
    into->resize(read.size());
  } else {
    into->assign(read.data(), read.size());
  }
  return status;
}

bool LogFrameReader::Follows(const FrameHeader& header) const {
  return header.log == number_ && header.life == life_ && header.index == index_ &&
         header.position == position_;
}

bool LogFrameReader::EndsInFile(const FrameHeader& header) const {
  return offset_ + FrameOctets(header.octets) <= file_octets_;
}

// Until `look` says that it has seen enough. What cannot be read is passed by: of places that
// this life never came to nobody need know.
void LogFrameReader::Scan(
    uint64_t from, uint64_t to,
    const std::function<bool(uint64_t offset, std::string_view octets)>& look) const {
  std::string part;
  for (uint64_t at = from; at < to; at += kScanOctets) {
    const uint64_t end = std::min(to, at + kScanOctets);
    if (Read(at, end - at, &part).ok()) {
      if (look(at, part)) return;
      continue;
    }
    for (uint64_t page = at; page < end; page += kFrameAlignment) {
      const size_t size = std::min<uint64_t>(kFrameAlignment, end - page);
      if (Read(page, size, &part).ok() && look(page, part)) return;
    }
  }
}

// A later frame of this log that was written when the one that comes next was on the disk.
std::optional<LogFrameReader::Place> LogFrameReader::FindPromised() const {
  std::optional<Place> place;
  const auto promises = [this](const FrameHeader& header, std::string_view sector) {
    return header.log == number_ && (!life_ || header.life == life_) && header.index > index_ &&
           header.synced > index_ && header.position >= position_ &&
           header.position <= file_octets_ &&
           WrittenFor(number_, header.life, header.index, sector);
  };
  Scan(offset_ + kFrameAlignment, file_octets_, [&](uint64_t offset, std::string_view octets) {
    for (size_t at = 0; at < octets.size(); at += kFrameAlignment) {
      const std::string_view sector = octets.substr(at, kSectorOctets);
      const std::optional<FrameHeader> header = DecodeFrameHeader(sector);
      if (!header || !promises(*header, sector)) continue;
      place = Place{offset + at, *header};
      return true;
    }
    return false;
  });
  return place;
}

void LogFrameReader::Pass(const FrameHeader& header) {
  offset_ += FrameOctets(header.octets);
  position_ += header.octets;
  ++index_;
}

void LogFrameReader::Damaged(uint64_t offset, std::string_view what) {
  if (damage_.empty()) damage_ = fmt::format("{}: {} at octet {}", path_, what, offset);
}

IOStatus LogFrameReader::Next(std::string* piece) {
  piece->clear();
  if (ended_) return IOStatus::OK();
  std::string sector;
  IOStatus status = Read(offset_, kSectorOctets, &sector);
  if (!status.ok()) return status;
  const std::optional<FrameHeader> header = DecodeFrameHeader(sector);
  const bool follows = header && Follows(*header);
  if (follows && !first_) first_ = header;
  // Behind its reserve a log grows, and a power cut may have stopped that anywhere.
  if (follows && !EndsInFile(*header)) return End(piece);
  std::string frame;
  if (follows) {
    status = Read(offset_, FrameOctets(header->octets), &frame);
    if (!status.ok()) return status;
    if (std::optional<std::string> payload = DecodeFrame(*header, frame)) {
      *piece = *std::move(payload);
      Pass(*header);
      return status;
    }
  }
  const std::optional<Place> promised = FindPromised();
  if (follows) {
    // Neither promised nor wholly written: a power cut came first.
    if (!promised && !WrittenFor(number_, *life_, index_, frame)) return End(piece);
    Damaged(offset_, "a frame is damaged");
    *piece = FramePayload(*header, frame);
    Pass(*header);
    return status;
  }
  if (promised) {
    // The frames between cannot be found any more; what follows stays where it belongs.
    Damaged(offset_, "a frame is missing");
    piece->assign(promised->header.position - position_, kFiller);
    if (!first_) first_ = promised->header;
    life_ = promised->header.life;
    offset_ = promised->offset;
    position_ = promised->header.position;
    index_ = promised->header.index;
    return piece->empty() ? Next(piece) : status;
  }
  if (!header && IsHeadOfNext(sector)) Damaged(offset_, "the head of a frame is damaged");
  return End(piece);
}

bool LogFrameReader::IsHeadOfNext(std::string_view sector) const {
  if (index_ == 0) return LooksLikeHead(sector);
  return sector.size() == kSectorOctets && WrittenFor(number_, *life_, index_, sector);
}

IOStatus LogFrameReader::End(std::string* piece) {
  ended_ = true;
  LookBehindEnd();
  // In a block that ends early RocksDB takes damage for a write that a power cut tore, and zeros
  // it passes over wherever they are.
  if (!damage_.empty()) piece->assign(kFillerOctets, kFiller);
  return IOStatus::OK();
}

// What nobody wrote to is as it was.
void LogFrameReader::LookBehindEnd() {
  if (!first_ || !damage_.empty()) return;
  if (file_octets_ < first_->reserve) {
    Damaged(file_octets_, fmt::format("cut short, it had {} octets,", first_->reserve));
    return;
  }
  if (!first_->blank) return;
  const auto of_this_log = [this](std::string_view sector) {
    for (uint64_t index = index_; index < index_ + kFramesUnsyncedMax; ++index) {
      if (WrittenFor(number_, *life_, index, sector)) return true;
    }
    return false;
  };
  Scan(offset_, first_->reserve, [&](uint64_t offset, std::string_view octets) {
    if (IsZero(octets)) return false;
    for (size_t at = 0; at < octets.size(); at += kSectorOctets) {
      const std::string_view sector = octets.substr(at, kSectorOctets);
      if (IsZero(sector) || of_this_log(sector)) continue;
      Damaged(offset + at, "octets that nobody wrote");
      return true;
    }
    return false;
  });
}

IOStatus LogFrameReader::Length(uint64_t* octets) {
  std::string piece;
  IOStatus status;
  do {
    status = Next(&piece);
  } while (status.ok() && !piece.empty());
  *octets = position_;
  return status;
}

}  // namespace mailrace::queue

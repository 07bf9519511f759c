#include "queue/log_frame.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "queue/checksum.h"

namespace mailrace::queue {
namespace {

constexpr size_t kTagOctets = 4;
constexpr size_t kSectorPayload = kSectorOctets - kTagOctets;
constexpr std::string_view kMagic = "MRLOGF1\n";
constexpr std::string_view kSpareMagic = "MRSPARE\n";
// Fewer are an accident; a spare mark has three of them.
constexpr size_t kMagicOctetsLeftMin = 5;
// Bits of a tag that a damaged disk may have changed. Those of another frame differ in more.
constexpr int kTagBitsFlippedMax = 2;

size_t RoundUp(size_t octets, size_t unit) { return (octets + unit - 1) / unit * unit; }

size_t StreamOctets(size_t payload) {
  return FrameOctets(payload) / kSectorOctets * kSectorPayload;
}

void Put(uint64_t value, int octets, std::string* out) {
  for (int shift = 8 * (octets - 1); shift >= 0; shift -= 8) {
    out->push_back(static_cast<char>(value >> shift & 0xFF));
  }
}

uint64_t Take(int octets, std::string_view* in) {
  uint64_t value = 0;
  for (int i = 0; i < octets; ++i) value = value << 8 | static_cast<uint8_t>((*in)[i]);
  in->remove_prefix(octets);
  return value;
}

uint32_t Tag(uint64_t log, uint64_t life, uint64_t index) {
  // splitmix64's finish: neighbours share no bits.
  uint64_t mixed = life + log * 0x9E3779B97F4A7C15 + index + 1;
  mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9;
  mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB;
  return static_cast<uint32_t>(mixed ^ mixed >> 31);
}

// Writes a stream into the sectors of a frame.
class SectorWriter {
 public:
  explicit SectorWriter(char* frame) : frame_(frame) {}

  void Append(std::string_view octets) {
    while (!octets.empty()) {
      const size_t within = position_ % kSectorPayload;
      const size_t size = std::min(octets.size(), kSectorPayload - within);
      std::memcpy(frame_ + position_ / kSectorPayload * kSectorOctets + within, octets.data(),
                  size);
      octets.remove_prefix(size);
      position_ += size;
    }
  }

 private:
  char* const frame_;
  size_t position_ = 0;
};

}  // namespace

size_t FrameOctets(size_t payload) {
  const size_t sectors = (kFrameHeadOctets + payload + kSectorPayload - 1) / kSectorPayload;
  return RoundUp(sectors * kSectorOctets, kFrameAlignment);
}

void EncodeFrame(FrameHeader header, std::string_view payload, char* frame) {
  header.octets = static_cast<uint32_t>(payload.size());
  const size_t zeros = StreamOctets(payload.size()) - kFrameHeadOctets - payload.size();
  static constexpr char kZeros[kFrameAlignment + kSectorOctets] = {};
  header.checksum = Crc32c(payload);

  std::string head(kMagic);
  head.reserve(kFrameHeadOctets);
  for (const uint64_t value :
       {header.log, header.life, header.index, header.synced, header.position, header.reserve}) {
    Put(value, 8, &head);
  }
  Put(header.blank ? 1 : 0, 4, &head);
  Put(header.octets, 4, &head);
  Put(header.checksum, 4, &head);
  Put(Crc32c(head), 4, &head);

  SectorWriter writer(frame);
  writer.Append(head);
  writer.Append(payload);
  writer.Append({kZeros, zeros});
  std::string tag;
  Put(Tag(header.log, header.life, header.index), kTagOctets, &tag);
  for (size_t end = kSectorOctets; end <= FrameOctets(payload.size()); end += kSectorOctets) {
    std::memcpy(frame + end - kTagOctets, tag.data(), kTagOctets);
  }
}

std::optional<FrameHeader> DecodeFrameHeader(std::string_view sector) {
  if (sector.size() < kFrameHeadOctets || !sector.starts_with(kMagic)) return std::nullopt;
  const std::string_view covered = sector.substr(0, kFrameHeadOctets - 4);
  std::string_view rest = sector.substr(kMagic.size());
  FrameHeader header;
  for (uint64_t* value : {&header.log, &header.life, &header.index, &header.synced,
                          &header.position, &header.reserve}) {
    *value = Take(8, &rest);
  }
  header.blank = Take(4, &rest) != 0;
  header.octets = static_cast<uint32_t>(Take(4, &rest));
  header.checksum = static_cast<uint32_t>(Take(4, &rest));
  if (Take(4, &rest) != Crc32c(covered)) return std::nullopt;
  return header;
}

std::string FramePayload(const FrameHeader& header, std::string_view frame) {
  std::string stream;
  stream.reserve(frame.size());
  for (; !frame.empty(); frame.remove_prefix(std::min(frame.size(), kSectorOctets))) {
    stream += frame.substr(0, kSectorPayload);
  }
  stream.erase(0, kFrameHeadOctets);
  stream.resize(std::min<size_t>(stream.size(), header.octets));
  return stream;
}

std::optional<std::string> DecodeFrame(const FrameHeader& header, std::string_view frame) {
  std::string payload = FramePayload(header, frame);
  if (payload.size() != header.octets || Crc32c(payload) != header.checksum) return std::nullopt;
  return payload;
}

bool WrittenFor(uint64_t log, uint64_t life, uint64_t index, std::string_view sectors) {
  const uint32_t tag = Tag(log, life, index);
  for (size_t end = kSectorOctets; end <= sectors.size(); end += kSectorOctets) {
    std::string_view at = sectors.substr(end - kTagOctets);
    const uint32_t differs = tag ^ static_cast<uint32_t>(Take(kTagOctets, &at));
    if (std::popcount(differs) > kTagBitsFlippedMax) return false;
  }
  return !sectors.empty();
}

bool LooksLikeHead(std::string_view sector) {
  if (sector.size() < kMagic.size()) return false;
  size_t same = 0;
  for (size_t i = 0; i < kMagic.size(); ++i) same += sector[i] == kMagic[i] ? 1 : 0;
  return same >= kMagicOctetsLeftMin;
}

std::string SpareMark(uint64_t life) {
  std::string mark(kSpareMagic);
  Put(life, 8, &mark);
  Put(Crc32c(mark), 4, &mark);
  mark.resize(kFrameAlignment);
  return mark;
}

bool IsSpareMark(std::string_view sector) { return sector.starts_with(kSpareMagic); }

std::optional<uint64_t> SpareLife(std::string_view sector) {
  constexpr size_t kCovered = kSpareMagic.size() + 8;
  if (sector.size() < kCovered + 4 || !IsSpareMark(sector)) return std::nullopt;
  std::string_view rest = sector.substr(kSpareMagic.size());
  const uint64_t life = Take(8, &rest);
  if (Take(4, &rest) != Crc32c(sector.substr(0, kCovered))) return std::nullopt;
  return life;
}

}  // namespace mailrace::queue

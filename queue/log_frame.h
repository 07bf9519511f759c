// How RocksDB's write-ahead log lies in a file that was written before (rocksdb_store_overwrite.h):
// in frames, which tell today's octets from those of the file's earlier lives. Pure functions
// of octets: any thread.
//
//   frame  := sector{8n}, n > 0
//   sector := 508 octets of the stream, tag (4)
//   stream := header, payload, zeros
//   header := magic (8) log (8) life (8) index (8) synced (8) position (8) reserve (8) blank (4)
//             octets (4) checksum of the payload (4) checksum of the header so far (4)
//
// Numbers are big-endian. A disk writes a sector wholly or not at all. The tag is of the log, its
// life and the index: a sector of a torn write lacks it, one in which a bit flipped has it. So a
// frame that was not written to its end, which nobody was promised, is told from a damaged one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mailrace::queue {

constexpr size_t kSectorOctets = 512;
// A page of the kernel's: it need not be read before a part of it is written.
constexpr size_t kFrameAlignment = 4096;

// Of the stream, before the payload.
constexpr size_t kFrameHeadOctets = 8 + 6 * 8 + 4 * 4;

struct FrameHeader {
  uint64_t log = 0;       // The number in the file's name.
  uint64_t life = 0;      // Drawn for each log: a number may be given again after a power cut.
  uint64_t index = 0;     // Of this frame in its log.
  uint64_t synced = 0;    // Frames below this were on the disk when this one was written.
  uint64_t position = 0;  // Where the payload belongs in the log.
  uint64_t reserve = 0;   // How long the file was before it became this log.
  bool blank = false;     // All zeros it was.
  uint32_t octets = 0;    // Of the payload.
  uint32_t checksum = 0;  // Set by EncodeFrame.
};

// What a frame with so much payload takes in the file.
size_t FrameOctets(size_t payload);

// To `frame`, which has room for FrameOctets(payload.size()).
void EncodeFrame(FrameHeader header, std::string_view payload, char* frame);

// Of a frame's first sector. Nothing: it is not one, or damaged.
std::optional<FrameHeader> DecodeFrameHeader(std::string_view sector);

// Nothing: the payload in `frame`, which has FrameOctets(header.octets), is not what was written.
std::optional<std::string> DecodeFrame(const FrameHeader& header, std::string_view frame);
// The payload as it is, whole or not.
std::string FramePayload(const FrameHeader& header, std::string_view frame);

// Whether every one of these sectors was written for that frame; one or two bits may have
// flipped in a tag.
bool WrittenFor(uint64_t log, uint64_t life, uint64_t index, std::string_view sectors);

// Whether a log's first sector is the damaged head of a frame: most of the magic is there, where
// a log of RocksDB's own has a checksum, a length and a type that no sender of mail can choose.
bool LooksLikeHead(std::string_view sector);

// The first octets of a file that waits for a log, to be that log's life: no frame of another one
// in it counts.
std::string SpareMark(uint64_t life);
bool IsSpareMark(std::string_view sector);
// Nothing: no spare mark, or a damaged one.
std::optional<uint64_t> SpareLife(std::string_view sector);

}  // namespace mailrace::queue

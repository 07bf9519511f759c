// Frames of a log that is written over: what is whole, what was torn, what is damaged.

#include "queue/log_frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "queue/checksum.h"

namespace mailrace::queue {
namespace {

FrameHeader HeaderOf(uint64_t index) {
  FrameHeader header;
  header.log = 17;
  header.life = 0xABCDEF;
  header.index = index;
  header.synced = index;
  header.position = 1000 * index;
  header.reserve = 1 << 20;
  header.blank = true;
  return header;
}

std::string Framed(const FrameHeader& header, std::string_view payload) {
  std::string frame(FrameOctets(payload.size()), '\x55');  // Whatever was there before.
  EncodeFrame(header, payload, frame.data());
  return frame;
}

std::string PayloadOf(size_t size) {
  SeededRandom random(size);
  std::string payload(size, '\0');
  for (char& octet : payload) octet = static_cast<char>(random.NextByte());
  return payload;
}

std::string_view FirstSector(const std::string& frame) {
  return std::string_view(frame).substr(0, kSectorOctets);
}

TEST(LogFrame, GivesBackWhatWasPutIn) {
  for (const size_t size : {size_t{1}, size_t{435}, size_t{436}, size_t{437}, size_t{3983},
                            size_t{3984}, size_t{3985}, size_t{40'000}, size_t{1} << 20}) {
    const std::string payload = PayloadOf(size);
    const std::string frame = Framed(HeaderOf(3), payload);
    EXPECT_EQ(frame.size() % kFrameAlignment, 0u);
    EXPECT_LE(frame.size(), size + size / 100 + 2 * kFrameAlignment);
    const std::optional<FrameHeader> header = DecodeFrameHeader(FirstSector(frame));
    ASSERT_TRUE(header) << size;
    EXPECT_EQ(header->log, 17u);
    EXPECT_EQ(header->life, 0xABCDEFu);
    EXPECT_EQ(header->index, 3u);
    EXPECT_EQ(header->synced, 3u);
    EXPECT_EQ(header->position, 3000u);
    EXPECT_EQ(header->reserve, 1u << 20);
    EXPECT_TRUE(header->blank);
    ASSERT_EQ(header->octets, size);
    EXPECT_EQ(DecodeFrame(*header, frame), payload);
  }
}

// Wherever a bit flips: the frame is not whole, or the payload is what it was; and it never
// looks as if it had not been written to its end.
TEST(LogFrame, AFlippedBitIsNeitherOverlookedNorTakenForATornWrite) {
  const std::string payload = PayloadOf(1500);
  const std::string frame = Framed(HeaderOf(3), payload);
  for (size_t bit = 0; bit < 8 * frame.size(); bit += 3) {
    std::string damaged = frame;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ 1 << bit % 8);
    ASSERT_TRUE(WrittenFor(17, 0xABCDEF, 3, damaged)) << bit;
    const std::optional<FrameHeader> header = DecodeFrameHeader(FirstSector(damaged));
    if (!header) continue;
    const std::optional<std::string> found = DecodeFrame(*header, damaged);
    if (found) {
      ASSERT_EQ(*found, payload) << bit;
    }
  }
}

TEST(LogFrame, ASectorThatDidNotReachTheDiskShows) {
  const std::string older = Framed(HeaderOf(2), PayloadOf(5000));
  const std::string frame = Framed(HeaderOf(3), PayloadOf(5001));
  ASSERT_EQ(older.size(), frame.size());
  constexpr size_t kPayloadEnd = 5000;  // Behind it zeros fill the page: they may be torn.
  for (size_t at = 0; at < frame.size(); at += kSectorOctets) {
    std::string torn = frame;
    torn.replace(at, kSectorOctets, older, at, kSectorOctets);
    EXPECT_FALSE(WrittenFor(17, 0xABCDEF, 3, torn)) << at;
    EXPECT_FALSE(WrittenFor(17, 0xABCDEE, 3, torn)) << "of another life";
    torn.replace(at, kSectorOctets, kSectorOctets, '\0');
    EXPECT_FALSE(WrittenFor(17, 0xABCDEF, 3, torn)) << at;
    const std::optional<FrameHeader> header = DecodeFrameHeader(FirstSector(torn));
    if (header && at < kPayloadEnd) {
      EXPECT_EQ(DecodeFrame(*header, torn), std::nullopt);
    }
  }
}

TEST(LogFrame, AnythingIsNoFrame) {
  SeededRandom random(1);
  for (int i = 0; i < 2000; ++i) {
    std::string sector(random.Below(kSectorOctets + 1), '\0');
    for (char& octet : sector) octet = static_cast<char>(random.NextByte());
    EXPECT_FALSE(DecodeFrameHeader(sector));
    EXPECT_FALSE(LooksLikeHead(sector));
    EXPECT_FALSE(IsSpareMark(sector));
  }
}

TEST(LogFrame, ASpareSaysWhichLifeComes) {
  std::string mark = SpareMark(77);
  EXPECT_TRUE(IsSpareMark(mark));
  EXPECT_EQ(SpareLife(mark), 77u);
  EXPECT_EQ(mark.size(), kFrameAlignment);
  EXPECT_FALSE(DecodeFrameHeader(mark));
  EXPECT_FALSE(LooksLikeHead(mark));
  mark[10] ^= 1;
  EXPECT_EQ(SpareLife(mark), std::nullopt);
}

TEST(Crc32c, OfPartsIsThatOfTheWhole) {
  const std::string octets = PayloadOf(1000);
  for (size_t cut = 0; cut <= octets.size(); cut += 7) {
    const std::string_view whole = octets;
    EXPECT_EQ(Crc32c(whole.substr(cut), Crc32c(whole.substr(0, cut))), Crc32c(octets)) << cut;
  }
}

}  // namespace
}  // namespace mailrace::queue

#include "transport/smtp/server_machine_content.h"

#include <algorithm>
#include <bit>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace mailrace::transport::smtp {

namespace {

// What is interesting in 64 octets, one bit an octet, the first the lowest. Ordinary
// mail is lines of some 70 octets: looking for each line end by itself would cost more
// than classifying everything at once.
struct Classes {
  uint64_t cr = 0;
  uint64_t lf = 0;
  uint64_t dot = 0;
  uint64_t nul = 0;
  uint64_t high = 0;
};

constexpr size_t kBlock = 64;

#if defined(__SSE2__)
Classes Classify(const char* octets) {
  Classes classes;
  for (int part = 0; part < 4; ++part) {
    const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(octets + part * 16));
    const auto equal = [&v, part](char c) {
      const int mask = _mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(c)));
      return static_cast<uint64_t>(static_cast<uint32_t>(mask)) << (part * 16);
    };
    classes.cr |= equal('\r');
    classes.lf |= equal('\n');
    classes.dot |= equal('.');
    classes.nul |= equal('\0');
    classes.high |= static_cast<uint64_t>(static_cast<uint32_t>(_mm_movemask_epi8(v)))
                    << (part * 16);
  }
  return classes;
}
#else
Classes Classify(const char* octets) {
  Classes classes;
  for (size_t i = 0; i < kBlock; ++i) {
    const uint64_t bit = uint64_t{1} << i;
    const char c = octets[i];
    if (c == '\r') classes.cr |= bit;
    if (c == '\n') classes.lf |= bit;
    if (c == '.') classes.dot |= bit;
    if (c == '\0') classes.nul |= bit;
    if (static_cast<unsigned char>(c) >= 0x80) classes.high |= bit;
  }
  return classes;
}
#endif

}  // namespace

bool ContentScanner::FeedData(std::string_view* input, std::string* content) {
  dots_ = true;
  return Feed(input, content);
}

void ContentScanner::FeedChunk(std::string_view input, std::string* content) {
  dots_ = false;
  Feed(&input, content);
}

void ContentScanner::FinishChunks(std::string* content) {
  if (state_ == State::kTextCr) BareCr(content);
  if (state_ == State::kText) EndLine(content);
}

bool ContentScanner::Feed(std::string_view* input, std::string* content) {
  while (!input->empty()) {
    if (state_ == State::kText || (state_ == State::kLineStart && input->front() != '.') ||
        (state_ == State::kLineStart && !dots_)) {
      const size_t run = Run(*input);
      if (run > 0) {
        Append(input->substr(0, run), content);
        state_ = (*input)[run - 1] == '\n' ? State::kLineStart : State::kText;
        after_bare_lf_ = false;
        input->remove_prefix(run);
        continue;
      }
    }
    if (Step(input, content)) return true;
  }
  return false;
}

// One octet at a time, for what Run() stops at. True at the end of data.
bool ContentScanner::Step(std::string_view* input, std::string* content) {
  const char c = input->front();
  switch (state_) {
    case State::kLineStart:
      if (c == '.' && dots_) {
        state_ = State::kDot;
        break;
      }
      state_ = State::kText;
      return false;  // The octet is looked at again, as text.
    case State::kDot:
      state_ = c == '\r' ? State::kDotCr : State::kText;
      if (c != '\r') return false;  // The dot was stuffing and is dropped.
      break;
    case State::kDotCr:
      if (c != '\n') {
        BareCr(content);
        return false;
      }
      if (!after_bare_lf_) {
        input->remove_prefix(1);
        return true;
      }
      EndLine(content);
      break;
    case State::kText:
      if (c == '\r') {
        state_ = State::kTextCr;
      } else if (c == '\n') {
        BareLf(content);
      } else {
        // Run() passes everything else but NUL.
        Found(Problem::kNul);
        ++octets_;
      }
      break;
    case State::kTextCr:
      if (c != '\n') {
        BareCr(content);
        return false;
      }
      EndLine(content);
      break;
  }
  input->remove_prefix(1);
  return false;
}

// How much of the front of `input` can be taken as it is: whole CRLFs, no dot at the
// start of a line, no NUL, no bare CR or LF. A CR at the very end is left for later.
// REQUIRES: input does not begin with a dot at the start of a line.
size_t ContentScanner::Run(std::string_view input) {
  size_t line_start = 0;  // Within input; line_octets_ came before.
  uint64_t carried_cr = 0;
  uint64_t carried_lf = 0;
  size_t base = 0;
  size_t end = input.size();
  for (; base < input.size(); base += kBlock) {
    char padded[kBlock];
    const char* block = input.data() + base;
    const size_t octets = std::min(kBlock, input.size() - base);
    if (octets < kBlock) {
      std::memset(padded, 'x', kBlock);
      std::memcpy(padded, block, octets);
      block = padded;
    }
    const Classes is = Classify(block);
    const uint64_t line_starts = is.lf << 1 | carried_lf;
    uint64_t stop = (is.lf ^ (is.cr << 1 | carried_cr)) | is.nul;
    if (dots_) stop |= is.dot & line_starts;
    if (octets < kBlock) stop |= uint64_t{1} << octets;
    const size_t clean = stop == 0 ? kBlock : std::countr_zero(stop);
    const uint64_t taken = clean == kBlock ? ~uint64_t{0} : (uint64_t{1} << clean) - 1;
    eight_bit_ = eight_bit_ || (is.high & taken) != 0;
    if (const uint64_t ends = is.lf & taken; ends != 0) {
      line_start = FirstLineOctets(ends, base, line_start);
    }
    if (stop != 0) {
      end = base + clean;
      break;
    }
    carried_cr = is.cr >> (kBlock - 1);
    carried_lf = is.lf >> (kBlock - 1);
  }
  // Where a CR is not followed by LF (or by anything yet), it is not ours.
  if (end > 0 && input[end - 1] == '\r') --end;
  line_octets_ += end - line_start;
  if (options_.line_octets_max != 0 && line_octets_ > options_.line_octets_max) {
    Found(Problem::kLongLine);
  }
  return end;
}

// Judges the line that ends first in a block, the only one there that can be longer
// than the block. Gives the start of the line that begins last.
size_t ContentScanner::FirstLineOctets(uint64_t line_ends, size_t base, size_t line_start) {
  const size_t first_end = base + std::countr_zero(line_ends);
  // Its CR was counted too, so more than the limit and one is too long.
  if (options_.line_octets_max != 0 &&
      line_octets_ + (first_end - line_start) > options_.line_octets_max + 1) {
    Found(Problem::kLongLine);
  }
  line_octets_ = 0;
  return base + (kBlock - 1 - std::countl_zero(line_ends)) + 1;
}

void ContentScanner::Append(std::string_view octets, std::string* content) {
  octets_ += octets.size();
  if (options_.octets_max != 0 && octets_ > options_.octets_max) {
    // The better reason of the two: no other client could send this message either.
    if (problem_ == Problem::kLongLine) problem_ = Problem::kNone;
    Found(Problem::kTooLarge);
  }
  if (problem_ == Problem::kNone) content->append(octets);
}

void ContentScanner::EndLine(std::string* content) {
  Append("\r\n", content);
  state_ = State::kLineStart;
  after_bare_lf_ = false;
  line_octets_ = 0;
}

void ContentScanner::BareLf(std::string* content) {
  if (options_.bare_newline == BareNewline::kReject) Found(Problem::kBareNewline);
  EndLine(content);
  after_bare_lf_ = true;
}

void ContentScanner::BareCr(std::string* content) {
  if (options_.bare_newline == BareNewline::kReject) Found(Problem::kBareNewline);
  Append(" ", content);
  if (++line_octets_ > options_.line_octets_max && options_.line_octets_max != 0) {
    Found(Problem::kLongLine);
  }
  state_ = State::kText;
}

}  // namespace mailrace::transport::smtp

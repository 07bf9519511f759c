#include "transport/smtp/chunk_reader.h"

#include <algorithm>
#include <string>

#include "transport/smtp/stream_failure.h"

namespace mailrace::transport::smtp {

ChunkReader::ChunkReader(OutgoingMessage* message, bool eight_bit_allowed)
    : message_(message), gate_(eight_bit_allowed, DotStuffer::Framing::kChunks) {
  message_->Rewind();
}

Task<std::optional<Failure>> ChunkReader::Read(size_t octets_max, Buffer* chunk) {
  Failure unfit{Failure::Kind::kLocal, Step::kBody};
  while (chunk->size() < octets_max && !ended_) {
    bool fit = true;
    if (rest_.empty()) {
      const absl::StatusOr<std::string_view> more = co_await message_->NextChunk();
      if (!more.ok()) {
        unfit.text = StatusText(more.status());
        co_return unfit;
      }
      rest_ = *more;
      ended_ = rest_.empty();
      if (ended_) fit = gate_.Finish(chunk);
    }
    const std::string_view part = rest_.substr(0, octets_max - std::min(octets_max, chunk->size()));
    rest_.remove_prefix(part.size());
    fit = fit && gate_.Append(part, chunk);
    if (!fit) {
      unfit.text = std::string(kContentUnfitText) + std::string(gate_.problem());
      co_return unfit;
    }
  }
  co_return std::nullopt;
}

}  // namespace mailrace::transport::smtp

#include "engine/delivery/transaction_content.h"

#include "base/sync.h"

namespace mailrace::engine {

Task<absl::StatusOr<std::string_view>> TransactionContent::Next() {
  if (chunk_ >= message_->envelope().chunks) co_return std::string_view();
  if (message_->content() != nullptr) {
    ++chunk_;
    co_return std::string_view(*message_->content());
  }
  OneShot<absl::StatusOr<std::string>> answer(loop_);
  reader_->ReadChunk(message_->id(), chunk_, [&answer](absl::StatusOr<std::string> chunk) {
    answer.Set(std::move(chunk));
  });
  absl::StatusOr<std::string> chunk = co_await answer;
  if (!chunk.ok()) co_return chunk.status();
  ++chunk_;
  loaded_ = *std::move(chunk);
  co_return std::string_view(loaded_);
}

}  // namespace mailrace::engine

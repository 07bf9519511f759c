#include "engine/admin/import_command.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "base/text.h"
#include "engine/admin/exported_message.h"
#include "engine/admin/message_view.h"
#include "engine/admin/queue_commands.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace mailrace::engine {

namespace {

using Json = nlohmann::json;

constexpr absl::Duration kReadTimeout = absl::Seconds(30);
// Header fields that the queue it comes from had added.
constexpr uint64_t kTraceOctetsMax = 64 * 1024;

absl::Status CutShort() { return absl::InvalidArgumentError("the content was cut short"); }

// The content in body records: all but the last go to the store as they come.
class Content {
 public:
  Content(const ImportParts& parts, queue::Envelope* envelope)
      : parts_(parts), envelope_(envelope) {}
  Content(const Content&) = delete;
  Content& operator=(const Content&) = delete;
  // What was stored of a message that was not accepted goes again.
  ~Content() {
    if (!accepted_ && stored_ > 0) parts_.acceptor->Abandon(envelope_->id, stored_);
  }

  Task<absl::Status> Read(uint64_t octets, transport::Stream* stream) {
    while (envelope_->octets < octets) {
      if (stream->input().empty()) {
        const absl::StatusOr<bool> filled =
            co_await stream->Fill(parts_.loop->now() + kReadTimeout);
        if (!filled.ok() || !*filled) co_return CutShort();
      }
      const std::string_view piece = stream->input().view().substr(
          0, std::min<uint64_t>(octets - envelope_->octets, queue::kChunkOctetsMax));
      if (!check_.Feed(piece)) {
        co_return absl::InvalidArgumentError(
            "the content has a bare CR or LF: lines must end with CRLF");
      }
      pending_.append(piece);
      envelope_->octets += piece.size();
      stream->input().Consume(piece.size());
      while (pending_.size() > queue::kChunkOctetsMax) {
        auto chunk = std::make_shared<const std::string>(pending_, 0, queue::kChunkOctetsMax);
        pending_.erase(0, queue::kChunkOctetsMax);
        const uint32_t number = stored_++;
        const absl::Status stored =
            co_await parts_.acceptor->PutChunk(envelope_->id, number, std::move(chunk));
        if (!stored.ok()) co_return stored;
      }
    }
    if (check_.complete()) co_return absl::OkStatus();
    co_return absl::InvalidArgumentError("the content is empty or its last line has no end");
  }

  Task<absl::Status> Accept() {
    envelope_->chunks = stored_ + 1;
    envelope_->eight_bit = check_.eight_bit();
    auto last = std::make_shared<const std::string>(std::move(pending_));
    const absl::Status accepted =
        co_await parts_.acceptor->Accept(*envelope_, std::move(last), std::nullopt);
    accepted_ = accepted.ok();
    co_return accepted;
  }

 private:
  const ImportParts& parts_;
  queue::Envelope* const envelope_;
  ContentCheck check_;
  std::string pending_;
  uint32_t stored_ = 0;
  bool accepted_ = false;
};

Task<absl::Status> Import(const ImportParts* parts, queue::Envelope* envelope, uint64_t octets,
                          transport::Stream* stream) {
  const absl::Status admitted = parts->acceptor->Admit(octets);
  if (!admitted.ok()) co_return admitted;
  envelope->id = parts->acceptor->NewId();
  // A clock that was ahead elsewhere gives no longer life here.
  envelope->arrival = std::min(envelope->arrival, parts->loop->wall());
  Content content(*parts, envelope);
  const absl::Status read = co_await content.Read(octets, stream);
  if (!read.ok()) co_return read;
  const absl::Status accepted = co_await content.Accept();
  co_return accepted;
}

}  // namespace

Task<void> ImportMessage(ImportParts parts, Json request, transport::Stream* stream) {
  const auto octets = request.find("octets");
  const auto json = request.find("envelope");
  absl::Status status;
  std::string id;
  if (octets == request.end() || !octets->is_number_unsigned() || json == request.end() ||
      request.size() != 3) {
    status = absl::InvalidArgumentError(
        "an import has \"envelope\" and \"octets\", and no other member");
  } else if (octets->get<uint64_t>() > parts.octets_max + kTraceOctetsMax) {
    status = absl::InvalidArgumentError(
        fmt::format("{} octets are more than message_size_limit allows", octets->get<uint64_t>()));
  } else {
    absl::StatusOr<queue::Envelope> envelope = ParseExport(*json);
    status = envelope.status();
    if (envelope.ok()) {
      status = co_await Import(&parts, &*envelope, octets->get<uint64_t>(), stream);
      id = envelope->id.ToString();
    }
  }
  if (status.ok()) {
    const Json from = json->value("queue_id", Json("none"));
    parts.logger->Info("postsuper",
                       fmt::format("{}: imported, was {}", id, Printable(LineOf(from), 32)));
    Say(stream, {{"imported", id}});
    co_return;
  }
  // The rest of the content is not read: whoever sends it hears us when it stops.
  Json answer = {{"error", std::string(status.message())}};
  // Whether to try again: it is our trouble, not the message's.
  answer["temporary"] = absl::IsResourceExhausted(status) || absl::IsUnavailable(status);
  if (absl::IsNotFound(status)) answer["nothing_owed"] = true;
  Say(stream, answer);
}

}  // namespace mailrace::engine

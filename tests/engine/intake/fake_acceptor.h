// An Acceptor that keeps what it is given, and fails or waits when told to.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/loop.h"
#include "base/sync.h"
#include "engine/intake/acceptor.h"

namespace mailrace::engine {

class FakeAcceptor final : public Acceptor {
 public:
  struct Accepted {
    queue::Envelope envelope;
    std::string content;
  };

  explicit FakeAcceptor(Loop* loop) : released_(loop) {}

  QueueId NewId() override { return {0xABC0000000000 + ++ids_}; }
  absl::Status Admit(uint64_t octets) override {
    admitted_octets = octets;
    return admit_status;
  }
  Task<absl::Status> PutChunk(QueueId id, uint32_t chunk, queue::Octets content) override {
    static_cast<void>(id);
    if (chunk == 0) chunks_.clear();
    chunk_sizes.push_back(content->size());
    chunks_ += *content;
    co_return put_chunk_status;
  }
  Task<absl::Status> Accept(queue::Envelope envelope, queue::Octets last_chunk,
                            std::optional<MonoTime> begun) override {
    begun_times.push_back(begun);
    ++waiting;
    while (hold) {
      const bool notified = co_await released_.Wait();
      static_cast<void>(notified);
    }
    --waiting;
    if (accept_status.ok()) {
      const std::string before = envelope.chunks > 1 ? std::exchange(chunks_, {}) : std::string();
      accepted.push_back({std::move(envelope), before + *last_chunk});
    }
    co_return accept_status;
  }
  void Abandon(QueueId id, uint32_t chunks) override { abandoned.emplace_back(id, chunks); }

  void Release() {
    hold = false;
    released_.NotifyAll();
  }

  absl::Status admit_status;
  absl::Status put_chunk_status;
  absl::Status accept_status;
  bool hold = false;  // Accept waits for Release().
  size_t waiting = 0;
  uint64_t admitted_octets = 0;
  std::vector<size_t> chunk_sizes;
  std::vector<std::optional<MonoTime>> begun_times;  // A call each.
  std::vector<Accepted> accepted;
  std::vector<std::pair<QueueId, uint32_t>> abandoned;

 private:
  Event released_;
  uint64_t ids_ = 0;
  std::string chunks_;
};

}  // namespace mailrace::engine

// Questions from the administrator's shard to all shards and to the thread that reads the
// store. Nobody blocks: the answers come back as calls to the first shard. What asks waits
// for a bounded time, and not at all once the engine stops: a shard that has ended answers
// no more.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/loop.h"
#include "base/sync.h"
#include "base/task.h"
#include "engine/shard_store_reader.h"
#include "engine/shard_thread.h"

namespace mailrace::engine {

// Lives on the first shard. All borrowed; outlive it.
class ShardCalls {
 public:
  ShardCalls(Loop* loop, const std::vector<std::unique_ptr<ShardThread>>* shards,
             StoreReadThread* reader)
      : loop_(loop), shards_(shards), reader_(reader) {}

  static constexpr absl::Duration kPatience = absl::Seconds(20);

  // `ask` runs on every shard and gives its answer then or later, on that shard.
  template <typename T>
  using AskLater = std::function<void(ShardRuntime*, std::function<void(T)> answer)>;
  template <typename T>
  Task<absl::StatusOr<std::vector<T>>> AskAllLater(AskLater<T> ask) {
    auto state = std::make_shared<State<std::vector<T>>>(loop_);
    state->value.resize(shards_->size());
    state->missing = shards_->size();
    ShardThread* const first = shards_->front().get();
    for (size_t i = 0; i < shards_->size(); ++i) {
      (*shards_)[i]->Post([state, first, ask, i](ShardRuntime* runtime) {
        ask(runtime, [state, first, i](T answer) {
          auto moved = std::make_shared<T>(std::move(answer));
          first->Post([state, moved, i](ShardRuntime*) {
            state->value[i] = std::move(*moved);
            state->Answered();
          });
        });
      });
    }
    const absl::Status status = co_await Await(state);
    if (!status.ok()) co_return status;
    co_return std::move(state->value);
  }

  // The same for what can be answered at once.
  template <typename T>
  Task<absl::StatusOr<std::vector<T>>> AskAll(std::function<T(ShardRuntime*)> ask) {
    AskLater<T> later = [ask](ShardRuntime* runtime, std::function<void(T)> answer) {
      answer(ask(runtime));
    };
    absl::StatusOr<std::vector<T>> answers = co_await AskAllLater<T>(std::move(later));
    co_return answers;
  }

  // `work` runs on the thread that reads the store: reading, and what is too long for a
  // shard.
  template <typename T>
  Task<absl::StatusOr<T>> Read(std::function<T(queue::Store*)> work) {
    auto state = std::make_shared<State<T>>(loop_);
    state->missing = 1;
    ShardThread* const first = shards_->front().get();
    reader_->Enqueue([state, first, work](queue::Store* store) {
      auto moved = std::make_shared<T>(work(store));
      first->Post([state, moved](ShardRuntime*) {
        state->value = std::move(*moved);
        state->Answered();
      });
    });
    const absl::Status status = co_await Await(state);
    if (!status.ok()) co_return status;
    co_return std::move(state->value);
  }

  // Whoever waits gives up soon.
  void Stop() { stopping_ = true; }
  bool stopping() const { return stopping_; }
  Loop* loop() const { return loop_; }
  size_t shards() const { return shards_->size(); }

 private:
  template <typename T>
  struct State {
    explicit State(Loop* loop) : complete(loop) {}
    void Answered() {
      if (--missing == 0) complete.NotifyAll();
    }
    T value;
    size_t missing = 0;
    Event complete;
  };

  // How soon a stop is noticed.
  static constexpr absl::Duration kLook = absl::Milliseconds(200);

  template <typename T>
  Task<absl::Status> Await(std::shared_ptr<State<T>> state) {
    const MonoTime deadline = loop_->now() + kPatience;
    while (state->missing > 0) {
      if (stopping_) co_return absl::UnavailableError("the engine is stopping");
      if (loop_->now() >= deadline) {
        co_return absl::DeadlineExceededError(
            "not answered in time; what was asked for may still be done (a full disk?)");
      }
      co_await state->complete.Wait(std::min(deadline, loop_->now() + kLook));
    }
    co_return absl::OkStatus();
  }

  Loop* const loop_;
  const std::vector<std::unique_ptr<ShardThread>>* const shards_;
  StoreReadThread* const reader_;
  bool stopping_ = false;
};

}  // namespace mailrace::engine

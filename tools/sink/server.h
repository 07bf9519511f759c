// A whole sink: its threads, its listener and its totals.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "tools/common/json_object.h"
#include "tools/sink/fault_plan.h"
#include "tools/sink/options.h"
#include "tools/sink/recorder.h"
#include "tools/sink/worker.h"

namespace mailrace::sink {

class SinkServer {
 public:
  // `clock` is borrowed. `on_full` runs on some thread when --max-messages is reached.
  SinkServer(const Clock* clock, SinkOptions options, std::function<void()> on_full);
  // REQUIRES: Stop() if Start() succeeded.
  ~SinkServer() = default;

  // Reads and opens all that the options name, and listens. Returns the address with the
  // port that the system chose. After an error nothing runs.
  absl::StatusOr<SocketAddress> Start();
  // Returns when all threads have ended and the record file is written.
  absl::Status Stop();

  absl::Status FlushRecords() { return recorder_.Flush(); }
  // One number a field of SinkCounters, summed up over the threads.
  tools::JsonObject Totals() const;
  uint64_t Total(Counter SinkCounters::* field) const;

 private:
  absl::Status OpenTls();
  absl::StatusOr<SocketAddress> StartWorkers();
  void StopWorkers();

  const Clock* const clock_;
  const SinkOptions options_;
  const std::function<void()> on_full_;
  std::unique_ptr<FaultPlan> faults_;
  Recorder recorder_;
  std::shared_ptr<const transport::tls::Context> tls_;
  std::vector<std::unique_ptr<Worker>> workers_;
  uint64_t sessions_ = 0;  // Of the first worker, which listens.
};

}  // namespace mailrace::sink

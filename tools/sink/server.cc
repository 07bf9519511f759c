#include "tools/sink/server.h"

#include <future>
#include <utility>

namespace mailrace::sink {

SinkServer::SinkServer(const Clock* clock, SinkOptions options, std::function<void()> on_full)
    : clock_(clock), options_(std::move(options)), on_full_(std::move(on_full)) {}

absl::StatusOr<SocketAddress> SinkServer::Start() {
  absl::StatusOr<std::unique_ptr<FaultPlan>> faults = FaultPlan::Parse(options_.faults);
  if (!faults.ok()) return faults.status();
  faults_ = *std::move(faults);
  if (absl::Status status = OpenTls(); !status.ok()) return status;
  if (absl::Status status = recorder_.Open(options_); !status.ok()) return status;
  absl::StatusOr<SocketAddress> address = StartWorkers();
  if (!address.ok()) StopWorkers();
  return address;
}

absl::Status SinkServer::OpenTls() {
  if (!options_.tls && !options_.implicit_tls) return absl::OkStatus();
  absl::StatusOr<std::shared_ptr<const transport::tls::Context>> context =
      options_.cert_file.empty()
          ? transport::tls::MakeSelfSignedServerContext(options_.host_name)
          : transport::tls::MakeServerContext({options_.cert_file, options_.key_file});
  if (!context.ok()) return context.status();
  tls_ = *std::move(context);
  if (options_.write_cert_file.empty()) return absl::OkStatus();
  return tools::WriteFile(options_.write_cert_file, transport::tls::CertificatePem(*tls_));
}

absl::StatusOr<SocketAddress> SinkServer::StartWorkers() {
  Worker::Parts parts{clock_, &options_, faults_.get(), &recorder_, tls_, nullptr};
  if (options_.messages_max > 0) parts.on_full = on_full_;
  for (int i = 0; i < options_.threads; ++i) {
    auto worker = std::make_unique<Worker>(i, parts);
    if (absl::Status status = worker->Start(); !status.ok()) return status;
    workers_.push_back(std::move(worker));
  }
  // Peers in turn: each brings about the same load.
  return workers_[0]->Listen([this](transport::AcceptedPeer peer) {
    const uint64_t session = ++sessions_;
    workers_[session % workers_.size()]->Serve(peer, session);
  });
}

absl::Status SinkServer::Stop() {
  std::promise<void> closed;
  workers_[0]->StopListening([&] { closed.set_value(); });
  closed.get_future().wait();
  StopWorkers();
  return recorder_.Flush();
}

void SinkServer::StopWorkers() {
  for (const std::unique_ptr<Worker>& worker : workers_) worker->Stop();
  for (const std::unique_ptr<Worker>& worker : workers_) worker->Join();
}

uint64_t SinkServer::Total(Counter SinkCounters::* field) const {
  uint64_t sum = 0;
  for (const std::unique_ptr<Worker>& worker : workers_) sum += (worker->counters().*field).value();
  return sum;
}

tools::JsonObject SinkServer::Totals() const {
  tools::JsonObject totals;
  for (const auto& [name, field] : kSinkCounterFields) {
    // A sum of largest groups means nothing; the largest of all does.
    uint64_t value = Total(field);
    if (field == &SinkCounters::largest_group) {
      value = 0;
      for (const auto& worker : workers_) {
        value = std::max(value, worker->counters().largest_group.value());
      }
    }
    totals.Number(name, value);
  }
  // As the record writes times: seconds.
  uint64_t first = 0;
  uint64_t last = 0;
  for (const auto& worker : workers_) {
    const uint64_t its = worker->counters().first_message.value();
    if (its != 0 && (first == 0 || its < first)) first = its;
    last = std::max(last, worker->counters().last_message.value());
  }
  constexpr double kMicros = 1e6;
  totals.Number("first_message", static_cast<double>(first) / kMicros, 6)
      .Number("last_message", static_cast<double>(last) / kMicros, 6);
  return totals;
}

}  // namespace mailrace::sink

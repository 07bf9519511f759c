// What became of a message: acknowledged, refused, broken off, or to be sent again.
#include <algorithm>
#include <utility>

#include "fmt/format.h"
#include "tools/blast/sender.h"

namespace mailrace::blast {

void Sender::Acknowledge(const std::vector<uint32_t>& recipients) {
  const uint64_t sequence = current_->sequence;
  context_->tally->recipients_acknowledged.Add(recipients.size());
  for (const uint32_t recipient : recipients) {
    std::erase(current_->owed, recipient);
    if (context_->ledger == nullptr) continue;
    const double time = absl::ToDoubleSeconds(context_->client.loop->wall() - absl::UnixEpoch());
    const absl::Status written = context_->ledger->Append(
        fmt::format("{} {} {:.6f}", context_->composer->Id(sequence),
                    context_->composer->Recipient(sequence, recipient), time));
    if (written.ok() || !context_->ledger_status.ok()) continue;
    // A ledger with a gap proves nothing: the run is over.
    context_->ledger_status = written;
    context_->schedule->Stop();
    context_->stopped->NotifyAll();
  }
}

void Sender::Settle(const std::string& refusal, size_t octets) {
  Tally* tally = context_->tally;
  Ticket ticket = *std::exchange(current_, std::nullopt);
  if (ticket.owed.empty()) {
    tally->acknowledged.Add();
    tally->octets.Add(octets);
    tally->latency.Record(context_->client.loop->now() - begun_);
    return;
  }
  CountError(refusal);
  const bool transient = refusal.starts_with('4');
  if (transient && ++ticket.attempts < context_->client.options->attempts) {
    tally->repeated.Add();
    repeats_.push_back(std::move(ticket));
  } else {
    tally->refused.Add();
  }
}

void Sender::Fail(const absl::Status& why) {
  // A session that served before may be over without our knowing; whoever finds out is
  // sent again, uncharged.
  const bool stale = !answered_ && session_messages_ > 1 && !absl::IsCancelled(why);
  if (current_ && !stale) {
    Ticket ticket = *std::exchange(current_, std::nullopt);
    if (++ticket.attempts < context_->client.options->attempts) {
      context_->tally->repeated.Add();
      repeats_.push_back(std::move(ticket));
    } else {
      context_->tally->failed.Add();
    }
  }
  // Nothing but its envelope was said.
  if (next_) {
    if (current_) repeats_.push_back(*std::exchange(current_, std::nullopt));
    current_ = std::exchange(next_, std::nullopt);
  }
}

void Sender::CountError(const std::string& text) {
  context_->tally->CountProblem(text);
  const uint64_t limit = context_->client.options->stop_after_errors;
  if (limit == 0 || context_->tally->errors.value() < limit) return;
  context_->schedule->Stop();
  context_->stopped->NotifyAll();
}

}  // namespace mailrace::blast

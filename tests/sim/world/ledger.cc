#include "tests/sim/world/ledger.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "fmt/format.h"
#include "queue/record_format.h"

namespace mailrace::sim {

namespace {

// What commits take when nothing is wrong with the disk, several of a message in a row.
constexpr absl::Duration kCommitLag = absl::Seconds(20);

// The addresses behind each "Final-Recipient: rfc822; " whose Action is "failed".
std::set<std::string> FailedIn(std::string_view notice) {
  static constexpr std::string_view kField = "Final-Recipient: rfc822; ";
  std::set<std::string> failed;
  size_t at = notice.find(kField);
  while (at != std::string_view::npos) {
    at += kField.size();
    const size_t end = notice.find("\r\n", at);
    const size_t next = notice.find(kField, end);
    const std::string_view fields = notice.substr(end, std::min(next, notice.size()) - end);
    if (fields.substr(0, fields.find("\r\n\r\n")).find("\r\nAction: failed") !=
        std::string_view::npos) {
      failed.insert(std::string(notice.substr(at, end - at)));
    }
    at = next;
  }
  return failed;
}

bool IsNotice(const queue::Envelope& envelope) {
  return envelope.reverse_path.empty() && envelope.recipients.size() == 1 &&
         envelope.recipients[0].address.starts_with("s.");
}

}  // namespace

Ledger::Ledger(const RelayBook* book, queue::RetrySchedule schedule)
    : book_(book), schedule_(schedule) {}

std::string Ledger::TagOf(std::string_view address) {
  const size_t dot = address.find('.');
  return std::string(address.substr(dot + 1, address.find('@') - dot - 1));
}

void Ledger::Lost(const std::string& to, std::string_view how) {
  ++lost_;
  breaches_.push_back(fmt::format("LOST: {} {}", to, how));
}

// --- Commits -------------------------------------------------------------------------

DiskModel::Witness Ledger::MakeWitness(queue::Store* store) {
  DiskModel::Witness witness;
  witness.came = [this, store](const queue::Envelope& envelope) { Came(envelope, store); };
  witness.left = [this](const DiskModel::Message& message, uint32_t recipient) {
    Left(message, recipient);
  };
  witness.deferred = [this](const DiskModel::Message& before, const queue::RetryState& after) {
    Deferred(before, after);
  };
  return witness;
}

void Ledger::Committed(DiskModel::Group group, queue::Store* store) {
  disk_.Apply(group, MakeWitness(store), &breaches_);
}

void Ledger::Doubtful(DiskModel::Group group) {
  for (const queue::WriteSet* set : group) doubtful_.push_back(*set);
}

void Ledger::Came(const queue::Envelope& envelope, queue::Store* store) {
  if (!IsNotice(envelope)) return;
  const absl::StatusOr<std::string> content = store->ReadChunk(envelope.id, 0);
  if (!content.ok()) {
    breaches_.push_back("a notice without content: " + envelope.id.ToString());
    return;
  }
  // Stamped when it was made; a full disk may have kept it since.
  absl::Duration waited = wall_ - envelope.arrival;
  if (waited < absl::ZeroDuration() || waited > absl::Hours(1)) waited = absl::ZeroDuration();
  Notice notice{FailedIn(*content),
                envelope.recipients[0].address,
                {now_.nanos - absl::ToInt64Nanoseconds(waited)}};
  for (const std::string& to : notice.reported) {
    if (!reported_.insert(to).second) breaches_.push_back("failure reported twice: " + to);
    const auto message = messages_.find(TagOf(to));
    if (message == messages_.end()) {
      breaches_.push_back("a notice about a stranger: " + to);
    } else if (!MayFail(message->second, to)) {
      breaches_.push_back(fmt::format("given up after {} without a refusal: {}",
                                      absl::FormatDuration(now_ - message->second.arrival), to));
    }
  }
  notices_[envelope.id] = std::move(notice);
}

// A server's word, nobody to serve it, or its time is over.
bool Ledger::MayFail(const Message& message, const std::string& to) const {
  return unserved_.contains(to.substr(to.find('@') + 1)) ||
         book_->refused_recipients.contains(to) ||
         (!message.reverse_path.empty() && book_->refused_senders.contains(message.reverse_path)) ||
         OldEnough(message.arrival);
}

void Ledger::Left(const DiskModel::Message& left, uint32_t recipient) {
  const std::string& to = left.envelope.recipients[recipient].address;
  if (removed_.contains(left.envelope.id)) {
    if (!IsNotice(left.envelope)) deleted_.insert(TagOf(to));
    return;
  }
  if (book_->delivered_to.contains(to)) return;
  if (const auto notice = notices_.find(left.envelope.id); notice != notices_.end()) {
    // Nobody is told of a notice that cannot be delivered.
    if (book_->refused_recipients.contains(to) || OldEnough(notice->second.born)) return;
    return Lost(to, "its notice left the disk");
  }
  if (reported_.contains(to)) return;
  const auto message = messages_.find(TagOf(to));
  if (message == messages_.end()) return Lost(to, "was never offered");
  const bool silent = message->second.reverse_path.empty() || message->second.never;
  if (silent && MayFail(message->second, to)) return;
  Lost(to, "left the disk, neither accepted nor reported");
}

void Ledger::Deferred(const DiskModel::Message& before, const queue::RetryState& after) {
  const std::string id = before.envelope.id.ToString();
  if (after.attempts < before.retry.attempts || after.attempts > tries_[id]) {
    breaches_.push_back(fmt::format("{}: {} attempts after {}, {} in the log", id, after.attempts,
                                    before.retry.attempts, tries_[id]));
  }
  if (!steady_ || after.attempts == before.retry.attempts) return;
  const absl::Duration wait = after.next_attempt - wall_;
  if (wait < schedule_.minimal_backoff - kCommitLag || wait > schedule_.maximal_backoff) {
    breaches_.push_back(
        fmt::format("{}: the next attempt comes after {}", id, absl::FormatDuration(wait)));
  }
}

// --- Crashes -------------------------------------------------------------------------

void Ledger::CompareDisk(queue::MemoryStore* disk) {
  // A start removes what intakes left that were cut short.
  std::vector<queue::RecoveredMessage> recovered;
  const absl::Status status = disk->Recover(
      [&](queue::RecoveredMessage message) { recovered.push_back(std::move(message)); });
  if (!status.ok()) std::abort();
  const std::set<DiskModel::Key> found = disk->Keys();
  DiskModel before = disk_;
  before.Restart();
  if (found != before.keys() && !doubtful_.empty()) {
    std::vector<const queue::WriteSet*> group;
    for (const queue::WriteSet& set : doubtful_) group.push_back(&set);
    DiskModel other = disk_;
    std::vector<std::string> ignored;
    other.Apply(group, {}, &ignored);
    other.Restart();
    if (found == other.keys()) Committed(group, disk);
  }
  disk_.Restart();
  // Retries are overwritten: no key tells whether a doubtful one was written.
  for (const queue::RecoveredMessage& message : recovered) {
    if (message.has_retry) disk_.SetRetry(message.envelope.id, message.retry);
  }
  doubtful_.clear();
  if (found == disk_.keys()) return;
  for (const auto& [id, message] : disk_.messages()) {
    if (found.contains({queue::Family::kMessage, queue::EncodeKey(id)})) continue;
    for (uint32_t i = 0; i < message.envelope.recipients.size(); ++i) {
      if (disk_.owes(id, i)) Lost(message.envelope.recipients[i].address, "by the disk");
    }
  }
  breaches_.push_back(
      fmt::format("the disk has {} records, {} were committed", found.size(), disk_.keys().size()));
}

void Ledger::Crashed(queue::MemoryStore* disk, const FlightList& listed, absl::Duration since) {
  CompareDisk(disk);
  size_t again = 0;
  std::map<std::string, MonoTime> last;
  for (const RelayBook::Delivery& delivery : book_->deliveries) {
    for (const std::string& to : delivery.recipients) last[to] = delivery.time;
  }
  for (const auto& [id, message] : disk_.messages()) {
    if (IsNotice(message.envelope)) continue;
    for (uint32_t i = 0; i < message.envelope.recipients.size(); ++i) {
      if (!disk_.owes(id, i)) continue;
      const std::string& to = message.envelope.recipients[i].address;
      const auto it = book_->delivered_to.find(to);
      // As often as it was delivered it may be repeated, and no more for further crashes.
      if (it == book_->delivered_to.end() || it->second <= may_repeat_[to]) continue;
      ++may_repeat_[to];
      ++again;
      if (!listed.Has(id, i)) {
        breaches_.push_back(fmt::format("{} may be delivered twice, the engine did not know", to));
      }
      const absl::Duration age = now_ - last[to];
      if (age > since) {
        breaches_.push_back(fmt::format("the delivery to {} was not durable after {}", to,
                                        absl::FormatDuration(age)));
      }
    }
  }
  explained_at_crashes_ += again;
  if (again > listed.bound) {
    breaches_.push_back(fmt::format("the crash may repeat {} recipients, the engine knew of {}",
                                    again, listed.bound));
  }
}

void Ledger::Log(Severity, std::string_view service, std::string line) {
  if (line.find("message may be sent more than once") != std::string::npos) {
    const size_t to = line.find("to=<");
    if (to != std::string::npos) {
      const size_t end = line.find('>', to);
      ++may_repeat_[line.substr(to + 4, end - to - 4)];
      ++uncertain_lines_;
    }
  }
  if (line.find("status=deferred") != std::string::npos) ++tries_[line.substr(0, line.find(':'))];
  Keep(service, line);
}

void Ledger::Keep(std::string_view service, std::string_view line) {
  if (!keeps_lines_) return;
  const double seconds = static_cast<double>(now_.nanos) / 1e9;
  lines_.push_back(fmt::format("{:>10.3f} {}: {}", seconds, service, line));
}

// --- Audits --------------------------------------------------------------------------

void Ledger::AuditDeliveries() {
  for (; deliveries_audited_ < book_->deliveries.size(); ++deliveries_audited_) {
    const RelayBook::Delivery& delivery = book_->deliveries[deliveries_audited_];
    const std::string tag = TagOf(delivery.recipients[0]);
    const auto message = messages_.find(tag);
    if (message == messages_.end()) {
      breaches_.push_back("delivered, but nobody sent it: " + delivery.recipients[0]);
      continue;
    }
    if (delivery.recipients[0].starts_with("s.")) continue;  // A notice.
    const Message& sent = message->second;
    std::string_view content = delivery.content;
    if (sent.traced && content.starts_with("Received: ")) {
      // Our field goes to the first line that is not folded.
      size_t end = content.find("\r\n");
      while (end != std::string_view::npos && content.substr(end + 2, 1) == "\t") {
        end = content.find("\r\n", end + 2);
      }
      content.remove_prefix(std::min(end + 2, content.size()));
    }
    if (content != sent.content) breaches_.push_back("content changed: " + tag);
    if (delivery.reverse_path != sent.reverse_path) {
      breaches_.push_back("reverse path changed: " + tag);
    }
    for (const std::string& to : delivery.recipients) {
      if (std::find(sent.recipients.begin(), sent.recipients.end(), to) == sent.recipients.end()) {
        breaches_.push_back("delivered to a stranger: " + to);
      }
    }
  }
  for (const auto& [to, times] : book_->delivered_to) {
    if (to.starts_with("s.")) continue;  // A message may have several notices.
    const auto allowed = may_repeat_.find(to);
    const size_t explained = 1 + (allowed == may_repeat_.end() ? 0 : allowed->second);
    if (times <= explained) continue;
    std::string breach = fmt::format("delivered {} times, explained {}: {}", times, explained, to);
    if (said_.insert(breach).second) breaches_.push_back(std::move(breach));
  }
  for (; violations_audited_ < book_->violations.size(); ++violations_audited_) {
    breaches_.push_back("SMTP: " + book_->violations[violations_audited_]);
  }
}

// By set algebra, whatever the commits said on the way.
void Ledger::AuditAcknowledged() {
  std::set<std::string> owed;
  for (const auto& [id, message] : disk_.messages()) {
    for (uint32_t i = 0; i < message.envelope.recipients.size(); ++i) {
      if (disk_.owes(id, i)) owed.insert(message.envelope.recipients[i].address);
    }
  }
  for (const auto& [tag, message] : messages_) {
    if (!message.acknowledged || deleted_.contains(tag)) continue;
    const bool silent = message.reverse_path.empty() || message.never;
    for (const std::string& to : message.recipients) {
      if (owed.contains(to) || book_->delivered_to.contains(to) || reported_.contains(to)) continue;
      if (silent && MayFail(message, to)) continue;
      if (said_.insert(to).second) Lost(to, "is nowhere");
    }
  }
}

std::vector<std::string> Ledger::Audit() {
  AuditDeliveries();
  AuditAcknowledged();
  return breaches_;
}

std::vector<std::string> Ledger::AuditEmpty() const {
  std::vector<std::string> wrong;
  for (const auto& [id, message] : disk_.messages()) {
    wrong.push_back("stays on the disk: " + id.ToString());
  }
  if (disk_.messages().empty() && disk_.records() > 0) {
    wrong.push_back(fmt::format("{} records stay on the disk without a message", disk_.records()));
  }
  return wrong;
}

size_t Ledger::acknowledged() const {
  return static_cast<size_t>(std::count_if(messages_.begin(), messages_.end(),
                                           [](const auto& m) { return m.second.acknowledged; }));
}

size_t Ledger::recipients() const {
  size_t sum = 0;
  for (const auto& [tag, message] : messages_) {
    if (message.acknowledged) sum += message.recipients.size();
  }
  return sum;
}

}  // namespace mailrace::sim

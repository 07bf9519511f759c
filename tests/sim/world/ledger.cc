#include "tests/sim/world/ledger.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"
#include "queue/record_format.h"

namespace mailrace::sim {

namespace {

// The addresses behind each "Final-Recipient: rfc822; ".
std::set<std::string> Reported(std::string_view notice) {
  static constexpr std::string_view kField = "Final-Recipient: rfc822; ";
  std::set<std::string> reported;
  size_t at = notice.find(kField);
  while (at != std::string_view::npos) {
    at += kField.size();
    const size_t end = notice.find("\r\n", at);
    reported.insert(std::string(notice.substr(at, end - at)));
    at = notice.find(kField, end);
  }
  return reported;
}

bool IsNotice(const queue::Envelope& envelope) {
  return envelope.reverse_path.empty() && envelope.recipients.size() == 1 &&
         envelope.recipients[0].address.starts_with("s.");
}

bool Contains(const std::vector<std::string>& list, const std::string& text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

}  // namespace

std::string Ledger::TagOf(std::string_view address) {
  const size_t dot = address.find('.');
  return std::string(address.substr(dot + 1, address.find('@') - dot - 1));
}

void Ledger::Remember(const queue::Envelope& envelope, queue::Store* store) {
  if (!IsNotice(envelope) || notices_.contains(envelope.id)) return;
  const absl::StatusOr<std::string> content = store->ReadChunk(envelope.id, 0);
  if (!content.ok()) {
    breaches_.push_back("a notice without content: " + envelope.id.ToString());
    return;
  }
  notices_[envelope.id] = Reported(*content);
  notice_recipients_[envelope.id] = envelope.recipients[0].address;
  if (notices_[envelope.id].empty()) {
    breaches_.push_back("a notice that reports nobody: " + envelope.id.ToString());
  }
  for (const std::string& to : notices_[envelope.id]) {
    if (++reported_[to] > 1) breaches_.push_back("failure reported twice: " + to);
  }
}

void Ledger::Committed(std::span<const queue::WriteSet* const> group, queue::Store* store) {
  for (const queue::WriteSet* set : group) {
    for (const queue::WriteSet::Operation& operation : set->operations()) {
      if (operation.kind != queue::WriteSet::Operation::Kind::kPut ||
          operation.family != queue::Family::kMessage) {
        continue;
      }
      const absl::StatusOr<queue::Envelope> envelope =
          queue::DecodeEnvelope(*queue::DecodeKey(operation.key), operation.value);
      if (envelope.ok()) Remember(*envelope, store);
    }
  }
}

void Ledger::Found(const queue::RecoveredMessage& message, queue::Store* store) {
  Remember(message.envelope, store);
}

std::map<std::string, Ledger::Delivered> Ledger::DeliveredTo(const RelayBook& book) const {
  std::map<std::string, Delivered> delivered;
  for (const RelayBook::Delivery& delivery : book.deliveries) {
    for (const std::string& to : delivery.recipients) {
      ++delivered[to].times;
      delivered[to].last = delivery.time;
    }
  }
  return delivered;
}

void Ledger::Crashed(const std::vector<queue::RecoveredMessage>& found, const RelayBook& book,
                     absl::Time now, absl::Duration since) {
  const std::map<std::string, Delivered> delivered = DeliveredTo(book);
  for (const queue::RecoveredMessage& message : found) {
    if (IsNotice(message.envelope)) continue;
    for (uint32_t i = 0; i < message.envelope.recipients.size(); ++i) {
      const auto& done = message.done_indices;
      if (std::find(done.begin(), done.end(), i) != done.end()) continue;
      const std::string& to = message.envelope.recipients[i].address;
      const auto it = delivered.find(to);
      // As often as it was delivered it may be repeated, and no more for further crashes.
      if (it == delivered.end() || it->second.times <= may_repeat_[to]) continue;
      ++may_repeat_[to];
      // The wall clock alone goes on over a crash; that it was set shows in this, too.
      const absl::Duration age = now - it->second.last;
      if (age > since) {
        breaches_.push_back(fmt::format("the delivery to {} was not durable after {}", to,
                                        absl::FormatDuration(age)));
      }
    }
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
  lines_.push_back(fmt::format("{}: {}", service, line));
}

void Ledger::AuditContents(const RelayBook& book, std::vector<std::string>* wrong) const {
  for (const RelayBook::Delivery& delivery : book.deliveries) {
    const std::string tag = TagOf(delivery.recipients[0]);
    const auto message = messages_.find(tag);
    if (message == messages_.end()) {
      wrong->push_back("delivered, but nobody sent it: " + delivery.recipients[0]);
      continue;
    }
    if (delivery.recipients[0].starts_with("s.")) continue;  // A notice.
    if (delivery.content != message->second.content) wrong->push_back("content changed: " + tag);
    if (delivery.reverse_path != message->second.reverse_path) {
      wrong->push_back("reverse path changed: " + tag);
    }
    for (const std::string& to : delivery.recipients) {
      if (!Contains(message->second.recipients, to)) {
        wrong->push_back("delivered to a stranger: " + to);
      }
    }
  }
}

void Ledger::AuditDuplicates(const RelayBook& book, std::vector<std::string>* wrong) const {
  for (const auto& [to, delivered] : DeliveredTo(book)) {
    if (to.starts_with("s.")) continue;  // A message may have several notices.
    const auto allowed = may_repeat_.find(to);
    const size_t times = 1 + (allowed == may_repeat_.end() ? 0 : allowed->second);
    if (delivered.times > times) {
      wrong->push_back(
          fmt::format("delivered {} times, explained {}: {}", delivered.times, times, to));
    }
  }
}

std::vector<std::string> Ledger::Audit(const std::vector<queue::RecoveredMessage>& queue,
                                       const RelayBook& book, absl::Time now,
                                       absl::Duration lifetime) const {
  std::vector<std::string> wrong = breaches_;
  for (const std::string& violation : book.violations) wrong.push_back("SMTP: " + violation);
  const std::map<std::string, Delivered> delivered = DeliveredTo(book);
  std::set<std::string> owed;
  std::set<QueueId> queued;
  for (const queue::RecoveredMessage& message : queue) {
    queued.insert(message.envelope.id);
    for (uint32_t i = 0; i < message.envelope.recipients.size(); ++i) {
      const auto& done = message.done_indices;
      if (std::find(done.begin(), done.end(), i) != done.end()) continue;
      owed.insert(message.envelope.recipients[i].address);
    }
  }
  // Who is told by a notice that is on its way, arrived, or could not be delivered (which
  // nobody is told of).
  std::set<std::string> told;
  for (const RelayBook::Delivery& delivery : book.deliveries) {
    if (delivery.recipients[0].starts_with("s.")) told.merge(Reported(delivery.content));
  }
  for (const auto& [id, reported] : notices_) {
    const std::string& to = notice_recipients_.at(id);
    if (queued.contains(id) || Contains(book.refused_recipients, to) ||
        now - messages_.at(TagOf(to)).arrival >= lifetime) {
      told.insert(reported.begin(), reported.end());
    }
  }
  for (const auto& [tag, message] : messages_) {
    if (!message.acknowledged) continue;
    for (const std::string& to : message.recipients) {
      if (owed.contains(to) || delivered.contains(to) || told.contains(to)) continue;
      const bool silent = message.reverse_path.empty() || message.never;
      const bool refused =
          unserved_.contains(to.substr(to.find('@') + 1)) ||
          Contains(book.refused_recipients, to) ||
          (!message.reverse_path.empty() && Contains(book.refused_senders, message.reverse_path));
      if (silent && (refused || now - message.arrival >= lifetime)) continue;
      wrong.push_back("LOST: " + to);
    }
  }
  AuditContents(book, &wrong);
  AuditDuplicates(book, &wrong);
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

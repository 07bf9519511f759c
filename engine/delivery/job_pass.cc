#include "engine/delivery/job_pass.h"

#include <algorithm>

#include "base/address.h"
#include "base/text.h"

namespace mailrace::engine {

namespace {

std::string NotifyValue(uint8_t notify) {
  if ((notify & queue::kNotifyNever) != 0) return "NEVER";
  std::string value;
  const auto add = [&](uint8_t bit, std::string_view word) {
    if ((notify & bit) == 0) return;
    if (!value.empty()) value += ',';
    value += word;
  };
  add(queue::kNotifySuccess, "SUCCESS");
  add(queue::kNotifyFailure, "FAILURE");
  add(queue::kNotifyDelay, "DELAY");
  return value;
}

// "rfc822;user+tag@example.com" -> "rfc822;user+2Btag@example.com". The address part of
// a utf-8 ORCPT has its own encoding (RFC 6533 3), which intake left as it was. Only a
// message that asks for SMTPUTF8 has octets above 127 there.
std::string OrcptValue(const std::string& orcpt) {
  const size_t semicolon = orcpt.find(';');
  if (semicolon == std::string::npos) return {};
  if (EqualsIgnoreCase(std::string_view(orcpt).substr(0, semicolon), "utf-8")) return orcpt;
  return orcpt.substr(0, semicolon + 1) +
         EncodeXtext(std::string_view(orcpt).substr(semicolon + 1));
}

std::string_view RetValue(queue::Ret ret) {
  switch (ret) {
    case queue::Ret::kUnset:
      return {};
    case queue::Ret::kFull:
      return "FULL";
    case queue::Ret::kHeaders:
      return "HDRS";
  }
  return {};
}

}  // namespace

void DeliveryTransaction::EndOfDataComes(size_t count) {
  if (pass_->flights == nullptr) return;
  std::vector<uint32_t> accepted;
  accepted.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    if (recipients[i].result == transport::smtp::OutgoingRecipient::Result::kUntried) {
      accepted.push_back(recipients[i].index);
    }
  }
  flight_ = pass_->flights->Fill(pass_->message()->id(), accepted);
}

void DeliveryTransaction::NoteStages(MonoTime answered, absl::Duration age,
                                     StageTimes* stages) const {
  const JobPass& pass = *pass_;
  StageFacts facts;
  facts.accepted = pass.message()->accept_times();
  facts.session = pass.session_costs;
  facts.times.ready = pass.job()->ready_since;
  facts.times.taken = pass.taken;
  facts.times.connected = pass.connected;
  facts.times.handed_out = handed_out_;
  facts.times.content = content_begun;
  facts.times.end = content_ended;
  facts.times.answered = answered;
  facts.age = age;
  facts.attempted_before = pass.message()->retry().attempts > 0;
  RecordStages(facts, stages);
}

JobPass::JobPass(queue::Job* job, std::shared_ptr<QueuedMessage> message,
                 std::vector<uint32_t> recipients, int recipients_per_transaction, Loop* loop,
                 ContentReader* reader)
    : job_(job),
      message_(std::move(message)),
      recipients_(std::move(recipients)),
      per_transaction_(recipients_per_transaction > 0
                           ? static_cast<size_t>(recipients_per_transaction)
                           : std::max<size_t>(1, recipients_.size())),
      loop_(loop),
      reader_(reader) {
  for (const uint32_t index : recipients_) message_->Take(index);
}

JobPass::~JobPass() {
  for (const uint32_t index : recipients_) message_->GiveBack(index);
}

DeliveryTransaction* JobPass::NextTransaction(size_t server_max) {
  if (next_ >= recipients_.size()) return nullptr;
  const queue::Envelope& envelope = message_->envelope();
  auto transaction = std::make_unique<DeliveryTransaction>(
      this, TransactionContent(message_, loop_, reader_), loop_->now());
  transaction->reverse_path = envelope.reverse_path;
  transaction->octets = envelope.octets;
  transaction->eight_bit = envelope.eight_bit;
  transaction->smtputf8 = envelope.smtputf8;
  transaction->ret = RetValue(envelope.ret);
  transaction->envid = EncodeXtext(envelope.envid);
  const size_t count = server_max > 0 ? std::min(per_transaction_, server_max) : per_transaction_;
  const size_t end = std::min(recipients_.size(), next_ + count);
  transaction->recipients.reserve(end - next_);
  for (; next_ < end; ++next_) {
    const queue::Recipient& recipient = envelope.recipients[recipients_[next_]];
    transport::smtp::OutgoingRecipient out;
    out.forward_path = recipient.address;
    out.notify = NotifyValue(recipient.notify);
    out.orcpt = OrcptValue(recipient.orcpt);
    out.index = recipients_[next_];
    transaction->recipients.push_back(std::move(out));
  }
  ++out_;
  transactions_.push_back(std::move(transaction));
  return transactions_.back().get();
}

void JobPass::Abandon() {
  if (next_ < recipients_.size()) any_untried = true;
  next_ = recipients_.size();
}

}  // namespace mailrace::engine

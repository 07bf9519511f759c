#include "transport/smtp/client_machine.h"

#include <algorithm>
#include <utility>

namespace mailrace::transport::smtp {

namespace {

bool IsUnderWay(const ClientTransaction& transaction) { return !transaction.over(); }

}  // namespace

std::deque<ClientTransaction>::const_iterator ClientMachine::Current() const {
  return std::find_if(transactions_.begin(), transactions_.end(), IsUnderWay);
}

std::deque<ClientTransaction>::iterator ClientMachine::Current() {
  return std::find_if(transactions_.begin(), transactions_.end(), IsUnderWay);
}

bool ClientMachine::can_take() const {
  if (broken_) return false;
  if (transactions_.empty()) return true;
  // Behind one whose end of data is out and unanswered, nothing else.
  return options_.cross_message && transactions_.size() == 1 &&
         transactions_.front().expects_reply() &&
         transactions_.front().expected_step() == Step::kEndOfData;
}

void ClientMachine::Take(OutgoingMessage* message) {
  ClientTransactionOptions options;
  options.pipelining = options_.pipelining;
  options.reset_before = options_.reset_before;
  options.session_used_before = options_.session_used_before;
  options.behind_end_of_data = !transactions_.empty();
  transactions_.emplace_back(message, capabilities_, options);
  // A message that was refused unsaid has used nothing.
  if (!transactions_.back().over()) {
    options_.session_used_before = true;
    options_.reset_before = false;
    ++started_;
  }
}

OutgoingMessage* ClientMachine::TakeFinished() {
  if (transactions_.empty() || !transactions_.front().over()) return nullptr;
  OutgoingMessage* const message = transactions_.front().message();
  if (transactions_.front().leaves_remains()) options_.reset_before = true;
  if (transactions_.front().said()) ++completed_;
  transactions_.pop_front();
  return message;
}

void ClientMachine::WriteCommands(Buffer* out) {
  if (broken_ || transactions_.empty()) return;
  ClientTransaction& transaction = transactions_.back();
  while (unanswered_octets_ < kGroupOctetsMax) {
    const size_t before = out->size();
    if (!transaction.WriteNext(out)) return;
    unanswered_octets_ += out->size() - before;
  }
}

ClientTransaction* ClientMachine::wants_content() {
  const auto current = Current();
  return current != transactions_.end() && current->wants_content() ? &*current : nullptr;
}

bool ClientMachine::expects_reply() const {
  const auto current = Current();
  return current != transactions_.end() && current->expects_reply();
}

Step ClientMachine::expected_step() const { return Current()->expected_step(); }

std::optional<Failure> ClientMachine::Answer(Reply reply) {
  std::optional<Failure> failure = Current()->Answer(std::move(reply));
  if (failure) AbandonRest();
  if (!expects_reply()) unanswered_octets_ = 0;
  return failure;
}

void ClientMachine::AnswerEarly(Reply reply) {
  Current()->AnswerEarly(std::move(reply));
  AbandonRest();
}

Failure ClientMachine::Break(Failure failure) {
  const auto current = Current();
  if (current != transactions_.end()) {
    current->Break(failure);
    failure.stale_session =
        current->message()->failure && current->message()->failure->stale_session;
  }
  AbandonRest();
  return failure;
}

void ClientMachine::AbandonRest() {
  broken_ = true;
  for (ClientTransaction& transaction : transactions_) transaction.Abandon();
}

}  // namespace mailrace::transport::smtp

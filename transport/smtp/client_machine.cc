#include "transport/smtp/client_machine.h"

#include <algorithm>
#include <utility>

#include "base/text.h"

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
  if (broken_ || ending_) return false;
  if (transactions_.empty()) return true;
  if (!ahead_.cross_message) return false;
  if (transactions_.back().options().streamed) {
    return transactions_.back().end_written() && transactions_.size() < ahead_.window &&
           unanswered_commands_ < kStreamCommandsMax;
  }
  // Behind one whose end of data is out and unanswered, nothing else.
  return transactions_.size() == 1 && transactions_.front().expects_reply() &&
         transactions_.front().expected_step() == Step::kEndOfData;
}

void ClientMachine::Take(OutgoingMessage* message, bool more_follow) {
  const ClientTransactionOptions before =
      transactions_.empty() ? ClientTransactionOptions() : transactions_.back().options();
  ClientTransactionOptions options;
  options.pipelining = options_.pipelining;
  options.chunking = before.streamed || (ahead_.chunking && more_follow);
  options.streamed = options.chunking && ahead_.window > 0;
  options.tolerance = options_.tolerance;
  options.recipients_max = ahead_.recipients_max;
  options.session_used_before = options_.session_used_before;
  options.behind_end_of_data = !transactions_.empty();
  // A refused BDAT leaves it open what the server has (RFC 3030 2), and what follows in a
  // stream must not fall to the recipients of the message before.
  options.reset_before = options_.reset_before || before.chunking;
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
  const ClientTransaction& front = transactions_.front();
  // What follows in a stream begins with a RSET of its own.
  const bool reset_follows = transactions_.size() > 1 && transactions_[1].options().reset_before &&
                             transactions_[1].said();
  if (front.leaves_remains() && !reset_follows) options_.reset_before = true;
  if (front.said()) ++completed_;
  transactions_.pop_front();
  return message;
}

void ClientMachine::WriteCommands(Buffer* out) {
  if (broken_ || ending_ || transactions_.empty()) return;
  ClientTransaction& transaction = transactions_.back();
  const bool streamed = transaction.options().streamed;
  while (streamed ? unanswered_commands_ < kStreamCommandsMax
                  : unanswered_octets_ < kGroupOctetsMax) {
    const size_t before = out->size();
    if (!transaction.WriteNext(out)) return;
    if (transaction.options().chunking) ++unanswered_commands_;
    if (!streamed) unanswered_octets_ += out->size() - before;
  }
}

ClientTransaction* ClientMachine::wants_content() {
  if (broken_ || ending_ || transactions_.empty()) return nullptr;
  ClientTransaction& last = transactions_.back();
  return last.wants_content() ? &last : nullptr;
}

bool ClientMachine::expects_reply() const {
  const auto current = Current();
  return current != transactions_.end() && current->expects_reply();
}

Step ClientMachine::expected_step() const { return Current()->expected_step(); }

std::optional<Failure> ClientMachine::Answer(Reply reply, MonoTime now) {
  const auto current = Current();
  const bool ahead = &*current != &transactions_.back() && transactions_.back().said();
  const bool end = current->expected_step() == Step::kEndOfData;
  if (unanswered_commands_ > 0) --unanswered_commands_;
  // RFC 5321 3.8: behind a 421 there is nothing.
  if (closing()) {
    return Break({Failure::Kind::kProtocol, current->expected_step(), std::move(reply),
                  "a reply behind a 421"});
  }
  NoteRunAhead();
  std::optional<Failure> failure = current->Answer(std::move(reply));
  if (const Reply* const said = current->TakeTooMany(); said != nullptr && options_.tolerance) {
    options_.tolerance->TooManyRecipients(current->accepted(), Printable(said->ToString()), now);
  }
  if (failure) return EndWhenAnswered(*std::move(failure));
  if (end && !current->out_of_step()) Teach(*current, ahead, now);
  if (!expects_reply()) {
    unanswered_octets_ = 0;
    if (ending_) {
      AbandonRest();
      return ending_;
    }
  }
  return std::nullopt;
}

void ClientMachine::Teach(const ClientTransaction& transaction, bool ahead, MonoTime now) {
  Tolerance* const tolerance = options_.tolerance;
  if (tolerance == nullptr) return;
  tolerance->Answered(ahead);
  if (!transaction.taken_by_bdat()) return;
  if (transaction.options().streamed) {
    tolerance->AnsweredInStream(transaction.under_way(), transaction.end_said(), now);
  } else {
    tolerance->KnowsBdat();
  }
}

// A stream has more to tell: what was said behind the trouble is answered all the same, and
// who was accepted there must not be sent again.
std::optional<Failure> ClientMachine::EndWhenAnswered(Failure failure) {
  const bool garbled = failure.kind == Failure::Kind::kProtocol && !failure.stale_session;
  if (!ending_) ending_ = failure;
  if (garbled) {
    // It was the current one's own trouble; nobody knows whose the next reply would be.
    for (ClientTransaction& transaction : transactions_) {
      if (transaction.end_written()) transaction.Break(failure);
    }
  }
  ClientTransaction& last = transactions_.back();
  if (!last.end_written()) last.Abandon();
  if (!garbled && expects_reply() && Current()->options().streamed) return std::nullopt;
  AbandonRest();
  return ending_;
}

void ClientMachine::NoteRunAhead() {
  const auto current = Current();
  if (current == transactions_.end()) return;
  const bool behind = &*current != &transactions_.back() && transactions_.back().said();
  ran_ahead_ = behind || current->options().behind_end_of_data || current->options().streamed;
}

void ClientMachine::AnswerEarly(Reply reply) {
  Current()->AnswerEarly(std::move(reply));
  AbandonRest();
}

Failure ClientMachine::Break(Failure failure) {
  if (!ending_) NoteRunAhead();
  // A server that said 421 and closed has said all about what was behind.
  const bool closed = closing() && failure.kind == Failure::Kind::kLost;
  const auto current = Current();
  if (current != transactions_.end() && !closed) {
    current->Break(failure);
    failure.stale_session =
        current->message()->failure && current->message()->failure->stale_session;
    // Of the others those whose end went out may be taken; to the last, nothing was said.
    for (ClientTransaction& transaction : transactions_) {
      if (transaction.end_written()) transaction.Break(failure);
    }
  }
  AbandonRest();
  return ending_ ? *ending_ : failure;
}

void ClientMachine::AbandonRest() {
  broken_ = true;
  for (ClientTransaction& transaction : transactions_) transaction.Abandon();
}

}  // namespace mailrace::transport::smtp

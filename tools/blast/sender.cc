#include "tools/blast/sender.h"

#include <algorithm>
#include <utility>

namespace mailrace::blast {

using transport::smtp::Reply;

Task<void> Sender::Run() {
  while (!cancelled_) {
    const bool more = co_await HaveMessage();
    if (!more) break;
    const absl::Status status = co_await UseSession();
    if (status.ok()) continue;
    CountError(std::string(status.message()));
    if (session_messages_ > 0) {
      Fail(status);
    } else {
      ++failed_opens_;
      co_await PauseBeforeReconnect();
    }
    if (context_->schedule->stopped()) break;
  }
  // Whatever is left was begun and nobody will send it.
  for (std::optional<Ticket>* ticket : {&current_, &next_}) {
    if (*ticket && (*ticket)->begun) context_->tally->failed.Add();
  }
  context_->tally->failed.Add(repeats_.size());
}

void Sender::Cancel() {
  cancelled_ = true;
  if (client_) client_->Cancel();
}

Task<bool> Sender::HaveMessage() {
  Loop* loop = context_->client.loop;
  if (!current_ && !repeats_.empty()) {
    current_ = std::move(repeats_.back());
    repeats_.pop_back();
  }
  if (!current_) current_ = context_->schedule->Take(loop->now());
  while (current_ && !current_->begun) {
    if (current_->due.infinite() || current_->due <= loop->now()) {
      current_->begun = true;
      context_->tally->begun.Add();
    } else if (context_->schedule->stopped()) {
      current_.reset();
    } else {
      co_await context_->stopped->Wait(current_->due);
    }
  }
  co_return current_.has_value();
}

Task<void> Sender::PauseBeforeReconnect() {
  constexpr absl::Duration kShortest = absl::Milliseconds(20);
  constexpr absl::Duration kLongest = absl::Seconds(1);
  Loop* loop = context_->client.loop;
  if (loop->now() > context_->last_session + context_->client.options->patience) {
    context_->schedule->Stop();
    context_->stopped->NotifyAll();
  }
  if (context_->schedule->stopped()) co_return;
  const absl::Duration pause = std::min(kLongest, kShortest * (1 << std::min(failed_opens_, 8)));
  co_await context_->stopped->Wait(loop->now() + pause);
}

Task<absl::Status> Sender::UseSession() {
  session_messages_ = 0;
  reset_needed_ = false;
  ahead_ = false;
  client_.emplace(&context_->client);
  if (cancelled_) client_->Cancel();
  absl::Status status = co_await client_->Open(std::exchange(resume_, nullptr));
  if (status.ok()) {
    CountSession();
    status = co_await SendMessages();
    if (client_->tls() != nullptr) resume_ = client_->tls()->TakeSession();
    if (status.ok()) co_await client_->Quit();
  }
  client_.reset();
  co_return status;
}

void Sender::CountSession() {
  failed_opens_ = 0;
  context_->last_session = context_->client.loop->now();
  Tally* tally = context_->tally;
  tally->sessions.Add();
  tally->mechanism = client_->mechanism();
  if (client_->tls() == nullptr) return;
  const transport::tls::Info& info = client_->tls()->info();
  tally->tls_protocol = info.protocol;
  tally->tls_cipher = info.cipher;
  if (info.resumed) tally->tls_resumed.Add();
}

bool Sender::SessionUsedUp() const {
  const uint64_t limit = context_->client.options->messages_per_connection;
  return limit > 0 && session_messages_ >= limit;
}

Task<absl::Status> Sender::SendMessages() {
  while (!cancelled_) {
    if (!ahead_) {
      if (SessionUsedUp()) co_return absl::OkStatus();
      const bool more = co_await HaveMessage();
      if (!more) co_return absl::OkStatus();
      ++session_messages_;
      begun_ = current_->due.infinite() ? context_->client.loop->now() : current_->due;
    }
    answered_ = false;
    absl::StatusOr<Answers> answers = co_await SayEnvelope();
    if (!answers.ok()) co_return answers.status();
    if (answers->content_wanted) {
      const absl::Status status = co_await SendContent(*std::move(answers));
      if (!status.ok()) co_return status;
    } else {
      reset_needed_ = true;
      Settle(answers->refusal, 0);
    }
  }
  co_return absl::CancelledError("given up");
}

Task<absl::StatusOr<Sender::Answers>> Sender::SayEnvelope() {
  const bool written = std::exchange(ahead_, false);
  if (!client_->pipelining()) {
    absl::StatusOr<Answers> answers = co_await AskOneByOne();
    co_return answers;
  }
  if (!written) {
    if (reset_needed_) client_->output().Append("RSET\r\n");
    WriteEnvelope(*current_);
    if (reset_needed_) {
      const absl::StatusOr<Reply> reset = co_await client_->ReadReply();
      if (!reset.ok()) co_return reset.status();
      reset_needed_ = false;
    }
  }
  absl::StatusOr<Answers> answers = co_await ReadAnswers();
  co_return answers;
}

void Sender::WriteMail(const Ticket& ticket) {
  Buffer& out = client_->output();
  out.Append("MAIL FROM:<");
  out.Append(context_->composer->Sender(ticket.sequence));
  out.Append(">\r\n");
}

void Sender::WriteRcpt(const Ticket& ticket, uint32_t recipient) {
  Buffer& out = client_->output();
  out.Append("RCPT TO:<");
  out.Append(context_->composer->Recipient(ticket.sequence, recipient));
  out.Append(">\r\n");
}

void Sender::WriteEnvelope(const Ticket& ticket) {
  WriteMail(ticket);
  for (const uint32_t recipient : ticket.owed) WriteRcpt(ticket, recipient);
  client_->output().Append("DATA\r\n");
}

bool Sender::Note(const Reply& reply, Answers* answers) {
  if (reply.positive() || reply.intermediate()) return true;
  if (answers->refusal.empty()) answers->refusal = reply.ToString();
  return false;
}

Task<absl::StatusOr<Sender::Answers>> Sender::ReadAnswers() {
  Answers answers;
  const absl::StatusOr<Reply> mail = co_await client_->ReadReply();
  if (!mail.ok()) co_return mail.status();
  answered_ = true;
  Note(*mail, &answers);
  for (const uint32_t recipient : current_->owed) {
    const absl::StatusOr<Reply> rcpt = co_await client_->ReadReply();
    if (!rcpt.ok()) co_return rcpt.status();
    if (Note(*rcpt, &answers)) answers.accepted.push_back(recipient);
  }
  const absl::StatusOr<Reply> data = co_await client_->ReadReply();
  if (!data.ok()) co_return data.status();
  Note(*data, &answers);
  answers.content_wanted = data->intermediate();
  co_return answers;
}

Task<absl::StatusOr<Sender::Answers>> Sender::AskOneByOne() {
  Answers answers;
  if (reset_needed_) {
    client_->output().Append("RSET\r\n");
    const absl::StatusOr<Reply> reset = co_await client_->ReadReply();
    if (!reset.ok()) co_return reset.status();
    reset_needed_ = false;
  }
  WriteMail(*current_);
  const absl::StatusOr<Reply> mail = co_await client_->ReadReply();
  if (!mail.ok()) co_return mail.status();
  answered_ = true;
  if (!Note(*mail, &answers)) co_return answers;
  for (const uint32_t recipient : current_->owed) {
    WriteRcpt(*current_, recipient);
    const absl::StatusOr<Reply> rcpt = co_await client_->ReadReply();
    if (!rcpt.ok()) co_return rcpt.status();
    if (Note(*rcpt, &answers)) answers.accepted.push_back(recipient);
  }
  if (answers.accepted.empty()) co_return answers;
  client_->output().Append("DATA\r\n");
  const absl::StatusOr<Reply> data = co_await client_->ReadReply();
  if (!data.ok()) co_return data.status();
  Note(*data, &answers);
  answers.content_wanted = data->intermediate();
  co_return answers;
}

void Sender::TakeNext() {
  const MonoTime now = context_->client.loop->now();
  if (!client_->pipelining() || SessionUsedUp()) return;
  if (!repeats_.empty()) {
    next_ = std::move(repeats_.back());
    repeats_.pop_back();
  } else {
    next_ = context_->schedule->TakeDue(now);
  }
  if (!next_) return;
  if (!next_->begun) context_->tally->begun.Add();
  next_->begun = true;
  next_begun_ = next_->due.infinite() ? now : next_->due;
  ++session_messages_;
  WriteEnvelope(*next_);
}

Task<absl::Status> Sender::SendContent(Answers answers) {
  size_t octets = 0;
  if (answers.accepted.empty()) {
    // RFC 2920 3.1: 354 although nobody was accepted; an empty message gets us out.
    client_->output().Append(".\r\n");
  } else {
    octets = context_->composer->AppendContent(current_->sequence, &client_->output());
    TakeNext();
  }
  const absl::StatusOr<Reply> reply = co_await client_->ReadReply();
  if (!reply.ok()) co_return reply.status();
  if (Note(*reply, &answers)) Acknowledge(answers.accepted);
  Settle(answers.refusal, octets);
  ahead_ = next_.has_value();
  if (next_) {
    current_ = std::exchange(next_, std::nullopt);
    begun_ = next_begun_;
  }
  co_return absl::OkStatus();
}

}  // namespace mailrace::blast

// The applications of the simulated world.
#include <utility>

#include "fmt/format.h"
#include "tests/sim/world/sim_world.h"
#include "tests/sim/world/world_places.h"

namespace mailrace::sim {

std::string SimWorld::MakeContent(const std::string& tag) {
  std::string content = fmt::format(
      "Message-ID: <{}@app.test>\r\nDate: Fri, 15 Jan 2027 08:00:00 +0000\r\n\r\n", tag);
  const uint64_t lines = Chance(90) ? random_.Below(8) : random_.Below(400);
  for (uint64_t i = 0; i < lines; ++i) {
    content += Chance(20) ? "." : "";
    content += Chance(10) ? "\r\n" : fmt::format("line {} of {}\r\n", i, tag);
  }
  return content;
}

Submission SimWorld::MakeSubmission() {
  Submission message;
  message.tag = fmt::format("m{}", ++tags_);
  if (!Chance(10)) message.reverse_path = fmt::format("s.{}@app.test", message.tag);
  message.never = Chance(10);
  const uint64_t recipients = Chance(60) ? 1 : 1 + random_.Below(7);
  for (uint64_t i = 0; i < recipients; ++i) {
    const uint64_t domain = random_.Below(Chance(5) ? kWorldDomains + 1 : kWorldDomains);
    message.recipients.push_back(fmt::format("r{}.{}@{}", i, message.tag, DomainName(domain)));
  }
  message.content = MakeContent(message.tag);
  return message;
}

void SimWorld::Offer(const Submission& message, bool traced) {
  Ledger::Message offered;
  offered.reverse_path = message.reverse_path;
  offered.recipients = message.recipients;
  offered.never = message.never;
  offered.content = message.content;
  offered.traced = traced;
  offered.arrival = now();
  ledger_.Offered(message.tag, std::move(offered));
}

Task<void> SimWorld::SubmitBySmtp(SimHost* host, std::vector<Submission> messages,
                                  absl::Duration wait) {
  co_await SleepUntil(&host->loop(), host->loop().now() + wait);
  if (host->crashed()) co_return;
  for (const Submission& message : messages) Offer(message, true);
  co_await application_->Submit(std::move(messages),
                                [this](const std::string& tag) { ledger_.Acknowledged(tag); });
}

// As an intake does, with contents in several records and clients that hang up.
Task<void> SimWorld::SubmitToShard(SimHost* host, int shard, Submission message,
                                   absl::Duration wait) {
  co_await SleepUntil(&host->loop(), host->loop().now() + wait);
  if (host->crashed()) co_return;
  const MonoTime begun = host->loop().now();
  engine::Acceptor* acceptor = &host->shard(shard);
  if (!acceptor->Admit(0).ok()) co_return;
  Offer(message, false);
  queue::Envelope envelope;
  envelope.id = acceptor->NewId();
  envelope.arrival = host->clock().Wall();
  envelope.octets = message.content.size();
  envelope.reverse_path = message.reverse_path;
  envelope.priority = static_cast<uint8_t>(random_.Below(3));
  const uint8_t notify = message.never ? queue::kNotifyNever : 0;
  for (const std::string& to : message.recipients) envelope.recipients.push_back({to, "", notify});

  std::string_view rest = message.content;
  while (rest.size() > 2000 || (rest.size() > 20 && envelope.chunks == 0 && Chance(20))) {
    auto chunk = std::make_shared<const std::string>(rest.substr(0, rest.size() / 2));
    rest.remove_prefix(chunk->size());
    const absl::Status put = co_await acceptor->PutChunk(envelope.id, envelope.chunks, chunk);
    if (!put.ok() || (!host->crashed() && Chance(5))) {
      // Refused, or the client hung up.
      acceptor->Abandon(envelope.id, envelope.chunks + 1);
      co_return;
    }
    ++envelope.chunks;
  }
  ++envelope.chunks;
  auto last = std::make_shared<const std::string>(rest);
  const QueueId id = envelope.id;
  const uint32_t chunks = envelope.chunks;
  const absl::Status status =
      co_await acceptor->Accept(std::move(envelope), std::move(last), begun);
  if (!status.ok() && chunks > 1) acceptor->Abandon(id, chunks - 1);
  // A host that crashed tells nobody anything.
  if (status.ok() && !host->crashed()) ledger_.Acknowledged(message.tag);
}

void SimWorld::BeginSubmissions(size_t messages) {
  while (messages > 0) {
    const absl::Duration wait = Chance(50) ? UpTo(absl::Seconds(2)) : UpTo(absl::Minutes(30));
    if (!by_smtp_ || Chance(20)) {
      const auto shard = static_cast<int>(random_.Below(static_cast<uint64_t>(shards_)));
      host_->tasks().Spawn(SubmitToShard(host_.get(), shard, MakeSubmission(), wait));
      --messages;
      continue;
    }
    std::vector<Submission> session;
    for (uint64_t i = random_.Below(4) + 1; i > 0 && messages > 0; --i, --messages) {
      session.push_back(MakeSubmission());
    }
    if (Chance(10)) {
      ++facts_.smuggled;
      static constexpr const char* kEnds[] = {".\n", "\n.\r\n", "\n.\n", ".\r", "x\r.\r\n"};
      const std::string other = session.back().tag + "x";
      session.back().smuggled =
          fmt::format("{}MAIL FROM:<s.{}@app.test>\r\nRCPT TO:<r0.{}@d0.test>\r\nDATA\r\nx\r\n",
                      kEnds[random_.Below(std::size(kEnds))], other, other);
    }
    host_->tasks().Spawn(SubmitBySmtp(host_.get(), std::move(session), wait));
  }
}

}  // namespace mailrace::sim

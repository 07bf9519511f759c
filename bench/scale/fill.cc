// Fills a queue directory with many messages, by commits of whole groups rather than by
// SMTP: ten million take minutes. For bench/scale/scale.py; the engine must not run.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "engine/queue_id_source.h"
#include "fmt/format.h"
#include "queue/rocksdb_store.h"

namespace mailrace {
namespace {

constexpr uint64_t kGroup = 2000;

struct FillOptions {
  std::string directory;
  uint64_t messages = 10'000;
  size_t body_octets = 500;
  std::string domain = "dead.example";
};

// About 250 octets, with the addresses that mail of applications has.
queue::Envelope MakeEnvelope(QueueId id, uint64_t number, const FillOptions& options) {
  queue::Envelope envelope;
  envelope.id = id;
  envelope.arrival = absl::Now();
  envelope.reverse_path = fmt::format("bounce+{:032x}@mailer.application.example", number);
  envelope.envid = fmt::format("{:064x}", number);
  envelope.octets = options.body_octets;
  envelope.chunks = 1;
  queue::Recipient recipient;
  recipient.address = fmt::format("customer.number.{:012}@{}", number, options.domain);
  recipient.orcpt = fmt::format("rfc822;customer.number.{:012}@{}", number, options.domain);
  envelope.recipients.push_back(std::move(recipient));
  return envelope;
}

int Fill(const FillOptions& options) {
  queue::RocksdbStoreOptions store_options;
  store_options.directory = options.directory;
  absl::StatusOr<std::unique_ptr<queue::Store>> store = queue::OpenRocksdbStore(store_options);
  if (!store.ok()) {
    std::fprintf(stderr, "mailrace-fill: %s\n", store.status().ToString().c_str());
    return 1;
  }
  engine::QueueIdSource ids(0, (*store)->highest_id());
  std::string content = "From: app@application.example\r\nSubject: number\r\n\r\n";
  while (content.size() + 66 < options.body_octets) content += std::string(64, 'x') + "\r\n";
  const auto body = std::make_shared<const std::string>(std::move(content));
  for (uint64_t done = 0; done < options.messages;) {
    std::vector<queue::WriteSet> group(std::min(kGroup, options.messages - done));
    std::vector<const queue::WriteSet*> sets;
    for (queue::WriteSet& writes : group) {
      const queue::Envelope envelope = MakeEnvelope(ids.Next(absl::Now()), done++, options);
      writes.PutChunk(envelope.id, 0, body);
      writes.PutMessage(envelope);
      sets.push_back(&writes);
    }
    if (const absl::Status status = (*store)->Commit(sets); !status.ok()) {
      std::fprintf(stderr, "mailrace-fill: %s\n", status.ToString().c_str());
      return 1;
    }
  }
  return 0;
}

}  // namespace
}  // namespace mailrace

int main(int argc, char** argv) {
  mailrace::FillOptions options;
  if (argc != 4) {
    std::fprintf(stderr, "usage: mailrace-fill QUEUE_DIRECTORY MESSAGES OCTETS_OF_A_BODY\n");
    return 64;
  }
  options.directory = argv[1];
  options.messages = std::strtoull(argv[2], nullptr, 10);
  options.body_octets = std::strtoull(argv[3], nullptr, 10);
  return mailrace::Fill(options);
}

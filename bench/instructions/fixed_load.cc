// Fixed loads on the hot pieces, for counting instructions: `mailrace-fixed-load PIECE COUNT`
// does the same work each time it is run, and callgrind counts from the first message to the
// last. bench/instructions/check runs it.
#include <valgrind/callgrind.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "base/sync.h"
#include "bench/micro/null_client.h"
#include "bench/micro/null_server.h"
#include "engine/logs/log_lines.h"
#include "queue/rocksdb_store.h"
#include "queue/scheduler.h"
#include "transport/smtp/server_machine.h"
#include "transport/tls/context.h"
#include "transport/tls/engine.h"

namespace mailrace {
namespace {

constexpr size_t kOctets = 4096;

[[noreturn]] void Fail(const char* what) {
  std::fprintf(stderr, "mailrace-fixed-load: %s\n", what);
  std::exit(1);
}

// Counts while it lives.
class Counted {
 public:
  Counted() { CALLGRIND_TOGGLE_COLLECT; }
  ~Counted() { CALLGRIND_TOGGLE_COLLECT; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
};

std::string Content() { return transport::smtp::Lines(kOctets); }

// A client hands in `count` messages by pipelined commands.
void Intake(uint64_t count) {
  using transport::smtp::ServerMachine;
  transport::smtp::ServerOptions options;
  options.hostname = "mx.example.com";
  ServerMachine machine(&options);
  transport::smtp::NullClient client(&machine);
  const auto say = [&client](std::string_view input) {
    if (client.Say(input).empty()) Fail("no reply");
  };
  say("EHLO client.example.com\r\n");
  const std::string body = Content() + ".\r\n";
  {
    const Counted counted;
    for (uint64_t i = 0; i < count; ++i) {
      say("MAIL FROM:<a@example.com> SIZE=4096\r\nRCPT TO:<b@example.net>\r\nDATA\r\n");
      say(body);
    }
  }
  if (client.accepted() != count) Fail("a message was not accepted");
}

// Groups of 16 messages become durable and are removed again, in a real store.
void Commit(uint64_t count) {
  constexpr uint64_t kGroup = 16;
  std::string directory =
      (std::filesystem::temp_directory_path() / "mailrace-load-XXXXXX").string();
  if (::mkdtemp(directory.data()) == nullptr) Fail("no temporary directory");
  queue::RocksdbStoreOptions options;
  options.directory = directory + "/queue";
  options.log_reserve_octets = uint64_t{4} << 20;  // As by default, only smaller.
  absl::StatusOr<std::unique_ptr<queue::Store>> store = queue::OpenRocksdbStore(options);
  if (!store.ok()) Fail("the store does not open");
  const auto body = std::make_shared<const std::string>(kOctets, 'x');
  queue::Envelope envelope;
  envelope.arrival = absl::FromUnixSeconds(1'800'000'000);
  envelope.reverse_path = "bounces+12345@notify.example.org";
  envelope.message_id = "<20261122.123456789@notify.example.org>";
  envelope.octets = kOctets;
  envelope.chunks = 1;
  envelope.recipients.push_back({"some.recipient@example.net", "", 0});
  bool well = true;
  {
    const Counted counted;
    for (uint64_t first = 1; first <= count; first += kGroup) {
      std::vector<queue::WriteSet> sets(kGroup);
      std::vector<const queue::WriteSet*> group;
      for (uint64_t i = 0; i < kGroup; ++i) {
        envelope.id = QueueId{first + i};
        sets[i].PutChunk(envelope.id, 0, body);
        sets[i].PutMessage(envelope);
        if (first > kGroup) sets[i].RemoveMessage(QueueId{first + i - kGroup}, 1, {}, false);
        group.push_back(&sets[i]);
      }
      well &= (*store)->Commit(group).ok();
    }
  }
  store->reset();
  std::filesystem::remove_all(directory);
  if (!well) Fail("a commit failed");
}

// Each message is made ready, taken and finished, among 64 next-hops.
void Schedule(uint64_t count) {
  constexpr uint64_t kNexthops = 64;
  queue::Scheduler scheduler({});
  std::vector<std::string> names;
  for (uint64_t i = 0; i < kNexthops; ++i)
    names.push_back("relay" + std::to_string(i) + ".example");
  uint64_t taken = 0;
  {
    const Counted counted;
    for (uint64_t id = 1; id <= count; ++id) {
      scheduler.Add({id}, names[id % kNexthops], nullptr, 1, 1, MonoTime{1}, MonoTime{1});
    }
    for (const std::string& name : names) {
      queue::NexthopQueue* const nexthop = scheduler.Nexthop(name);
      while (queue::Job* const job = nexthop->Take(MonoTime{1})) {
        scheduler.Finish(job);
        ++taken;
      }
    }
  }
  if (taken != count) Fail("a job was not taken");
}

// Hands out two messages in turn: one waits for its reply while the other is said.
class Messages final : public transport::smtp::TransactionSource {
 public:
  explicit Messages(uint64_t count) : left_(count), even_(Content()), odd_(Content()) {}
  transport::smtp::OutgoingMessage* Next() override {
    if (left_ == 0) return nullptr;
    return (--left_ % 2) == 0 ? &even_ : &odd_;
  }
  void Finished(transport::smtp::OutgoingMessage* message) override {
    using Result = transport::smtp::OutgoingRecipient::Result;
    if (message->recipients[0].result == Result::kAccepted) ++accepted;
  }
  uint64_t accepted = 0;

 private:
  uint64_t left_;
  transport::smtp::OneMessage even_;
  transport::smtp::OneMessage odd_;
};

Task<void> Drive(transport::smtp::ClientSession* session, Messages* messages) {
  const std::optional<transport::smtp::Failure> greeting = co_await session->ReadGreeting();
  const std::optional<transport::smtp::Failure> ehlo = co_await session->Ehlo();
  if (greeting || ehlo) Fail("no session");
  const std::optional<transport::smtp::Failure> failure =
      co_await session->RunTransactions(messages);
  if (failure) Fail("a transaction failed");
}

// A relay takes `count` messages over one session.
void Dialogue(uint64_t count) {
  SystemClock clock;
  Loop loop(&clock);
  Messages messages(count);
  transport::smtp::ClientSessionOptions options;
  options.helo_name = "client.example";
  transport::smtp::ClientSession session(
      &loop,
      std::make_unique<transport::Stream>(std::make_unique<transport::smtp::NullServer>(&loop)),
      options);
  {
    const Counted counted;
    TaskScope scope(&loop);
    scope.Spawn(Drive(&session, &messages));
    while (loop.has_ready()) loop.RunReady();
  }
  if (messages.accepted != count) Fail("a message was not accepted");
}

// A message's octets are encrypted on one side and read on the other.
void Encrypt(uint64_t count) {
  using transport::tls::Engine;
  const auto server_context = *transport::tls::MakeSelfSignedServerContext("mail.example.org");
  const auto client_context = *transport::tls::MakeClientContext({});
  transport::tls::ClientEngineOptions options;
  options.match_names = {"mail.example.org"};
  const std::unique_ptr<Engine> client = *Engine::Client(client_context, options);
  const std::unique_ptr<Engine> server = *Engine::Server(server_context);
  Buffer records;
  const auto move = [&records](Engine* from, Engine* to) {
    records.Clear();
    from->TakeRecords(&records);
    to->Receive(records.view());
  };
  for (int flight = 0; flight < 3; ++flight) {
    if (!client->Handshake().ok()) Fail("no handshake");
    move(client.get(), server.get());
    if (!server->Handshake().ok()) Fail("no handshake");
    move(server.get(), client.get());
  }
  const std::string content = Content();
  Buffer plaintext;
  const Counted counted;
  for (uint64_t i = 0; i < count; ++i) {
    if (!client->Write(content).ok()) Fail("cannot write");
    move(client.get(), server.get());
    if (!server->Read(&plaintext).ok() || plaintext.size() != content.size()) Fail("cannot read");
    plaintext.Clear();
  }
}

// The line of a delivery.
void Log(uint64_t count) {
  logs::DeliveryLine line;
  line.queue_id = "660E62EDB054A00";
  line.recipient = "some.recipient@example.net";
  line.relay = {"mail.example.org", "192.0.2.1", 587};
  line.text = "250 2.0.0 Ok: queued as 23BBAAD6048";
  size_t octets = 0;
  const Counted counted;
  for (uint64_t i = 0; i < count; ++i)
    octets += FormatDelivery(line, logs::LogStyle::kPostfix).size();
  if (octets == 0) Fail("no line");
}

int Main(int argc, char** argv) {
  uint64_t count = 0;
  if (argc != 3 || !absl::SimpleAtoi(argv[2], &count) || count == 0) {
    Fail("usage: mailrace-fixed-load intake|commit|schedule|dialogue|encrypt|log COUNT");
  }
  const std::pair<std::string_view, void (*)(uint64_t)> pieces[] = {
      {"intake", Intake},     {"commit", Commit},   {"schedule", Schedule},
      {"dialogue", Dialogue}, {"encrypt", Encrypt}, {"log", Log}};
  for (const auto& [name, run] : pieces) {
    if (name != argv[1]) continue;
    run(count);
    return 0;
  }
  Fail("no such piece");
}

}  // namespace
}  // namespace mailrace

int main(int argc, char** argv) { return mailrace::Main(argc, argv); }

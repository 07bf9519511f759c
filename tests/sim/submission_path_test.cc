// The whole path in one thread: a client submits over SMTP, the engine makes it durable,
// says 250, and delivers it to a relay; over a network that delays, splits and cuts.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/intake/submission_server.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/memory_logger.h"
#include "tests/sim/world/sim_host.h"

namespace mailrace::sim {
namespace {

using testing::HasSubstr;

const SocketAddress kSubmission{*IpAddress::Parse("127.0.0.1"), 2525};

// A client as it should be: waits for what it must, pipelines what it may, believes only a
// complete reply.
struct Client {
  SimHost* host;
  std::string tag;
  bool acknowledged = false;
  std::string line{};
};

Task<bool> ReadReply(transport::Stream* stream, Loop* loop, std::string* last) {
  while (true) {
    const std::string_view view = stream->input().view();
    const size_t end = view.find("\r\n");
    if (end != std::string_view::npos) {
      *last = std::string(view.substr(0, end));
      stream->input().Consume(end + 2);
      if (last->size() < 4 || (*last)[3] != '-') co_return true;
      continue;
    }
    const absl::StatusOr<bool> more = co_await stream->Fill(loop->now() + absl::Minutes(10));
    if (!more.ok() || !*more) co_return false;
  }
}

// Sends `octets`, reads `replies`; false if one does not begin with `expected`.
Task<bool> Say(transport::Stream* stream, Client* client, std::string octets, int replies,
               std::string expected) {
  Loop* loop = &client->host->loop();
  stream->output().Append(octets);
  const absl::Status sent = co_await stream->Flush(loop->now() + absl::Minutes(10));
  if (!sent.ok()) co_return false;
  for (int i = 0; i < replies; ++i) {
    const bool read = co_await ReadReply(stream, loop, &client->line);
    if (!read || !client->line.starts_with(i + 1 == replies ? expected : "250")) co_return false;
  }
  co_return true;
}

Task<void> SubmitOne(Client* client, absl::Duration wait) {
  SimHost* host = client->host;
  co_await SleepUntil(&host->loop(), host->loop().now() + wait);
  absl::StatusOr<std::unique_ptr<transport::Connection>> connection =
      co_await host->network().Connect(kSubmission, std::nullopt,
                                       host->loop().now() + absl::Minutes(1));
  if (!connection.ok()) co_return;
  transport::Stream stream(*std::move(connection));
  bool good = co_await Say(&stream, client, "", 1, "220");
  if (!good) co_return;
  good = co_await Say(&stream, client, "EHLO app.test\r\n", 1, "250");
  if (!good) co_return;
  good = co_await Say(
      &stream, client,
      fmt::format("MAIL FROM:<app@app.test>\r\nRCPT TO:<{}@example.com>\r\nDATA\r\n", client->tag),
      3, "354");
  if (!good) co_return;
  client->acknowledged = co_await Say(
      &stream, client, fmt::format("Subject: {}\r\n\r\n..stuffed\r\n.\r\n", client->tag), 1, "250");
  const bool bye = co_await Say(&stream, client, "QUIT\r\n", 1, "221");
  if (!bye) co_return;
}

Task<void> StopIntake(engine::SubmissionListener* listener, engine::SubmissionServer* server) {
  co_await listener->Stop();
  co_await server->Stop(absl::Seconds(1));
}

class SubmissionPath : public testing::TestWithParam<uint64_t> {};

TEST_P(SubmissionPath, WhatWasAcknowledgedArrivesOnce) {
  SeededRandom random(GetParam());
  queue::MemoryStore store;
  fakes::MemoryLogger log;
  RelayBook book;
  SimHost::Parts parts;
  parts.store = &store;
  parts.random = &random;
  parts.logger = &log;
  parts.book = &book;
  parts.settings = std::make_shared<const engine::Settings>(TestSettings());
  SimHost host(parts);
  ASSERT_TRUE(host.Recover().ok());

  engine::IntakeStats stats;
  engine::ClientCounts counts;
  const engine::SubmissionContext context{&host.loop(), &host.shard(), &log, &stats, &counts};
  engine::SubmissionServer server(&context, &host.network(),
                                  std::make_shared<const engine::IntakeOptions>());
  engine::SubmissionListener listener(&context, &host.network(),
                                      [&server](transport::AcceptedPeer peer, bool implicit_tls) {
                                        server.Serve(peer, implicit_tls);
                                      });
  ASSERT_TRUE(listener.Listen(kSubmission, false).ok());

  NetworkFaults faults;
  faults.latency_max = absl::Milliseconds(static_cast<int64_t>(random.Below(100)));
  faults.segment_octets_max = random.Below(20);
  faults.cut_percent = static_cast<int>(random.Below(40));
  faults.cut_octets_max = 1500;
  host.network().set_faults(faults);
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<Client>(Client{&host, fmt::format("m{}", i)}));
    host.tasks().Spawn(SubmitOne(clients.back().get(), absl::Milliseconds(100) * i));
  }
  ASSERT_TRUE(host.RunUntil([&host] { return host.tasks().running() == 0; }, absl::Hours(1)));
  host.network().set_faults({});
  host.RunFor(absl::Hours(2));

  std::map<std::string, int> delivered;
  for (const RelayBook::Delivery& delivery : book.deliveries) {
    ASSERT_EQ(delivery.recipients.size(), 1u);
    ++delivered[delivery.recipients[0]];
    const std::string tag = delivery.recipients[0].substr(0, delivery.recipients[0].find('@'));
    EXPECT_THAT(delivery.content, HasSubstr("Received: from app.test"));
    EXPECT_TRUE(delivery.content.ends_with("\r\n\r\n.stuffed\r\n")) << delivery.content;
    EXPECT_THAT(delivery.content, HasSubstr("Subject: " + tag + "\r\n"));
  }
  int acknowledged = 0;
  for (const auto& client : clients) {
    const std::string to = client->tag + "@example.com";
    int uncertain = 0;
    for (const std::string& line : log.texts()) {
      const bool about = line.find("to=<" + to + ">") != std::string::npos;
      if (about && line.find("more than once") != std::string::npos) ++uncertain;
    }
    EXPECT_LE(delivered[to], 1 + uncertain) << to;
    if (!client->acknowledged) continue;
    ++acknowledged;
    EXPECT_GE(delivered[to], 1) << to;
  }
  EXPECT_GT(acknowledged, 0);
  EXPECT_EQ(host.counts().ready + host.counts().deferred, 0u);
  EXPECT_TRUE(book.violations.empty());
  host.Run(StopIntake(&listener, &server));
}

INSTANTIATE_TEST_SUITE_P(Seeds, SubmissionPath, testing::Range<uint64_t>(1, 21));

}  // namespace
}  // namespace mailrace::sim

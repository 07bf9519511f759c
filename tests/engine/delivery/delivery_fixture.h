// One shard on a simulated host with one relay, nothing failing but what the test says.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/memory_logger.h"
#include "tests/sim/world/sim_host.h"

namespace mailrace::engine {

class DeliveryFixture : public testing::Test {
 protected:
  using Act = sim::RelayAct;
  using Step = sim::RelayStep;

  // Changes to these count from the next Start().
  Settings settings_ = sim::TestSettings();
  absl::Time start_ = absl::FromUnixSeconds(1'800'000'000);

  void Start() {
    host_.reset();
    sim::SimHost::Parts parts;
    parts.store = &store_;
    parts.random = &random_;
    parts.logger = &log_;
    parts.book = &book_;
    parts.settings = std::make_shared<const Settings>(settings_);
    parts.start = start_;
    host_ = std::make_unique<sim::SimHost>(parts);
    host_->relay().set_script([this](Step step, std::string_view argument) {
      return script_ == nullptr ? std::nullopt : script_(step, argument);
    });
    ASSERT_TRUE(host_->Recover().ok());
  }
  // The host stops in order and starts again on the same disk.
  void Restart() {
    if (host_ != nullptr) start_ = host_->clock().Wall();
    Start();
  }
  void Crash() {
    start_ = host_->clock().Wall();
    host_->Crash();
    store_.Crash();
    Start();
  }
  void Reload() {
    ++settings_.generation;
    host_->shard().Reload(std::make_shared<const Settings>(settings_));
  }

  static queue::Envelope To(const std::vector<std::string>& recipients,
                            std::string reverse_path = "sender@app.test") {
    queue::Envelope envelope;
    envelope.reverse_path = std::move(reverse_path);
    for (const std::string& to : recipients) envelope.recipients.push_back({to, "", 0});
    return envelope;
  }
  QueueId Submit(queue::Envelope envelope, std::string content = "Subject: x\r\n\r\nhello\r\n") {
    const absl::StatusOr<QueueId> id = host_->Submit(std::move(envelope), std::move(content));
    EXPECT_TRUE(id.ok()) << id.status();
    return id.ok() ? *id : QueueId();
  }

  // The relay answers `step` with `text`, up to `times`; a 421 closes.
  void Answer(Step step, std::string text, int times = INT_MAX) {
    const auto left = std::make_shared<int>(times);
    script_ = [step, text, left](Step now, std::string_view) -> std::optional<Act> {
      if (now != step || (*left)-- <= 0) return std::nullopt;
      return Act{text.starts_with("421") ? Act::Kind::kReplyAndHang : Act::Kind::kReply, text,
                 text.starts_with("250")};
    };
  }

  size_t delivered() const { return book_.deliveries.size(); }
  std::vector<std::string> DeliveredTo() const {
    std::vector<std::string> all;
    for (const auto& delivery : book_.deliveries) {
      all.insert(all.end(), delivery.recipients.begin(), delivery.recipients.end());
    }
    return all;
  }
  size_t Queued() {
    const queue::Scheduler::Counts counts = host_->counts();
    return counts.ready + counts.deferred + counts.held + counts.in_flight;
  }
  // What the disk would show a new process.
  std::vector<queue::RecoveredMessage> Stored() {
    std::vector<queue::RecoveredMessage> found;
    EXPECT_TRUE(
        store_.Recover([&](queue::RecoveredMessage m) { found.push_back(std::move(m)); }).ok());
    return found;
  }
  // The log lines about deliveries that contain `part`.
  std::vector<std::string> Logged(std::string_view part) const {
    std::vector<std::string> found;
    for (const std::string& line : log_.texts()) {
      if (line.find(part) != std::string::npos) found.push_back(line);
    }
    return found;
  }
  const ShardStats& stats() { return host_->shard().stats(); }

  SeededRandom random_{1};
  queue::MemoryStore store_;
  fakes::MemoryLogger log_;
  sim::RelayBook book_;
  sim::SimRelay::Script script_;
  std::unique_ptr<sim::SimHost> host_;
};

}  // namespace mailrace::engine

// A submission session over an in-memory connection under a simulated clock.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/logger.h"
#include "engine/intake/submission_session.h"
#include "gtest/gtest.h"
#include "tests/engine/intake/fake_acceptor.h"
#include "tests/transport/fakes/memory_connection.h"

namespace mailrace::engine {

class LogLines final : public Logger {
 public:
  void Log(Severity, std::string_view service, std::string line) override {
    lines.push_back(std::string(service) + ": " + line);
  }
  bool Has(const std::string& line) const {
    return std::find(lines.begin(), lines.end(), line) != lines.end();
  }
  std::vector<std::string> lines;
};

class IntakeFixture : public testing::Test {
 protected:
  IntakeFixture() : loop_(&clock_), acceptor_(&loop_), tasks_(&loop_) {
    options_.myhostname = "mx.example.com";
  }

  // The client's end stays with the test; the session runs.
  std::string Connect() {
    pair_ = transport::fakes::MakeMemoryPair(&loop_);
    session_ = std::make_unique<SubmissionSession>(
        &context_, std::make_shared<const IntakeOptions>(options_),
        std::make_unique<transport::Stream>(std::move(pair_.server.connection)));
    tasks_.Spawn(session_->Run(/*implicit_tls=*/false));
    return Heard();
  }
  // Sends `octets`, runs until nothing moves, gives what the server said since.
  std::string Say(const std::string& octets) {
    pair_.server.wire->octets += octets;
    if (pair_.server.wire->reader != nullptr) pair_.server.wire->reader->Progress();
    return Heard();
  }
  std::string Heard() {
    transport::fakes::RunUntilQuiet(&loop_);
    return std::exchange(pair_.client.wire->octets, {});
  }
  void Pass(absl::Duration time) {
    const MonoTime end = clock_.Mono() + time;
    transport::fakes::RunUntilQuiet(&loop_, &clock_, time);
    clock_.AdvanceTo(end);
    loop_.RunAllReady();
    transport::fakes::RunUntilQuiet(&loop_);
  }
  void HangUp() {
    pair_.client.connection.reset();
    transport::fakes::RunUntilQuiet(&loop_);
  }
  void Transaction(const std::string& parameters = "") {
    Say("EHLO client.example.com\r\n");
    Say("MAIL FROM:<a@example.com>" + parameters + "\r\nRCPT TO:<b@example.net>\r\nDATA\r\n");
  }
  void TearDown() override {
    acceptor_.Release();
    if (session_ != nullptr) session_->Cancel();
    transport::fakes::RunUntilQuiet(&loop_);
    ASSERT_EQ(tasks_.running(), 0u);
  }
  bool over() const { return tasks_.running() == 0; }

  SimClock clock_{absl::FromUnixSeconds(1795359600)};  // Sun, 22 Nov 2026 15:00:00 UTC
  Loop loop_;
  FakeAcceptor acceptor_;
  LogLines log_;
  IntakeStats stats_;
  ClientCounts clients_;
  SubmissionContext context_{&loop_, &acceptor_, &log_, &stats_, &clients_};
  IntakeOptions options_;
  transport::fakes::MemoryPair pair_;
  std::unique_ptr<SubmissionSession> session_;
  TaskScope tasks_;
};

}  // namespace mailrace::engine

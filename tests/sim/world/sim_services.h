// The rest of what a shard is given: reading the store, names, policy.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/loop.h"
#include "base/random.h"
#include "base/sync.h"
#include "engine/content_reader.h"
#include "engine/routing/destination_policy.h"
#include "transport/resolver.h"

namespace mailrace::sim {

// Answers later, in any order, sometimes with a disk error.
class SimReader final : public engine::ContentReader {
 public:
  SimReader(Loop* loop, Random* random, queue::Store* store);
  ~SimReader() override;

  void ReadMessage(QueueId id,
                   std::function<void(absl::StatusOr<queue::RecoveredMessage>)> answer) override;
  void ReadChunk(QueueId id, uint32_t chunk,
                 std::function<void(absl::StatusOr<std::string>)> answer) override;
  void Walk(std::function<absl::Status(queue::Store*)> work,
            std::function<void(absl::Status)> answer) override;

  void set_delay_max(absl::Duration delay) { delay_max_ = delay; }
  void set_failure_percent(int percent) { failure_percent_ = percent; }
  // One message of so many is never answered: a mutation that an oracle must catch.
  void set_forgets_one_in(int messages) { forgets_one_in_ = messages; }
  uint64_t messages_read() const { return messages_read_; }
  uint64_t walks() const { return walks_; }
  // The host is dead: all that waits is answered now, and everything later at once.
  void Crash();

 private:
  class Later;
  // The store is read now, the answer comes later: it may be out of date by then.
  void Answer(std::function<void()> answer);
  bool Fails() { return static_cast<int>(random_->Below(100)) < failure_percent_; }

  Loop* const loop_;
  Random* const random_;
  queue::Store* const store_;
  std::vector<Later*> waiting_;
  absl::Duration delay_max_;
  int failure_percent_ = 0;
  int forgets_one_in_ = 0;
  uint64_t messages_read_ = 0;
  uint64_t walks_ = 0;
  bool dead_ = false;
};

// Names from a list; others do not exist. Domains have no MX records.
class SimResolver final : public transport::Resolver {
 public:
  SimResolver(Loop* loop, Random* random) : random_(random), wait_(loop), loop_(loop) {}

  void Add(const std::string& name, std::vector<IpAddress> addresses) {
    names_[name] = std::move(addresses);
  }
  void AddMx(const std::string& name, std::vector<transport::MxRecord> records) {
    mx_[name] = std::move(records);
  }
  // Its MX records cannot be had; its addresses can.
  void FailMx(const std::string& name) { mx_failing_.insert(name); }
  void set_delay(absl::Duration delay) { delay_ = delay; }
  void set_failure_percent(int percent) { failure_percent_ = percent; }
  void Cancel() override {
    cancelled_ = true;
    wait_.NotifyAll();
  }
  // What waits is answered now.
  void Crash() {
    delay_ = absl::ZeroDuration();
    wait_.NotifyAll();
  }

  Task<absl::StatusOr<transport::MxAnswer>> Mx(std::string name, MonoTime deadline) override;
  Task<absl::StatusOr<transport::AddressAnswer>> Addresses(std::string name, Family family,
                                                           MonoTime deadline) override;

 private:
  bool Fails() { return static_cast<int>(random_->Below(100)) < failure_percent_; }
  Random* const random_;
  Event wait_;
  Loop* const loop_;
  std::map<std::string, std::vector<IpAddress>> names_;
  std::map<std::string, std::vector<transport::MxRecord>> mx_;
  std::set<std::string> mx_failing_;
  absl::Duration delay_;
  int failure_percent_ = 0;
  bool cancelled_ = false;
};

// No TLS; credentials if they are given.
class PlainPolicy final : public engine::DestinationPolicy {
 public:
  std::optional<transport::sasl::Credentials> credentials;

  Tls TlsFor(std::string_view, std::string_view) const override { return {}; }
  Sasl CredentialsFor(const engine::CredentialQuery&) const override {
    return {credentials, std::nullopt};
  }
  transport::sasl::SecurityOptions SaslOptions(Security) const override { return {}; }
  std::vector<std::string> FilterMechanisms(
      const std::vector<std::string>& offered) const override {
    return offered;
  }
  bool sasl_enabled() const override { return credentials.has_value(); }
};

}  // namespace mailrace::sim

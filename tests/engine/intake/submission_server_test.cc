// Listeners and servers: who is let in, who is turned away, and how it all stops.

#include "engine/intake/submission_server.h"

#include <deque>
#include <map>
#include <string>

#include "gmock/gmock.h"
#include "tests/engine/intake/intake_fixture.h"

namespace mailrace::engine {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// Peers come when the test says so, from the address that it says.
class ScriptedNetwork final : public transport::Network {
 public:
  explicit ScriptedNetwork(Loop* loop) : loop_(loop), changed_(loop) {}

  class ScriptedListener final : public transport::Listener {
   public:
    explicit ScriptedListener(ScriptedNetwork* network) : network_(network) {}
    Task<absl::StatusOr<transport::AcceptedPeer>> Accept() override {
      ++network_->accepts;
      while (network_->arrivals.empty() && !cancelled_) {
        const bool notified = co_await network_->changed_.Wait();
        static_cast<void>(notified);
      }
      if (cancelled_) co_return absl::CancelledError("cancelled");
      absl::StatusOr<transport::AcceptedPeer> next = network_->arrivals.front();
      if (next.ok() || !network_->failures_stay) network_->arrivals.pop_front();
      co_return next;
    }
    void Cancel() override {
      cancelled_ = true;
      network_->changed_.NotifyAll();
    }
    SocketAddress local() const override { return *SocketAddress::Parse("127.0.0.1:2525"); }

   private:
    ScriptedNetwork* network_;
    bool cancelled_ = false;
  };

  Task<absl::StatusOr<std::unique_ptr<transport::Connection>>> Connect(SocketAddress,
                                                                       std::optional<IpAddress>,
                                                                       MonoTime) override {
    co_return absl::UnimplementedError("no connections out of here");
  }
  absl::StatusOr<std::unique_ptr<transport::Listener>> Listen(SocketAddress address) override {
    if (address.port == 1) return absl::UnavailableError("Permission denied");
    return std::make_unique<ScriptedListener>(this);
  }
  std::unique_ptr<transport::Connection> Adopt(transport::AcceptedPeer peer) override {
    auto in = std::make_shared<transport::fakes::Wire>();
    auto out = std::make_shared<transport::fakes::Wire>();
    heard[peer.handle] = out;
    return std::make_unique<transport::fakes::MemoryConnection>(loop_, in, out, peer.local,
                                                                peer.remote);
  }
  void Discard(transport::AcceptedPeer peer) override { discarded.push_back(peer.handle); }

  void Arrive(absl::StatusOr<transport::AcceptedPeer> peer) {
    arrivals.push_back(std::move(peer));
    changed_.NotifyAll();
  }

  std::deque<absl::StatusOr<transport::AcceptedPeer>> arrivals;
  std::map<int, std::shared_ptr<transport::fakes::Wire>> heard;
  std::vector<int> discarded;
  size_t accepts = 0;
  bool failures_stay = false;

 private:
  Loop* loop_;
  Event changed_;
};

transport::AcceptedPeer Peer(int handle, std::string_view ip = "127.0.0.1") {
  return {handle, *SocketAddress::Parse("127.0.0.1:2525"), {*IpAddress::Parse(ip), 40000}};
}

class SubmissionServerTest : public IntakeFixture {
 protected:
  SubmissionServerTest() : network_(&loop_) {}
  std::unique_ptr<SubmissionServer> MakeServer() {
    return std::make_unique<SubmissionServer>(&context_, &network_,
                                              std::make_shared<const IntakeOptions>(options_));
  }
  void Settle() { transport::fakes::RunUntilQuiet(&loop_); }
  const std::string& Said(int handle) { return network_.heard[handle]->all_octets; }

  ScriptedNetwork network_;
};

TEST_F(SubmissionServerTest, AcceptsPeersAndHandsThemOn) {
  std::unique_ptr<SubmissionServer> server = MakeServer();
  SubmissionListener listener(&context_, &network_,
                              [&server](transport::AcceptedPeer peer, bool implicit_tls) {
                                server->Serve(peer, implicit_tls);
                              });
  ASSERT_TRUE(listener.Listen(*SocketAddress::Parse("127.0.0.1:2525"), false).ok());
  EXPECT_EQ(listener.addresses().size(), 1u);
  network_.Arrive(Peer(1));
  network_.Arrive(Peer(2));
  Settle();
  EXPECT_THAT(Said(1), StartsWith("220 "));
  EXPECT_THAT(Said(2), StartsWith("220 "));
  EXPECT_EQ(server->sessions(), 2u);
  tasks_.Spawn(listener.Stop());
  tasks_.Spawn(server->Stop(absl::Seconds(30)));
  Settle();
  EXPECT_THAT(Said(1), HasSubstr("\r\n421 4.3.2 "));
  EXPECT_EQ(server->sessions(), 0u);
  EXPECT_TRUE(over());
}

TEST_F(SubmissionServerTest, AnAddressThatCannotBeListenedOnIsNamed) {
  SubmissionListener listener(&context_, &network_, [](transport::AcceptedPeer, bool) {});
  const absl::Status status = listener.Listen(*SocketAddress::Parse("127.0.0.1:1"), false);
  EXPECT_EQ(std::string(status.message()), "cannot listen on 127.0.0.1:1: Permission denied");
}

TEST_F(SubmissionServerTest, RunningOutOfDescriptorsPausesInsteadOfSpinning) {
  std::vector<int> taken;
  SubmissionListener listener(&context_, &network_, [&taken](transport::AcceptedPeer peer, bool) {
    taken.push_back(peer.handle);
  });
  ASSERT_TRUE(listener.Listen(*SocketAddress::Parse("127.0.0.1:2525"), false).ok());
  network_.failures_stay = true;
  network_.Arrive(absl::ResourceExhaustedError("Too many open files"));
  Pass(absl::Seconds(60));
  EXPECT_LT(network_.accepts, 40u);
  EXPECT_EQ(stats_.accept_pauses.value(), 1u);
  network_.arrivals.clear();
  network_.Arrive(Peer(7));
  Pass(absl::Seconds(3));
  EXPECT_THAT(taken, testing::ElementsAre(7));
  tasks_.Spawn(listener.Stop());
  Settle();
  EXPECT_TRUE(over());
}

TEST_F(SubmissionServerTest, OneStrangerHasALimitAndMyNetworksHaveNot) {
  options_.smtpd_client_connection_count_limit = 2;
  std::unique_ptr<SubmissionServer> server = MakeServer();
  for (int i = 0; i < 3; ++i) server->Serve(Peer(i, "192.0.2.1"), false);
  for (int i = 10; i < 13; ++i) server->Serve(Peer(i), false);
  server->Serve(Peer(20, "192.0.2.2"), false);
  Settle();
  EXPECT_THAT(Said(1), StartsWith("220 "));
  EXPECT_THAT(Said(2), StartsWith("421 4.7.0 "));
  EXPECT_THAT(Said(12), StartsWith("220 "));
  EXPECT_THAT(Said(20), StartsWith("220 "));
  tasks_.Spawn(server->Stop(absl::ZeroDuration()));
  Pass(absl::Seconds(3));
  EXPECT_TRUE(over());
}

TEST_F(SubmissionServerTest, AStrangersLimitIsThatOfAllShardsTogether) {
  options_.smtpd_client_connection_count_limit = 2;
  std::unique_ptr<SubmissionServer> one = MakeServer();
  std::unique_ptr<SubmissionServer> other = MakeServer();
  one->Serve(Peer(1, "192.0.2.1"), false);
  other->Serve(Peer(2, "192.0.2.1"), false);
  other->Serve(Peer(3, "192.0.2.1"), false);
  Settle();
  EXPECT_THAT(Said(2), StartsWith("220 "));
  EXPECT_THAT(Said(3), StartsWith("421 4.7.0 "));
  tasks_.Spawn(one->Stop(absl::ZeroDuration()));
  Pass(absl::Seconds(3));
  other->Serve(Peer(4, "192.0.2.1"), false);
  Settle();
  EXPECT_THAT(Said(4), StartsWith("220 ")) << "who has left counts no more";
  tasks_.Spawn(other->Stop(absl::ZeroDuration()));
  Pass(absl::Seconds(3));
  EXPECT_TRUE(over());
}

TEST_F(SubmissionServerTest, NoLimitOfAStrangerIsZero) {
  options_.smtpd_client_connection_count_limit = 0;
  std::unique_ptr<SubmissionServer> server = MakeServer();
  server->Serve(Peer(1, "192.0.2.1"), false);
  Settle();
  EXPECT_THAT(Said(1), StartsWith("220 "));
  tasks_.Spawn(server->Stop(absl::ZeroDuration()));
  Pass(absl::Seconds(3));
  EXPECT_TRUE(over());
}

TEST_F(SubmissionServerTest, TheSessionLimitHoldsForEverybody) {
  options_.sessions_max = 1;
  std::unique_ptr<SubmissionServer> server = MakeServer();
  server->Serve(Peer(1), false);
  server->Serve(Peer(2), false);
  server->Serve(Peer(3), true);
  Settle();
  EXPECT_THAT(Said(2), StartsWith("421 4.7.0 "));
  EXPECT_THAT(network_.discarded, testing::ElementsAre(3));
  EXPECT_EQ(stats_.sessions_refused.value(), 2u);
  tasks_.Spawn(server->Stop(absl::ZeroDuration()));
  Pass(absl::Seconds(3));
  EXPECT_TRUE(over());
}

}  // namespace
}  // namespace mailrace::engine

// The small parts of the engine that stand alone: ids, credentials that rest, TLS
// sessions, routing.
#include "engine/queue_id_source.h"
#include "engine/routing/router.h"
#include "engine/shard_credentials.h"
#include "engine/tls_session_cache.h"
#include "gtest/gtest.h"
#include "tests/sim/world/sim_host.h"

namespace mailrace::engine {
namespace {

MonoTime At(int seconds) { return MonoTime{1} + absl::Seconds(seconds); }

TEST(QueueIdSourceTest, ShardsNeverGiveTheSameIdInTheSameMicrosecond) {
  QueueIdSource one(1, 0);
  QueueIdSource two(2, 0);
  const absl::Time now = absl::FromUnixSeconds(1'800'000'000);
  EXPECT_NE(one.Next(now), two.Next(now));
  EXPECT_LT(one.Next(now), one.Next(now));
}

TEST(QueueIdSourceTest, ContinuesAboveWhatTheStoreHasSeen) {
  const uint64_t highest =
      static_cast<uint64_t>(absl::ToUnixMicros(absl::FromUnixSeconds(2'000'000'000)))
      << QueueIdSource::kShardBits;
  QueueIdSource ids(3, highest);
  EXPECT_GT(ids.Next(absl::FromUnixSeconds(1'800'000'000)).value, highest);
}

TEST(QueueIdSourceTest, EveryIdHasOneOfTheShards) {
  QueueIdSource ids(0, 0);
  for (int shards = 1; shards < 9; ++shards) {
    const int shard = QueueIdSource::ShardOf(ids.Next(absl::UnixEpoch()), shards);
    EXPECT_GE(shard, 0);
    EXPECT_LT(shard, shards);
  }
}

class CredentialPausesTest : public testing::Test {
 protected:
  CredentialPauses pauses_;
  const CredentialPauses::Key key_{"relay.test", "user"};
};

TEST_F(CredentialPausesTest, OneRefusalRestsItForAll) {
  EXPECT_FALSE(pauses_.Paused(key_, 1, At(0)).has_value());
  EXPECT_TRUE(pauses_.Refused(key_, 1, "535 no", At(0), absl::Seconds(300)));
  EXPECT_EQ(pauses_.Paused(key_, 1, At(299)), "535 no");
  // Another session that was refused meanwhile raises no second alarm.
  EXPECT_FALSE(pauses_.Refused(key_, 1, "535 no", At(1), absl::Seconds(300)));
}

TEST_F(CredentialPausesTest, AfterThePauseOneTryDecidesForAll) {
  pauses_.Refused(key_, 1, "535 no", At(0), absl::Seconds(300));
  EXPECT_FALSE(pauses_.Paused(key_, 1, At(300)).has_value());
  EXPECT_TRUE(pauses_.Paused(key_, 1, At(301)).has_value());
}

TEST_F(CredentialPausesTest, SuccessIsTheAllClearOnce) {
  pauses_.Refused(key_, 1, "535 no", At(0), absl::Seconds(300));
  EXPECT_TRUE(pauses_.Accepted(key_));
  EXPECT_FALSE(pauses_.Accepted(key_));
  EXPECT_FALSE(pauses_.Paused(key_, 1, At(1)).has_value());
}

TEST_F(CredentialPausesTest, OthersAreNotConcerned) {
  pauses_.Refused(key_, 1, "535 no", At(0), absl::Seconds(300));
  EXPECT_FALSE(pauses_.Paused({"relay.test", "other"}, 1, At(1)).has_value());
  EXPECT_FALSE(pauses_.Paused({"other.test", "user"}, 1, At(1)).has_value());
}

TEST_F(CredentialPausesTest, AReloadLetsOneTryWithoutWaiting) {
  pauses_.Refused(key_, 1, "535 no", At(0), absl::Seconds(300));
  EXPECT_FALSE(pauses_.Paused(key_, 2, At(1)).has_value());
  EXPECT_TRUE(pauses_.Paused(key_, 2, At(2)).has_value());
  // The password is still wrong: no second alarm.
  EXPECT_FALSE(pauses_.Refused(key_, 2, "535 no", At(3), absl::Seconds(300)));
  EXPECT_TRUE(pauses_.Paused(key_, 2, At(4)).has_value());
  // It is corrected: one all-clear.
  EXPECT_FALSE(pauses_.Paused(key_, 3, At(5)).has_value());
  EXPECT_TRUE(pauses_.Accepted(key_));
  EXPECT_FALSE(pauses_.Accepted(key_));
}

TEST_F(CredentialPausesTest, AnotherPasswordThatWorksIsTheAllClearOfTheOneBefore) {
  const CredentialPauses::Key wrong{"relay.test", "user", 1};
  const CredentialPauses::Key right{"relay.test", "user", 2};
  pauses_.Refused(wrong, 1, "535 no", At(0), absl::Seconds(300));
  EXPECT_FALSE(pauses_.Paused(right, 2, At(1)).has_value());
  EXPECT_TRUE(pauses_.Accepted(right));
  EXPECT_FALSE(pauses_.Accepted(right));
}

TEST_F(CredentialPausesTest, TwoPasswordsOfOneConfigurationAreTwoAccounts) {
  const CredentialPauses::Key wrong{"relay.test", "user", 1};
  const CredentialPauses::Key right{"relay.test", "user", 2};
  pauses_.Refused(wrong, 1, "535 no", At(0), absl::Seconds(300));
  EXPECT_FALSE(pauses_.Paused(right, 1, At(1)).has_value());
  EXPECT_FALSE(pauses_.Accepted(right));
  EXPECT_TRUE(pauses_.Paused(wrong, 1, At(2)).has_value());
}

TEST_F(CredentialPausesTest, ARefusalOfTheOldPasswordSaysNothingAboutTheNewOne) {
  pauses_.Refused(key_, 1, "535 no", At(0), absl::Seconds(300));
  EXPECT_FALSE(pauses_.Paused(key_, 2, At(1)).has_value());
  EXPECT_TRUE(pauses_.Accepted(key_));
  EXPECT_FALSE(pauses_.Refused(key_, 1, "535 no", At(2), absl::Seconds(300)));
  EXPECT_FALSE(pauses_.Paused(key_, 2, At(3)).has_value());
}

TEST_F(CredentialPausesTest, OneTriesWhatNeverWorkedYet) {
  EXPECT_TRUE(pauses_.Begin(key_, At(0)));
  EXPECT_FALSE(pauses_.Begin(key_, At(1))) << "the first one's outcome decides for all";
  EXPECT_TRUE(pauses_.Begin({"relay.test", "other"}, At(1)));
  pauses_.Undecided(key_);
  EXPECT_TRUE(pauses_.Begin(key_, At(2)));
  pauses_.Accepted(key_);
  EXPECT_TRUE(pauses_.Begin(key_, At(3)));
  EXPECT_TRUE(pauses_.Begin(key_, At(3))) << "what works is tried by all";
  pauses_.Refused(key_, 1, "535 no", At(4), absl::Seconds(300));
  EXPECT_TRUE(pauses_.Begin(key_, At(400)));
  EXPECT_FALSE(pauses_.Begin(key_, At(401))) << "it works no more";
  EXPECT_TRUE(pauses_.Begin(key_, At(800))) << "who never came back is not waited for";
}

// A session without TLS behind it: only its identity matters here.
transport::tls::SessionPtr FakeSession() {
  return transport::tls::SessionPtr(std::shared_ptr<int>(new int),
                                    reinterpret_cast<transport::tls::Session*>(1));
}

TEST(TlsSessionCacheTest, ASessionIsGivenOutOnceAndOnlyForItsWholeKey) {
  DestinationKey key;
  key.nexthop = "[relay.test]:587";
  key.host = "relay.test";
  key.address = sim::RelayAddress();
  key.tls_level = 2;
  key.tls_rules = "secure relay.test";
  key.sasl_user = "user";
  key.trust = 7;
  std::vector<DestinationKey> others(8, key);
  others[0].nexthop = "[relay.test]:25";
  others[1].host = "other.test";
  others[2].address.port = 465;
  others[3].address.ip = *IpAddress::Parse("192.0.2.2");
  others[4].tls_level = 1;
  others[5].tls_rules = "secure other.test";
  others[6].sasl_user = "else";
  others[7].trust = 8;
  TlsSessionCache cache;
  cache.Put(key, FakeSession(), At(100));
  for (const DestinationKey& other : others) EXPECT_EQ(cache.Take(other, At(0)), nullptr);
  EXPECT_NE(cache.Take(key, At(0)), nullptr);
  EXPECT_EQ(cache.Take(key, At(0)), nullptr);
}

TEST(TlsSessionCacheTest, TheNewestComesFirstAndTheOldNever) {
  TlsSessionCache cache;
  const DestinationKey key;
  const transport::tls::SessionPtr old = FakeSession();
  cache.Put(key, old, At(10));
  const transport::tls::SessionPtr fresh = FakeSession();
  cache.Put(key, fresh, At(100));
  EXPECT_FALSE(cache.Take(key, At(20)).owner_before(fresh));
  EXPECT_EQ(cache.Take(key, At(20)), nullptr);
}

TEST(TlsSessionCacheTest, KeepsAFewForEachKeyAndForgetsAllWhenTold) {
  TlsSessionCache cache;
  const DestinationKey key;
  for (int i = 0; i < 100; ++i) cache.Put(key, FakeSession(), At(100));
  int kept = 0;
  while (cache.Take(key, At(0)) != nullptr) ++kept;
  EXPECT_EQ(kept, 8);
  cache.Put(key, FakeSession(), At(100));
  cache.Clear();
  EXPECT_EQ(cache.Take(key, At(0)), nullptr);
}

queue::Envelope To(std::string recipient) {
  queue::Envelope envelope;
  envelope.recipients.push_back({std::move(recipient), "", 0});
  return envelope;
}

TEST(RouterTest, TheRelayhostTakesAllVerbatim) {
  Settings settings = sim::TestSettings();
  settings.relayhost = "[Relay.Test]:587";
  EXPECT_EQ(NexthopOf(To("a@Example.COM"), 0, settings), "[Relay.Test]:587");
}

TEST(RouterTest, WithoutOneTheDomainDecides) {
  Settings settings = sim::TestSettings();
  settings.relayhost.clear();
  EXPECT_EQ(NexthopOf(To("a@Example.COM"), 0, settings), "example.com");
  EXPECT_EQ(NexthopOf(To("\"a@b\"@example.com"), 0, settings), "example.com");
  EXPECT_EQ(NexthopOf(To("postmaster"), 0, settings), "mailrace.test");
}

}  // namespace
}  // namespace mailrace::engine

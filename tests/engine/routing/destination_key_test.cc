#include "engine/routing/destination_key.h"

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "absl/hash/hash.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrace::engine {
namespace {

using transport::sasl::Credentials;

struct Facts {
  std::string hop = "[relay.test]:587";
  std::string host = "relay.test";
  SocketAddress address = *SocketAddress::Parse("192.0.2.1:587");
  ServerTls tls;
  std::optional<Credentials> credentials = Credentials{"user", "secret"};
  uint64_t generation = 1;

  DestinationKey Key() const { return KeyOf(hop, host, address, tls, credentials, generation); }
};

// Reliability.md C-15, A-13, T-18 to T-20: whatever differs, nothing is shared.
TEST(DestinationKey, WhateverOfThePolicyDiffersIsAnotherKey) {
  const std::vector<std::function<void(Facts*)>> changes = {
      [](Facts* f) { f->hop = "[relay.test]:25"; },
      [](Facts* f) { f->host = "other.test"; },
      [](Facts* f) { f->address.port = 465; },
      [](Facts* f) { f->address.ip.octets[3] = 9; },
      [](Facts* f) { f->address.ip.v6 = true; },
      [](Facts* f) { f->tls.level = TlsLevel::kEncrypt; },
      [](Facts* f) { f->tls.level = TlsLevel::kSecure; },
      [](Facts* f) { f->tls.match_names = {"relay.test"}; },
      [](Facts* f) { f->tls.match_ip = *IpAddress::Parse("192.0.2.1"); },
      [](Facts* f) { f->tls.fingerprints = {"AB:CD"}; },
      [](Facts* f) { f->tls.server_name = "relay.test"; },
      [](Facts* f) { f->tls.match_subject_cn = true; },
      [](Facts* f) { f->tls.wrapper_mode = true; },
      [](Facts* f) { f->tls.rules = "another trust anchor"; },
      [](Facts* f) { f->credentials.reset(); },
      [](Facts* f) { f->credentials->user = "another"; },
      [](Facts* f) { f->credentials->password = "changed"; },
      [](Facts* f) { f->generation = 2; },
  };
  const DestinationKey key = Facts().Key();
  EXPECT_EQ(key, Facts().Key());
  EXPECT_EQ(absl::HashOf(key), absl::HashOf(Facts().Key()));
  std::set<size_t> hashes = {absl::HashOf(key)};
  for (size_t i = 0; i < changes.size(); ++i) {
    Facts changed;
    changes[i](&changed);
    EXPECT_FALSE(changed.Key() == key) << "change " << i;
    EXPECT_TRUE(hashes.insert(absl::HashOf(changed.Key())).second) << "change " << i;
  }
}

TEST(DestinationKey, HasNoSecretInIt) {
  Facts facts;
  facts.credentials->password = "canary-password";
  const DestinationKey key = facts.Key();
  for (const std::string& text : {key.nexthop, key.host, key.tls_rules, key.sasl_user}) {
    EXPECT_EQ(text.find("canary"), std::string::npos);
  }
}

TEST(DestinationKey, TheCanonicalRulesHaveEveryFieldOfThePolicy) {
  const std::vector<std::function<void(TlsPolicy*)>> changes = {
      [](TlsPolicy* p) { p->level = TlsLevel::kSecure; },
      [](TlsPolicy* p) { p->match_names = {"relay.test"}; },
      [](TlsPolicy* p) { p->match_ip = *IpAddress::Parse("192.0.2.1"); },
      [](TlsPolicy* p) { p->fingerprints = {"AB:CD"}; },
      [](TlsPolicy* p) { p->protocols = "!TLSv1"; },
      [](TlsPolicy* p) { p->cipher_grade = "high"; },
      [](TlsPolicy* p) { p->exclude_ciphers = {"MD5"}; },
      [](TlsPolicy* p) { p->server_name = "relay.test"; },
      [](TlsPolicy* p) { p->trust_anchor_files = {"/etc/ca.pem"}; },
  };
  std::set<std::string> rules = {CanonicalRules(TlsPolicy())};
  for (size_t i = 0; i < changes.size(); ++i) {
    TlsPolicy policy;
    changes[i](&policy);
    EXPECT_TRUE(rules.insert(CanonicalRules(policy)).second) << "change " << i;
  }
}

}  // namespace
}  // namespace mailrace::engine

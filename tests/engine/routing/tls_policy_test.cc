#include "engine/routing/tls_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace mailrace::engine {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Answers from a list; the key "broken" cannot be answered. Keeps what was asked.
class FakeTable final : public tables::LookupTable {
 public:
  explicit FakeTable(std::map<std::string, std::string> entries) : entries_(std::move(entries)) {}
  absl::StatusOr<std::optional<tables::TableHit>> Lookup(std::string_view key) const override {
    asked_.emplace_back(key);
    if (key == "broken") return absl::UnavailableError("table");
    const auto it = entries_.find(std::string(key));
    if (it == entries_.end()) return std::nullopt;
    return tables::TableHit{it->second, "table:" + it->first};
  }
  const std::string& name() const override { return name_; }
  void ForEach(const std::function<void(std::string_view, std::string_view)>&) const override {}
  const std::vector<std::string>& asked() const { return asked_; }

 private:
  std::map<std::string, std::string> entries_;
  std::string name_ = "fake:table";
  mutable std::vector<std::string> asked_;
};

class TlsPolicyTest : public ::testing::Test {
 protected:
  TlsPolicyTest() {
    options_.smtp_tls_protocols = ">=TLSv1";
    options_.smtp_tls_mandatory_protocols = ">=TLSv1.2";
    options_.smtp_tls_ciphers = "medium";
    options_.smtp_tls_mandatory_ciphers = "high";
    options_.smtp_tls_exclude_ciphers = {"RC4"};
    options_.smtp_tls_mandatory_exclude_ciphers = {"MD5"};
    options_.smtp_tls_verify_cert_match = {"hostname"};
    options_.smtp_tls_secure_cert_match = {"nexthop", "dot-nexthop"};
  }
  void PerSite(std::map<std::string, std::string> entries) {
    table_ = std::make_shared<FakeTable>(std::move(entries));
    per_site_ = tables::TableList({table_});
  }
  void Policies(std::map<std::string, std::string> entries) {
    table_ = std::make_shared<FakeTable>(std::move(entries));
    policies_ = tables::TableList({table_});
  }
  TlsPolicyResult Resolve(std::string_view nexthop = "[relay.example.net]:587",
                          std::string_view host = "relay.example.net") {
    return ResolveTlsPolicy(options_, per_site_, policies_, nexthop, host);
  }
  // The level's word, or the deferral.
  static std::string Level(const TlsPolicyResult& result) {
    if (!result.policy) return result.status.ToString() + " " + result.reason;
    return std::string(config::TlsLevelName(result.policy->level));
  }

  config::TlsOptions options_;
  std::shared_ptr<FakeTable> table_;
  tables::TableList per_site_{{}};
  tables::TableList policies_{{}};
};

// --- The global level ---

TEST_F(TlsPolicyTest, GlobalLevelComesFromTheNewWordElseTheOldSwitches) {
  EXPECT_EQ(Level(Resolve()), "none");
  EXPECT_EQ(Resolve().decided_by, "smtp_use_tls");
  options_.smtp_use_tls = true;
  EXPECT_EQ(Level(Resolve()), "may");
  options_.smtp_enforce_tls = true;
  EXPECT_EQ(Level(Resolve()), "verify");
  EXPECT_EQ(Resolve().decided_by, "smtp_enforce_tls");
  options_.smtp_tls_enforce_peername = false;
  EXPECT_EQ(Level(Resolve()), "encrypt");
  options_.smtp_tls_security_level = "none";
  EXPECT_EQ(Level(Resolve()), "none");
  EXPECT_EQ(Resolve().decided_by, "smtp_tls_security_level");
}

// --- smtp_tls_per_site: all pairs of results against all global levels ---

constexpr const char* kWords[] = {"", "NONE", "MAY", "MUST_NOPEERMATCH", "MUST"};
constexpr const char* kGlobal[] = {"none", "may", "encrypt", "verify", "secure"};

// Rows: next-hop; columns: host. "-": not found. Postfix's smtp_tls_policy.c.
constexpr const char* kCombined[5][5] = {{"-", "none", "may", "encrypt", "verify"},
                                         {"none", "none", "none", "encrypt", "verify"},
                                         {"may", "none", "may", "encrypt", "verify"},
                                         {"encrypt", "encrypt", "encrypt", "encrypt", "verify"},
                                         {"verify", "verify", "verify", "verify", "verify"}};

// Rows: global; columns: combined -, none, may, encrypt, verify.
constexpr const char* kFinal[5][5] = {{"none", "none", "may", "encrypt", "verify"},
                                      {"may", "none", "may", "encrypt", "verify"},
                                      {"encrypt", "none", "encrypt", "encrypt", "verify"},
                                      {"verify", "none", "verify", "encrypt", "verify"},
                                      {"secure", "none", "secure", "encrypt", "verify"}};

int ColumnOf(std::string_view combined) {
  constexpr std::string_view kColumns[] = {"-", "none", "may", "encrypt", "verify"};
  for (int i = 0; i < 5; ++i) {
    if (kColumns[i] == combined) return i;
  }
  return -1;
}

class PerSite : public TlsPolicyTest,
                public ::testing::WithParamInterface<std::tuple<int, int, int>> {};

TEST_P(PerSite, CellIsPostfixes) {
  const auto [global, nexthop, host] = GetParam();
  options_.smtp_tls_security_level = kGlobal[global];
  std::map<std::string, std::string> entries = {{"other.example", "NONE"}};
  if (nexthop > 0) entries["[relay.example.net]:587"] = kWords[nexthop];
  if (host > 0) entries["relay.example.net"] = kWords[host];
  TlsPolicyTest::PerSite(entries);
  const char* expected = kFinal[global][ColumnOf(kCombined[nexthop][host])];
  const TlsPolicyResult result = Resolve();
  EXPECT_EQ(Level(result), expected);
  EXPECT_THAT(result.warnings, IsEmpty());
  if (nexthop == 0 && host == 0) {
    EXPECT_EQ(result.decided_by, "smtp_tls_security_level");
  }
}

INSTANTIATE_TEST_SUITE_P(AllCells, PerSite,
                         ::testing::Combine(::testing::Range(0, 5), ::testing::Range(0, 5),
                                            ::testing::Range(0, 5)));

TEST_F(TlsPolicyTest, PerSiteAsksForTheNexthopAsWrittenThenForTheHost) {
  PerSite({});
  Resolve();
  EXPECT_THAT(table_->asked(), ElementsAre("[relay.example.net]:587", "relay.example.net"));
  PerSite({});
  Resolve("Relay.example.net", "relay.example.net");
  EXPECT_THAT(table_->asked(), ElementsAre("Relay.example.net")) << "the same name once";
}

TEST_F(TlsPolicyTest, PerSiteKnowsNoOtherForms) {
  PerSite({{"relay.example.net:587", "MUST"}, {".example.net", "MUST"}, {"example.net", "MUST"}});
  EXPECT_EQ(Level(Resolve()), "none");
}

TEST_F(TlsPolicyTest, PerSiteSaysWhichLineDecided) {
  options_.smtp_use_tls = true;
  PerSite({{"[relay.example.net]:587", "MAY"}, {"relay.example.net", "MUST"}});
  EXPECT_EQ(Resolve().decided_by, "table:relay.example.net");
  PerSite({{"[relay.example.net]:587", "must_nopeermatch"}});
  EXPECT_EQ(Resolve().decided_by, "table:[relay.example.net]:587");
  EXPECT_THAT(Resolve().steps, Contains("encrypted, certificate not checked"));
  options_.smtp_tls_security_level = "secure";
  PerSite({{"relay.example.net", "MAY"}});
  EXPECT_EQ(Resolve().decided_by, "smtp_tls_security_level") << "MAY yields";
}

TEST_F(TlsPolicyTest, AnUnknownWordDefersAndEndsTheSearch) {
  for (const char* word : {"MUST NOT", "SECURE", "MAY x", ""}) {
    PerSite({{"[relay.example.net]:587", word}, {"relay.example.net", "NONE"}});
    const TlsPolicyResult result = Resolve();
    EXPECT_EQ(Level(result), "4.7.5 client TLS configuration problem");
    EXPECT_THAT(result.warnings,
                ElementsAre("smtp_tls_per_site: unknown TLS policy '" + std::string(word) +
                            "' for next-hop destination [relay.example.net]:587"));
    EXPECT_EQ(table_->asked().size(), 1U);
  }
  PerSite({{"relay.example.net", "X"}});
  EXPECT_THAT(Resolve().warnings,
              ElementsAre("smtp_tls_per_site: unknown TLS policy 'X' for server hostname "
                          "relay.example.net"));
}

TEST_F(TlsPolicyTest, ATableThatCannotAnswerDefers) {
  PerSite({});
  const TlsPolicyResult result = Resolve("broken", "relay.example.net");
  EXPECT_EQ(Level(result), "4.3.0 Temporary lookup error");
  EXPECT_THAT(result.warnings,
              ElementsAre("smtp_tls_per_site: next-hop destination \"broken\": per-site table "
                          "lookup error"));
  EXPECT_EQ(Level(Resolve("[a]", "broken")), "4.3.0 Temporary lookup error");
  Policies({});
  EXPECT_EQ(Level(Resolve("broken", "a")), "4.7.5 client TLS configuration problem");
}

// --- smtp_tls_policy_maps ---

TEST_F(TlsPolicyTest, PolicyMapsReplacePerSite) {
  PerSite({{"relay.example.net", "MUST"}});
  Policies({{"[relay.example.net]:587", "encrypt"}});
  EXPECT_EQ(Level(Resolve()), "encrypt");
  EXPECT_EQ(Level(Resolve("[other]", "relay.example.net")), "none");
  EXPECT_THAT(table_->asked(), ElementsAre("[relay.example.net]:587", "[other]"))
      << "never the host name";
}

TEST_F(TlsPolicyTest, OnlyPlainDomainsHaveParents) {
  Policies({});
  Resolve("a.b.example.net", "mx.example.net");
  EXPECT_THAT(table_->asked(),
              ElementsAre("a.b.example.net", ".b.example.net", ".example.net", ".net"));
  for (const char* exact : {"[a.b.example.net]", "a.b.example.net:25", "[a.b]:587"}) {
    Policies({{".b.example.net", "secure"}, {".b", "secure"}});
    Resolve(exact, "mx.example.net");
    EXPECT_THAT(table_->asked(), ElementsAre(exact));
  }
  Policies({{".example.net", "may"}});
  EXPECT_EQ(Resolve("a.b.example.net").decided_by, "table:.example.net");
}

TEST_F(TlsPolicyTest, PolicyAttributes) {
  Policies({{"[relay.example.net]:587",
             "secure match=relay.example.net:.example.org, { ciphers = HIGH } protocols=TLSv1.3 "
             "servername=sni.example.net exclude=ECDSA:SHA1 tafile=/a tafile=/b "
             "connection_reuse=yes policy_type=sts policy_ttl=5"}});
  const TlsPolicyResult result = Resolve();
  ASSERT_TRUE(result.policy) << ::testing::PrintToString(result.warnings);
  EXPECT_THAT(result.policy->match_names, ElementsAre("relay.example.net", ".example.org"));
  EXPECT_EQ(result.policy->cipher_grade, "high");
  EXPECT_EQ(result.policy->protocols, "TLSv1.3");
  EXPECT_EQ(result.policy->server_name, "sni.example.net");
  EXPECT_THAT(result.policy->exclude_ciphers, ElementsAre("ECDSA:SHA1", "aNULL"));
  EXPECT_THAT(result.policy->trust_anchor_files, ElementsAre("/a", "/b"));
  EXPECT_EQ(result.decided_by, "table:[relay.example.net]:587");
}

TEST_F(TlsPolicyTest, EveryBadEntryDefers) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "invalid empty policy"},
      {"must", "invalid security level \"must\""},
      {"dane", "invalid security level \"dane\""},
      {"may match=a", "attribute \"match\" invalid at security level \"may\""},
      {"encrypt tafile=/x", "attribute \"tafile\" invalid at security level \"encrypt\""},
      {"fingerprint tafile=/x", "attribute \"tafile\" invalid"},
      {"secure match=", "attribute \"match\" has empty value"},
      {"encrypt ciphers=", "attribute \"ciphers\" has empty value"},
      {"encrypt ciphers=best", "attribute \"ciphers\" has bad value"},
      {"encrypt ciphers=high ciphers=low", "\"ciphers\" is specified multiple times"},
      {"encrypt protocols=a protocols=b", "\"protocols\" is specified multiple times"},
      {"encrypt exclude=a exclude=b", "\"exclude\" is specified multiple times"},
      {"encrypt servername=a servername=b", "\"servername\" is specified multiple times"},
      {"encrypt servername=[a]", "specifies an invalid hostname"},
      {"encrypt connection_reuse=maybe", "attribute \"connection_reuse\" has bad value"},
      {"encrypt nosuch=a", "invalid attribute name: \"nosuch\""},
      {"encrypt high", "malformed attribute/value pair \"high\""},
      {"encrypt {a=b", "unbalanced"},
      {"fingerprint", "with no fingerprints to match"},
      {"fingerprint match=12:34", "with no fingerprints to match"}};
  for (const auto& [entry, warning] : cases) {
    Policies({{"[relay.example.net]:587", entry}});
    const TlsPolicyResult result = Resolve();
    EXPECT_EQ(Level(result), "4.7.5 client TLS configuration problem") << entry;
    ASSERT_FALSE(result.warnings.empty()) << entry;
    EXPECT_THAT(result.warnings.back(), HasSubstr(warning)) << entry;
  }
  Policies({{"[relay.example.net]:587", "nosuch"}});
  EXPECT_THAT(Resolve().warnings,
              ElementsAre("smtp_tls_policy_maps, next-hop destination \"[relay.example.net]:587\": "
                          "invalid security level \"nosuch\""));
}

TEST_F(TlsPolicyTest, NoneWithAttributesWarnsAndGoesOn) {
  Policies({{"[relay.example.net]:587", "none match=a nosuch"}});
  const TlsPolicyResult result = Resolve();
  EXPECT_EQ(Level(result), "none");
  EXPECT_EQ(result.warnings.size(), 2U);
  EXPECT_THAT(result.warnings[0], HasSubstr("ignoring attribute \"match=a\" with TLS disabled"));
}

TEST_F(TlsPolicyTest, EveryTruncationOfAnEntryEndsInAPolicyOrADeferral) {
  const std::string entry = "secure match=a:b { ciphers = high } exclude=x tafile=/a";
  for (size_t n = 0; n <= entry.size(); ++n) {
    Policies({{"[relay.example.net]:587", entry.substr(0, n)}});
    const TlsPolicyResult result = Resolve();
    EXPECT_TRUE(result.policy.has_value() || !result.warnings.empty()) << entry.substr(0, n);
  }
}

// --- What follows from the level ---

TEST_F(TlsPolicyTest, ProtocolsCiphersAndExclusionsDependOnTheLevel) {
  options_.smtp_tls_security_level = "may";
  TlsPolicyResult result = Resolve();
  EXPECT_EQ(result.policy->protocols, ">=TLSv1");
  EXPECT_EQ(result.policy->cipher_grade, "medium");
  EXPECT_THAT(result.policy->exclude_ciphers, ElementsAre("RC4"));
  options_.smtp_tls_security_level = "encrypt";
  result = Resolve();
  EXPECT_EQ(result.policy->protocols, ">=TLSv1.2");
  EXPECT_EQ(result.policy->cipher_grade, "high");
  EXPECT_THAT(result.policy->exclude_ciphers, ElementsAre("RC4", "MD5", "eNULL"));
  options_.smtp_tls_security_level = "verify";
  EXPECT_THAT(Resolve().policy->exclude_ciphers, ElementsAre("RC4", "MD5", "aNULL"));
  options_.smtp_tls_security_level = "none";
  EXPECT_EQ(Resolve().policy->protocols, "");
}

TEST_F(TlsPolicyTest, NamesToMatch) {
  options_.smtp_tls_security_level = "verify";
  EXPECT_THAT(Resolve("[Relay.example.net]:587", "MX.example.net").policy->match_names,
              ElementsAre("mx.example.net"));
  options_.smtp_tls_security_level = "secure";
  EXPECT_THAT(Resolve("[Relay.example.net]:587", "mx.example.net").policy->match_names,
              ElementsAre("relay.example.net", ".relay.example.net"));
  options_.smtp_tls_secure_cert_match = {"nexthop:hostname", "Fixed.example", ".suffix.example"};
  EXPECT_THAT(Resolve("relay.example.net", "relay.example.net").policy->match_names,
              ElementsAre("relay.example.net", "fixed.example", ".suffix.example"));
  options_.smtp_tls_security_level = "encrypt";
  EXPECT_THAT(Resolve().policy->match_names, IsEmpty());
}

TEST_F(TlsPolicyTest, AnAddressIsMatchedAsAnAddress) {
  options_.smtp_tls_security_level = "secure";
  const TlsPolicyResult result = Resolve("[192.0.2.1]:587", "192.0.2.1");
  EXPECT_THAT(result.policy->match_names, IsEmpty());
  EXPECT_EQ(result.policy->match_ip, *IpAddress::Parse("192.0.2.1"));
  EXPECT_EQ(Resolve("[ipv6:::1]", "::1").policy->match_ip, *IpAddress::Parse("::1"));
}

TEST_F(TlsPolicyTest, ServerNames) {
  options_.smtp_tls_security_level = "may";
  EXPECT_EQ(Resolve().policy->server_name, "");
  options_.smtp_tls_servername = "hostname";
  EXPECT_EQ(Resolve("[a]", "MX.b").policy->server_name, "mx.b");
  EXPECT_EQ(Resolve("[1.2.3.4]", "1.2.3.4").policy->server_name, "") << "RFC 6066 3";
  options_.smtp_tls_servername = "nexthop";
  EXPECT_EQ(Resolve("[A.b]:25", "mx.b").policy->server_name, "a.b");
  options_.smtp_tls_servername = "fixed.example";
  EXPECT_EQ(Resolve().policy->server_name, "fixed.example");
}

TEST_F(TlsPolicyTest, FingerprintsAreNormalised) {
  std::string hex;
  for (int i = 0; i < 32; ++i) hex += "a1";
  std::string normal = "A1";
  for (int i = 1; i < 32; ++i) normal += ":A1";
  options_.smtp_tls_security_level = "fingerprint";
  options_.smtp_tls_fingerprint_cert_match = {hex, normal, "12:34"};
  const TlsPolicyResult result = Resolve();
  EXPECT_THAT(result.policy->fingerprints, ElementsAre(normal, normal));
  EXPECT_THAT(result.warnings, ElementsAre(HasSubstr("not a SHA-256 fingerprint")));
  Policies({{"[relay.example.net]:587", "fingerprint match=" + hex + "|" + hex}});
  EXPECT_EQ(Resolve().policy->fingerprints.size(), 2U);
}

TEST_F(TlsPolicyTest, WhatLevelsDemand) {
  const auto demands = [](TlsLevel level) {
    const TlsPolicy policy{.level = level};
    return std::string(policy.encrypted() ? "e" : "-") + (policy.must_match() ? "m" : "-") +
           (policy.must_verify_chain() ? "v" : "-");
  };
  EXPECT_EQ(demands(TlsLevel::kNone), "---");
  EXPECT_EQ(demands(TlsLevel::kMay), "---");
  EXPECT_EQ(demands(TlsLevel::kEncrypt), "e--");
  EXPECT_EQ(demands(TlsLevel::kFingerprint), "em-");
  EXPECT_EQ(demands(TlsLevel::kVerify), "emv");
  EXPECT_EQ(demands(TlsLevel::kSecure), "emv");
}

}  // namespace
}  // namespace mailrace::engine

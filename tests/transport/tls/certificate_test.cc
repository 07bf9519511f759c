// Rows T-01 to T-12: what a client that trusts one CA and wants one name concludes. The
// handshake itself succeeds in every row: that is what "may" and "encrypt" need.
#include "fixture.h"
#include "gmock/gmock.h"

namespace mailrace::transport::tls {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;
using testing::StartsWith;

class CertificateTest : public TlsTest {};

TEST_F(CertificateTest, T01GoodChainAndName) {
  const Info info = MeetCertificate({});
  EXPECT_TRUE(info.peer_certificate);
  EXPECT_TRUE(info.chain_trusted) << info.verify_problem;
  EXPECT_TRUE(info.name_matched);
  EXPECT_TRUE(info.verified());
  EXPECT_EQ(info.verify_problem, "");
  EXPECT_EQ(info.subject_cn, "mail.ex.test");
  EXPECT_EQ(info.issuer_cn, "Test CA");
  EXPECT_THAT(info.certificate_fingerprint, MatchesRegex("([0-9A-F][0-9A-F]:)+[0-9A-F][0-9A-F]"));
  EXPECT_EQ(info.certificate_fingerprint.size(), 32 * 3 - 1);
  EXPECT_EQ(info.public_key_fingerprint.size(), 32 * 3 - 1);
  EXPECT_NE(info.certificate_fingerprint, info.public_key_fingerprint);
  EXPECT_GT(info.not_after, absl::Now() + absl::Hours(23));
  EXPECT_LT(info.not_after, absl::Now() + absl::Hours(25));
}

TEST_F(CertificateTest, T02ToT04TheSubjectIsNoName) {
  EXPECT_FALSE(MeetCertificate({.dns = {}}).name_matched);
  EXPECT_FALSE(MeetCertificate({.dns = {"other.ex.test"}}).name_matched);
  EXPECT_FALSE(MeetCertificate({.dns = {}, .ips = {"127.0.0.1"}}).name_matched);
  EXPECT_TRUE(MeetCertificate({.dns = {}}).chain_trusted);
}

TEST_F(CertificateTest, T02TheLegacySwitchUsesTheSubjectWhereNoNameIs) {
  ClientEngineOptions options = Matching("mail.ex.test");
  options.match_subject_cn = true;
  RawServer without(Issue({.dns = {}}, &ca_));
  EXPECT_TRUE(Meet(&without, options).verified());
  RawServer with_other(Issue({.dns = {"other.ex.test"}}, &ca_));
  EXPECT_FALSE(Meet(&with_other, options).name_matched);
}

TEST_F(CertificateTest, T05AWildcardIsOneWholeLabel) {
  const CertificateSpec wildcard{.cn = "", .dns = {"*.ex.test"}};
  EXPECT_TRUE(MeetCertificate(wildcard, "mail.ex.test").verified());
  EXPECT_TRUE(MeetCertificate(wildcard, "MAIL.EX.test").verified());
  EXPECT_FALSE(MeetCertificate(wildcard, "a.b.ex.test").name_matched);
  EXPECT_FALSE(MeetCertificate(wildcard, "ex.test").name_matched);
}

TEST_F(CertificateTest, T06OddWildcardsMatchNothing) {
  for (const char* san : {"m*.ex.test", "*m.ex.test", "*l.ex.test", "*.test", "*", "mail.*.test",
                          "xn--*.ex.test", "**.ex.test", "mail.ex.*"}) {
    EXPECT_FALSE(MeetCertificate({.cn = "", .dns = {san}}).name_matched) << san;
  }
}

TEST_F(CertificateTest, T07ANulDoesNotEndAName) {
  const std::string evil("mail.ex.test\0.evil.test", 23);
  const Info info = MeetCertificate({.cn = evil, .dns = {evil}});
  EXPECT_FALSE(info.name_matched);
  EXPECT_EQ(info.subject_cn, "");
  ClientEngineOptions options = Matching("mail.ex.test");
  options.match_subject_cn = true;
  RawServer server(Issue({.cn = evil, .dns = {}}, &ca_));
  EXPECT_FALSE(Meet(&server, options).name_matched);
  EXPECT_FALSE(MeetCertificate({}, evil).name_matched);
}

TEST_F(CertificateTest, T08AnAddressIsVouchedForByAnAddressOnly) {
  ClientEngineOptions options;
  options.match_ip = *IpAddress::Parse("127.0.0.1");
  RawServer by_ip(Issue({.dns = {}, .ips = {"127.0.0.1"}}, &ca_));
  EXPECT_TRUE(Meet(&by_ip, options).verified());
  RawServer by_name(Issue({.cn = "127.0.0.1", .dns = {"127.0.0.1"}}, &ca_));
  EXPECT_FALSE(Meet(&by_name, options).name_matched);
  RawServer by_none(Issue({}, &ca_));
  EXPECT_FALSE(Meet(&by_none, options).name_matched);
  // Not even if somebody puts the literal among the names.
  EXPECT_FALSE(MeetCertificate({.dns = {"127.0.0.1"}}, "127.0.0.1").name_matched);

  options.match_ip = *IpAddress::Parse("2001:db8::1");
  RawServer by_ip6(Issue({.dns = {}, .ips = {"2001:db8::1"}}, &ca_));
  EXPECT_TRUE(Meet(&by_ip6, options).verified());
  by_ip.Restart();
  EXPECT_FALSE(Meet(&by_ip, {.match_ip = *IpAddress::Parse("127.0.0.2")}).name_matched);
}

TEST_F(CertificateTest, T09Dates) {
  const Info expired =
      MeetCertificate({.not_before = absl::Hours(-48), .not_after = absl::Hours(-24)});
  EXPECT_FALSE(expired.chain_trusted);
  EXPECT_TRUE(expired.name_matched);
  EXPECT_FALSE(expired.verified());
  EXPECT_EQ(expired.verify_problem, "certificate has expired");
  const Info early = MeetCertificate({.not_before = absl::Hours(24), .not_after = absl::Hours(48)});
  EXPECT_EQ(early.verify_problem, "certificate not yet valid");
}

TEST_F(CertificateTest, T10SelfSignedAndUnknownIssuer) {
  RawServer self_signed(Issue({}, nullptr));
  EXPECT_EQ(Meet(&self_signed, Matching("mail.ex.test")).verify_problem, "self-signed certificate");
  const Identity stranger = MakeCa("Stranger");
  RawServer unknown(Issue({}, &stranger));
  EXPECT_EQ(Meet(&unknown, Matching("mail.ex.test")).verify_problem,
            "untrusted issuer /CN=Stranger");
  // The stranger's own certificate in the chain does not help.
  RawServer with_root(Issue({}, &stranger), {stranger});
  EXPECT_EQ(Meet(&with_root, Matching("mail.ex.test")).verify_problem,
            "untrusted issuer /CN=Stranger");
}

TEST_F(CertificateTest, NothingIsTrustedWithoutAnchors) {
  RawServer server(Issue({}, &ca_));
  const Info info = Meet(&server, Matching("mail.ex.test"), ClientContext());
  EXPECT_FALSE(info.chain_trusted);
  EXPECT_TRUE(info.name_matched);
  // As in Postfix, the default anchors are only ever added to named ones.
  ClientContextOptions options;
  options.append_default_ca = true;
  EXPECT_FALSE(Meet(&(server.Restart(), server), {}, ClientContext(options)).chain_trusted);
}

TEST_F(CertificateTest, T10Intermediates) {
  const Identity middle = MakeCa("Middle", &ca_);
  const Identity low = MakeCa("Low", &middle);
  const Identity leaf = Issue({}, &low);
  const Identity junk = MakeCa("Junk");
  const auto verified = [&](const std::vector<Identity>& chain) {
    RawServer server(leaf, chain);
    return Meet(&server, Matching("mail.ex.test")).verified();
  };
  EXPECT_TRUE(verified({low, middle}));
  EXPECT_TRUE(verified({low, middle, ca_}));
  EXPECT_TRUE(verified({middle, low})) << "wrong order";
  EXPECT_TRUE(verified({junk, low, Issue({.cn = "x"}, &junk), middle})) << "extra certificates";
  EXPECT_FALSE(verified({low})) << "missing intermediate";
  EXPECT_FALSE(verified({}));
}

TEST_F(CertificateTest, T10ConstraintsOfTheIssuers) {
  const Identity not_ca = Issue({.cn = "Not a CA", .dns = {}}, &ca_);
  RawServer by_leaf(Issue({}, &not_ca), {not_ca});
  EXPECT_FALSE(Meet(&by_leaf, Matching("mail.ex.test")).chain_trusted);

  CertificateSpec short_spec{.cn = "Short", .dns = {}, .ca = true, .path_length = 0};
  const Identity short_ca = Issue(short_spec, &ca_);
  const Identity below = MakeCa("Below", &short_ca);
  RawServer too_deep(Issue({}, &below), {below, short_ca});
  EXPECT_THAT(Meet(&too_deep, Matching("mail.ex.test")).verify_problem,
              HasSubstr("path length constraint exceeded"));

  CertificateSpec bound_spec{.cn = "Bound", .dns = {}, .ca = true};
  bound_spec.name_constraints = "critical,permitted;DNS:other.test";
  const Identity bound = Issue(bound_spec, &ca_);
  RawServer outside(Issue({}, &bound), {bound});
  EXPECT_THAT(Meet(&outside, Matching("mail.ex.test")).verify_problem,
              HasSubstr("permitted subtree violation"));
}

TEST_F(CertificateTest, T10VerifyDepth) {
  const Identity middle = MakeCa("Middle", &ca_);
  const Identity leaf = Issue({}, &middle);
  ClientContextOptions options;
  options.ca_file = dir_.Write("ca.pem", Pem(ca_.certificate.get()));
  options.verify_depth = 2;  // Leaf 0, Middle 1, CA 2.
  RawServer server(leaf, {middle});
  EXPECT_TRUE(Meet(&server, Matching("mail.ex.test"), ClientContext(options)).verified());
  options.verify_depth = 1;
  server.Restart();
  EXPECT_EQ(Meet(&server, Matching("mail.ex.test"), ClientContext(options)).verify_problem,
            "certificate chain longer than limit(1)");
}

TEST_F(CertificateTest, T11PurposeAndStrength) {
  EXPECT_EQ(MeetCertificate({.extended_key_usage = "clientAuth"}).verify_problem,
            "not designated for use as a server certificate");
  EXPECT_TRUE(MeetCertificate({.extended_key_usage = ""}).verified());
  EXPECT_FALSE(MeetCertificate({.key_usage = "critical,cRLSign"}).chain_trusted);
  EXPECT_THAT(MeetCertificate({.key = "RSA1024"}).verify_problem,
              HasSubstr("EE certificate key too weak"));
  EXPECT_THAT(MeetCertificate({.digest = "SHA1"}).verify_problem,
              HasSubstr("CA signature digest algorithm too weak"));
  EXPECT_TRUE(MeetCertificate({.key = "RSA2048"}).verified());
  EXPECT_TRUE(MeetCertificate({.key = "ED25519"}).verified());
}

TEST_F(CertificateTest, T12ACrlInTheCaFileRevokes) {
  const Identity revoked = Issue({}, &ca_);
  const Identity good = Issue({}, &ca_);
  const ContextPtr context = Trusting(CrlPem(ca_, {revoked.certificate.get()}));
  RawServer bad_server(revoked);
  EXPECT_EQ(Meet(&bad_server, Matching("mail.ex.test"), context).verify_problem,
            "num=23:certificate revoked");
  RawServer good_server(good);
  EXPECT_TRUE(Meet(&good_server, Matching("mail.ex.test"), context).verified());
}

TEST_F(CertificateTest, T12AnIssuerWithoutCrlIsUnaffected) {
  const Identity other = MakeCa("Other CA");
  const ContextPtr context = Trusting(Pem(other.certificate.get()) + CrlPem(ca_, {}));
  RawServer server(Issue({}, &other));
  EXPECT_TRUE(Meet(&server, Matching("mail.ex.test"), context).verified());
}

TEST_F(CertificateTest, T13FingerprintsTellCertificateFromKey) {
  const Identity first = Issue({}, &ca_);
  RawServer one(first);
  const Info info = Meet(&one, {});
  const Info again = Meet(&(one.Restart(), one), {});
  EXPECT_EQ(info.certificate_fingerprint, again.certificate_fingerprint);
  const Info other = MeetCertificate({});
  EXPECT_NE(info.certificate_fingerprint, other.certificate_fingerprint);
  EXPECT_NE(info.public_key_fingerprint, other.public_key_fingerprint);
}

TEST_F(CertificateTest, ALeadingDotMeansAnySubdomain) {
  const CertificateSpec deep{.cn = "", .dns = {"a.b.ex.test"}};
  EXPECT_TRUE(MeetCertificate(deep, ".ex.test").name_matched);
  EXPECT_TRUE(MeetCertificate(deep, ".b.ex.test").name_matched);
  EXPECT_FALSE(MeetCertificate(deep, "ex.test").name_matched);
  EXPECT_FALSE(MeetCertificate({.cn = "", .dns = {"ex.test"}}, ".ex.test").name_matched);
  EXPECT_FALSE(MeetCertificate({.cn = "", .dns = {"evilex.test"}}, ".ex.test").name_matched);
  EXPECT_FALSE(MeetCertificate(deep, ".").name_matched);
  EXPECT_FALSE(MeetCertificate(deep, "").name_matched);
}

TEST_F(CertificateTest, OneOfSeveralNamesIsEnough) {
  ClientEngineOptions options;
  options.match_names = {"nexthop.test", "mail.ex.test."};
  RawServer server(Issue({}, &ca_));
  EXPECT_TRUE(Meet(&server, options).verified());
  server.Restart();
  EXPECT_FALSE(Meet(&server, {}).name_matched) << "no name was asked for";
}

TEST_F(CertificateTest, AnonymousCiphersAreForOpportunisticPoliciesOnly) {
  const auto anonymous = [](SSL_CTX* ctx) {
    SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(ctx, "aNULL:@SECLEVEL=0");
  };
  RawServer server(Identity{}, {}, anonymous);
  const Info info = Meet(&server, Matching("mail.ex.test"), ClientContext());
  EXPECT_FALSE(info.peer_certificate);
  EXPECT_FALSE(info.chain_trusted);
  EXPECT_FALSE(info.name_matched);
  EXPECT_THAT(info.cipher, StartsWith("A"));

  server.Restart();
  ClientContextOptions options;
  options.exclude_ciphers = {"aNULL"};
  std::unique_ptr<Engine> client = Client(ClientContext(options), {});
  EXPECT_FALSE(Shake(client.get(), &server).ok());
}

TEST_F(CertificateTest, ControlCharactersInNamesDoNotReachALog) {
  const Info info = MeetCertificate({.cn = "mail\r\nfake log line"});
  EXPECT_EQ(info.subject_cn.find_first_of("\r\n"), std::string::npos);
}

}  // namespace
}  // namespace mailrace::transport::tls

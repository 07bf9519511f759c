#include "engine/logs/tls_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mailrace::logs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const Peer kRelay{"smtp.example.net", "192.0.2.4", 587};
constexpr std::string_view kAt = "smtp.example.net[192.0.2.4]:587";

TlsLog Level(std::string_view value) { return ParseTlsLog(value).value(); }

TlsFacts Trusted() {
  TlsFacts facts;
  facts.peer = kRelay;
  facts.protocol = "TLSv1.3";
  facts.cipher = "TLS_AES_256_GCM_SHA384";
  facts.cipher_bits_used = 256;
  facts.cipher_bits = 256;
  facts.key_exchange = "X25519";
  facts.server_signature = "RSA-PSS (2048 bits)";
  facts.server_digest = "SHA256";
  facts.peer_certificate = true;
  facts.chain_trusted = true;
  facts.name_matched = true;
  facts.matched_name = "smtp.example.net";
  facts.subject_cn = "smtp.example.net";
  facts.issuer_cn = "Example CA";
  facts.certificate_fingerprint = "AA:BB";
  facts.public_key_fingerprint = "CC:DD";
  facts.chain = {{1, true, "/CN=Example CA"}, {0, true, "/CN=smtp.example.net"}};
  return facts;
}

constexpr std::string_view kSummary =
    "Trusted TLS connection established to smtp.example.net[192.0.2.4]:587: TLSv1.3 with cipher "
    "TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519 server-signature RSA-PSS (2048 "
    "bits) server-digest SHA256";

TEST(TlsTrustWord, NamesWhatIsKnownOfThePeer) {
  TlsFacts facts = Trusted();
  EXPECT_EQ(TlsTrustWord(facts), "Trusted") << "a match that nobody demanded is not Verified";
  facts.must_match = true;
  EXPECT_EQ(TlsTrustWord(facts), "Verified");
  facts.name_matched = false;
  EXPECT_EQ(TlsTrustWord(facts), "Untrusted") << "of another server than the one that is wanted";
  facts.chain_trusted = false;
  facts.name_matched = true;
  EXPECT_EQ(TlsTrustWord(facts), "Untrusted");
  facts.peer_certificate = false;
  EXPECT_EQ(TlsTrustWord(facts), "Anonymous");
}

TEST(TlsSummary, IsPostfixsLine) {
  EXPECT_EQ(TlsSummaryLine(Trusted()), kSummary);
  TlsFacts facts = Trusted();
  facts.must_match = true;
  facts.connection_reused = true;
  facts.client_signature = "ECDSA (P-256)";
  facts.client_digest = "SHA256";
  EXPECT_EQ(TlsSummaryLine(facts),
            "Verified TLS connection reused to smtp.example.net[192.0.2.4]:587: TLSv1.3 with "
            "cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519 server-signature "
            "RSA-PSS (2048 bits) server-digest SHA256 client-signature ECDSA (P-256) "
            "client-digest SHA256");
}

TEST(TlsSummary, LeavesOutWhatIsNotKnown) {
  TlsFacts facts = Trusted();
  facts.protocol = "TLSv1.2";
  facts.cipher = "AES128-SHA";
  facts.cipher_bits_used = facts.cipher_bits = 128;
  facts.key_exchange = facts.server_signature = "";
  EXPECT_EQ(TlsSummaryLine(facts),
            "Trusted TLS connection established to smtp.example.net[192.0.2.4]:587: TLSv1.2 with "
            "cipher AES128-SHA (128/128 bits)");
}

TEST(TlsSummary, OfAServerSaysFromAndTheNameAskedFor) {
  TlsFacts facts;
  facts.role = TlsRole::kServer;
  facts.peer = {"app.example.com", "192.0.2.7", 40000};
  facts.sni = "mail.example.com";
  facts.protocol = "TLSv1.3";
  facts.cipher = "C";
  EXPECT_EQ(TlsSummaryLine(facts),
            "Anonymous TLS connection established from app.example.com[192.0.2.7] to "
            "mail.example.com: TLSv1.3 with cipher C (0/0 bits)");
}

TEST(TlsLogLevel, MapsNumbersAndNamesAlike) {
  EXPECT_EQ(Level("0"), TlsLog{});
  EXPECT_EQ(Level(""), TlsLog{});
  EXPECT_EQ(Level("none"), Level("0"));
  EXPECT_EQ(Level("routine"), Level("1"));
  EXPECT_EQ(Level("Debug"), Level("2"));
  EXPECT_EQ(Level("ssl-expert"), Level("3"));
  EXPECT_EQ(Level("ssl-developer"), Level("4"));
  for (const char* level : {"5", "6", "7", "8", "9"}) EXPECT_EQ(Level(level), Level("4"));
  EXPECT_TRUE(Level("1").summary);
  EXPECT_FALSE(Level("1").verbose || Level("1").cache || Level("1").ssl_debug);
  EXPECT_TRUE(Level("2").summary && Level("2").verbose && Level("2").cache && Level("2").ssl_debug);
  EXPECT_FALSE(Level("2").handshake_dump);
  EXPECT_TRUE(Level("3").handshake_dump && !Level("3").reduced);
}

TEST(TlsLogLevel, NeverDumpsASession) {
  TlsLog four = Level("4");
  EXPECT_TRUE(four.reduced);
  four.reduced = false;
  EXPECT_EQ(four, Level("3"));
  EXPECT_TRUE(Level("ssl-session-packet-dump").reduced);
  EXPECT_TRUE(Level("1,trace").reduced);
  EXPECT_THAT(TlsLogReducedWarning("smtp_tls_loglevel", "4"), HasSubstr("smtp_tls_loglevel = 4"));
}

TEST(TlsLogLevel, CombinesFeatures) {
  const TlsLog log = Level("summary, untrusted certmatch\tpeercert");
  EXPECT_TRUE(log.summary && log.untrusted && log.match && log.peer_certificate);
  EXPECT_FALSE(log.verbose || log.cache || log.handshake_dump || log.dane);
  EXPECT_TRUE(Level("dane").dane);
  EXPECT_TRUE(Level("verbose").verbose);
  EXPECT_TRUE(Level("cache").cache);
  EXPECT_TRUE(Level("ssl-debug").ssl_debug);
  EXPECT_TRUE(Level("ssl-handshake-packet-dump").handshake_dump);
}

TEST(TlsLogLevel, RefusesUnknownWords) {
  for (const char* value : {"10", "-1", "loud", "1 loud"}) {
    EXPECT_FALSE(ParseTlsLog(value).ok()) << value;
  }
  EXPECT_THAT(ParseTlsLog("1, loud").status().message().data(), HasSubstr("\"loud\""));
}

TEST(TlsHandshakeLines, AreOnlyTheSummaryAtLevelOne) {
  EXPECT_THAT(TlsHandshakeLines(Level("0"), LogStyle::kPostfix, Trusted()), IsEmpty());
  EXPECT_THAT(TlsHandshakeLines(Level("1"), LogStyle::kPostfix, Trusted()), ElementsAre(kSummary));
}

TEST(TlsHandshakeLines, ShowChainAndFingerprintsAtLevelTwo) {
  const std::string at(kAt);
  EXPECT_THAT(TlsHandshakeLines(Level("2"), LogStyle::kPostfix, Trusted()),
              ElementsAre(at + ": depth=1 verify=1 subject=/CN=Example CA",
                          at + ": depth=0 verify=1 subject=/CN=smtp.example.net",
                          at + ": matched peername: smtp.example.net",
                          at + ": subject_CN=smtp.example.net, issuer=Example CA, cert "
                               "fingerprint=AA:BB, pkey fingerprint=CC:DD",
                          kSummary));
}

TEST(TlsHandshakeLines, SayThatASessionWasResumed) {
  TlsFacts facts = Trusted();
  facts.session_resumed = true;
  facts.chain.clear();
  EXPECT_THAT(TlsHandshakeLines(Level("cache"), LogStyle::kPostfix, facts),
              ElementsAre(std::string(kAt) + ": Reusing old session"));
}

TEST(TlsHandshakeLines, GiveTheReasonWheneverAMatchWasDemanded) {
  TlsFacts facts = Trusted();
  facts.chain_trusted = false;
  facts.verify_problem = "self-signed certificate";
  EXPECT_THAT(TlsHandshakeLines(Level("0"), LogStyle::kPostfix, facts), IsEmpty());
  EXPECT_THAT(TlsHandshakeLines(Level("untrusted"), LogStyle::kPostfix, facts),
              ElementsAre("certificate verification failed for " + std::string(kAt) +
                          ": self-signed certificate"));
  facts.must_match = true;
  EXPECT_THAT(TlsHandshakeLines(Level("0"), LogStyle::kPostfix, facts),
              ElementsAre("certificate verification failed for " + std::string(kAt) +
                          ": self-signed certificate"));
  facts.session_resumed = true;
  EXPECT_THAT(TlsHandshakeLines(Level("0"), LogStyle::kPostfix, facts),
              ElementsAre(std::string(kAt) +
                          ": re-using session with untrusted certificate, look for details earlier "
                          "in the log"));
}

TEST(TlsHandshakeLines, NameThePurposeWherePostfixDoes) {
  TlsFacts facts = Trusted();
  facts.chain_trusted = false;
  facts.must_match = true;
  for (const char* problem :
       {"certificate has expired", "certificate not yet valid", "num=79:invalid CA certificate"}) {
    facts.verify_problem = problem;
    EXPECT_THAT(TlsHandshakeLines(Level("0"), LogStyle::kPostfix, facts),
                ElementsAre("server certificate verification failed for " + std::string(kAt) +
                            ": " + problem));
  }
  for (const char* problem :
       {"untrusted issuer /CN=Evil", "certificate chain longer than limit(9)"}) {
    facts.verify_problem = problem;
    EXPECT_THAT(
        TlsHandshakeLines(Level("0"), LogStyle::kPostfix, facts),
        ElementsAre("certificate verification failed for " + std::string(kAt) + ": " + problem));
  }
}

TEST(TlsHandshakeLines, OfPostfix22SayVerifiedOrUnverified) {
  TlsFacts facts = Trusted();
  facts.must_match = true;
  const std::string established =
      "TLS connection established to smtp.example.net: TLSv1.3 with cipher "
      "TLS_AES_256_GCM_SHA384 (256/256 bits)";
  EXPECT_THAT(TlsHandshakeLines(Level("0"), LogStyle::kPostfix22, facts), IsEmpty());
  EXPECT_THAT(TlsHandshakeLines(Level("1"), LogStyle::kPostfix22, facts),
              ElementsAre("Verified: subject_CN=smtp.example.net, issuer=Example CA", established));
  facts.chain_trusted = false;
  facts.session_resumed = true;
  EXPECT_THAT(
      TlsHandshakeLines(Level("3"), LogStyle::kPostfix22, facts),
      ElementsAre("Reusing old session",
                  "Unverified: subject_CN=smtp.example.net, issuer=Example CA", established));
}

TEST(TlsStartLines, FollowTheLevel) {
  const std::string at(kAt);
  const TlsStart start{kRelay, "aNULL:-aNULL:HIGH", "smtp&id", true, true};
  EXPECT_THAT(TlsStartLines(Level("1"), LogStyle::kPostfix, start), IsEmpty());
  EXPECT_THAT(
      TlsStartLines(Level("2"), LogStyle::kPostfix, start),
      ElementsAre("initializing the client-side TLS engine", "setting up TLS connection to " + at,
                  at + ": TLS cipher list \"aNULL:-aNULL:HIGH\"",
                  "looking for session smtp&id in smtp cache",
                  "reloaded session smtp&id from smtp cache"));
}

TEST(TlsStartLines, OfPostfix22AreTheHowTosLines) {
  const TlsStart start{kRelay, "HIGH", "id", true, true};
  EXPECT_THAT(TlsStartLines(Level("0"), LogStyle::kPostfix22, start), IsEmpty());
  EXPECT_THAT(TlsStartLines(Level("2"), LogStyle::kPostfix22, start),
              ElementsAre("starting TLS engine", "setting up TLS connection to smtp.example.net"));
  EXPECT_THAT(TlsStartLines(Level("3"), LogStyle::kPostfix22, start),
              ElementsAre("starting TLS engine", "setting up TLS connection to smtp.example.net",
                          "looking for session id in client cache",
                          "reloaded session id from client cache"));
}

TEST(TlsSessionSaved, IsLoggedWhereTheCacheIs) {
  EXPECT_FALSE(TlsSessionSavedLine(Level("1"), LogStyle::kPostfix, "id"));
  EXPECT_EQ(TlsSessionSavedLine(Level("2"), LogStyle::kPostfix, "id"),
            "save session id to smtp cache");
  EXPECT_FALSE(TlsSessionSavedLine(Level("2"), LogStyle::kPostfix22, "id"));
  EXPECT_EQ(TlsSessionSavedLine(Level("3"), LogStyle::kPostfix22, "id"),
            "save session id to client cache");
}

TEST(TlsStateLine, IsLoggedFromLevelTwoOn) {
  EXPECT_FALSE(TlsStateLine(Level("1"), TlsRole::kClient, "x"));
  EXPECT_EQ(TlsStateLine(Level("2"), TlsRole::kClient, "before SSL initialization"),
            "SSL_connect:before SSL initialization");
  EXPECT_EQ(TlsStateLine(Level("2"), TlsRole::kServer, "x"), "SSL_accept:x");
}

TEST(TlsDump, ShowsHandshakeOctetsFromLevelThreeOn) {
  EXPECT_THAT(TlsDumpLines(Level("2"), "abc"), IsEmpty());
  EXPECT_THAT(TlsDumpLines(Level("3"), std::string_view("0123456789abcdef\x16\x03", 18)),
              ElementsAre("0000 30 31 32 33 34 35 36 37|38 39 61 62 63 64 65 66  01234567 89abcdef",
                          "0010 16 03                                            .."));
}

TEST(TlsDump, IsBounded) {
  EXPECT_EQ(TlsDumpLines(Level("3"), std::string(kTlsDumpOctetsMax * 2, 'x')).size(),
            kTlsDumpOctetsMax / 16);
}

TEST(TlsFailure, NamesPeerAndReason) {
  EXPECT_EQ(TlsFailureLine(TlsRole::kClient, kRelay, "lost connection"),
            "SSL_connect error to smtp.example.net[192.0.2.4]:587: lost connection");
  EXPECT_EQ(TlsFailureLine(TlsRole::kServer, kRelay, "-1"),
            "SSL_accept error from smtp.example.net[192.0.2.4]: -1");
}

TEST(TlsLines, KeepAHostileCertificateOnItsLine) {
  TlsFacts facts = Trusted();
  facts.subject_cn = "a\nfake: status=sent";
  facts.matched_name = "b\rc";
  facts.chain[0].subject = "d\x1b";
  for (const std::string& line : TlsHandshakeLines(Level("2"), LogStyle::kPostfix, facts)) {
    EXPECT_EQ(line.find_first_of("\r\n\x1b"), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace mailrace::logs

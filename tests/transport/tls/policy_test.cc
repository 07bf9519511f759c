#include "transport/tls/policy.h"

#include "gtest/gtest.h"

namespace mailrace::transport::tls {
namespace {

ProtocolRange Range(std::string_view list) {
  const absl::StatusOr<ProtocolRange> range = ParseProtocols(list);
  EXPECT_TRUE(range.ok()) << list << ": " << range.status();
  return range.value_or(ProtocolRange{-1, -1, 0});
}

TEST(Protocols, PostfixSyntax) {
  EXPECT_EQ(Range(""), (ProtocolRange{0, 0, 0}));
  EXPECT_EQ(Range(">=TLSv1"), (ProtocolRange{0x0301, 0, 0}));
  EXPECT_EQ(Range(">=TLSv1.2, <=TLSv1.3"), (ProtocolRange{0x0303, 0x0304, 0}));
  EXPECT_EQ(Range(">=0x0303"), (ProtocolRange{0x0303, 0, 0}));
  EXPECT_EQ(Range(">=771"), (ProtocolRange{0x0303, 0, 0}));
  EXPECT_EQ(Range("!SSLv2, !SSLv3"), (ProtocolRange{0, 0, 0}));
  EXPECT_EQ(Range("!SSLv2:!SSLv3:!TLSv1"), (ProtocolRange{0, 0, kTls10}));
  EXPECT_EQ(Range("TLSv1.2 TLSv1.3"), (ProtocolRange{0, 0, kTls10 | kTls11}));
  EXPECT_EQ(Range("tlsv1.3"), (ProtocolRange{0, 0, kTls10 | kTls11 | kTls12}));
}

TEST(Protocols, UnknownWordsAreErrorsThatNameThem) {
  for (const char* bad : {"TLSv1.4", "!TLS", ">=", ">=TLSv9", "<=99999999999999999999", ">=1x",
                          ">=0x0203", "TLSv1.2;TLSv1.3"}) {
    const absl::StatusOr<ProtocolRange> range = ParseProtocols(bad);
    ASSERT_FALSE(range.ok()) << bad;
    EXPECT_TRUE(absl::IsInvalidArgument(range.status()));
  }
  EXPECT_NE(ParseProtocols("TLSv1.2, bogus").status().ToString().find("'bogus'"),
            std::string::npos);
}

TEST(Protocols, AListThatLeavesNothingIsAnError) {
  EXPECT_FALSE(ParseProtocols("SSLv3").ok());
  EXPECT_FALSE(ParseProtocols(">=TLSv1.3 !TLSv1.3").ok());
  EXPECT_FALSE(ParseProtocols("<=SSLv3").ok());
}

TEST(Ciphers, GradesAsPostfixBuildsThem) {
  EXPECT_EQ(CipherList("high", {}).value(), "aNULL:-aNULL:HIGH:@STRENGTH");
  EXPECT_EQ(CipherList("medium", {}).value(), "aNULL:-aNULL:HIGH:MEDIUM:+RC4:@STRENGTH");
  EXPECT_EQ(CipherList("MEDIUM", {}).value(), CipherList("medium", {}).value());
  EXPECT_EQ(CipherList("export", {}).value(), CipherList("medium", {}).value());
  EXPECT_EQ(CipherList("low", {}).value(), CipherList("medium", {}).value());
  EXPECT_EQ(CipherList("null", {}).value(), "eNULL:!aNULL");
}

TEST(Ciphers, ExclusionsFollowTheGrade) {
  EXPECT_EQ(CipherList("high", {"aNULL, MD5", "RC4:3DES"}).value(),
            "aNULL:-aNULL:HIGH:@STRENGTH:!aNULL:!MD5:!RC4:!3DES");
}

TEST(Ciphers, BadWordsAreErrors) {
  EXPECT_FALSE(CipherList("strong", {}).ok());
  EXPECT_FALSE(CipherList("", {}).ok());
  for (const char* bad : {"!aNULL", "+RC4", "-MD5", "MD5 @STRENGTH"}) {
    EXPECT_FALSE(CipherList("high", {bad}).ok()) << bad;
  }
}

TEST(Ciphers, NamingANullMarksAPolicyThatAuthenticates) {
  EXPECT_TRUE(ExcludesAnonymous({"MD5", "DES aNULL"}));
  EXPECT_FALSE(ExcludesAnonymous({"eNULL"}));
  EXPECT_FALSE(ExcludesAnonymous({}));
}

}  // namespace
}  // namespace mailrace::transport::tls

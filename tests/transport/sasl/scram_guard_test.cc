#include "transport/sasl/scram_guard.h"

#include <string>

#include "gtest/gtest.h"

namespace mailrace::transport::sasl {
namespace {

// RFC 7677 3 and RFC 5802 5.
constexpr std::string_view kNonce256 = "rOprNGfwEbeRWgbNEkqO";
constexpr std::string_view kServerFirst256 =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
constexpr std::string_view kServerFirst1 =
    "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096";

bool Accepts(const std::string& server_first) {
  return CheckScramServerFirst(server_first, "abc").ok();
}

TEST(ScramGuard, AcceptsTheStandardsExamples) {
  EXPECT_TRUE(CheckScramServerFirst(kServerFirst256, kNonce256).ok());
  EXPECT_TRUE(CheckScramServerFirst(kServerFirst1, "fyko+d2lbbFgONRv9qkxdawL").ok());
}

TEST(ScramGuard, FindsTheClientsNonce) {
  EXPECT_EQ(ScramClientNonce("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"), kNonce256);
  EXPECT_EQ(ScramClientNonce("p=tls-exporter,,n=us=2Cr=3Dx,r=abc"), "abc");
  EXPECT_EQ(ScramClientNonce(""), "");
}

TEST(ScramGuard, EveryPrefixOfAnAnswerIsRefused) {
  const std::string whole(kServerFirst256);
  const size_t count_begins = whole.rfind("4096");
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(CheckScramServerFirst(whole.substr(0, size), kNonce256).ok())
        << size << " of " << count_begins;
  }
}

TEST(ScramGuard, IterationsOutsideTheBoundsAreRefused) {
  EXPECT_TRUE(Accepts("r=abcX,s=c2FsdA==,i=4096"));
  EXPECT_TRUE(Accepts("r=abcX,s=c2FsdA==,i=250000"));
  for (const char* count : {"1", "4095", "250001", "1000000000", "99999999999999999999", "-4096",
                            "+4096", " 4096", "4096 ", "0x2000", "", "4e3"}) {
    EXPECT_FALSE(Accepts(std::string("r=abcX,s=c2FsdA==,i=") + count)) << count;
  }
}

TEST(ScramGuard, TheNonceMustBeOursContinued) {
  EXPECT_FALSE(Accepts("r=xbcX,s=c2FsdA==,i=4096"));
  EXPECT_FALSE(Accepts("r=abc,s=c2FsdA==,i=4096"));
  EXPECT_FALSE(Accepts("r=ab,s=c2FsdA==,i=4096"));
  EXPECT_FALSE(CheckScramServerFirst("r=abcX,s=c2FsdA==,i=4096", "").ok());
}

TEST(ScramGuard, OrderAndMandatoryExtensions) {
  EXPECT_FALSE(Accepts("s=c2FsdA==,r=abcX,i=4096"));
  EXPECT_FALSE(Accepts("r=abcX,i=4096,s=c2FsdA=="));
  EXPECT_FALSE(Accepts("r=abcX,s=,i=4096"));
  EXPECT_FALSE(Accepts("m=ext,r=abcX,s=c2FsdA==,i=4096"));
  EXPECT_FALSE(Accepts("r=abcX,m=ext,s=c2FsdA==,i=4096"));
  EXPECT_FALSE(Accepts("r=abcX,s=c2FsdA==,i=4096,m=ext"));
  EXPECT_FALSE(Accepts("r=abcX,s=c2FsdA==,i=4096,x=1,m=ext"));
  EXPECT_TRUE(Accepts("r=abcX,s=c2FsdA==,i=4096,x=optional"));
  EXPECT_FALSE(Accepts("e=unknown-user"));
}

}  // namespace
}  // namespace mailrace::transport::sasl

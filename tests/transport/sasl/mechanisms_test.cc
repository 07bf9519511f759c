#include "gtest/gtest.h"
#include "transport/sasl/client.h"

namespace mailrace::transport::sasl {
namespace {

const std::vector<std::string> kAll{"LOGIN",
                                    "PLAIN",
                                    "CRAM-MD5",
                                    "SCRAM-SHA-1",
                                    "SCRAM-SHA-256",
                                    "SCRAM-SHA-1-PLUS",
                                    "SCRAM-SHA-256-PLUS"};

std::string Choose(const std::vector<std::string>& offered, SecurityOptions options = {},
                   bool binding = false) {
  return ChooseMechanism(offered, options, binding);
}

TEST(ChooseMechanism, PrefersTheStronger) {
  EXPECT_EQ(Choose(kAll), "SCRAM-SHA-256");
  EXPECT_EQ(Choose({"LOGIN", "PLAIN", "CRAM-MD5", "SCRAM-SHA-1"}), "SCRAM-SHA-1");
  EXPECT_EQ(Choose({"LOGIN", "PLAIN", "CRAM-MD5", "DIGEST-MD5"}), "DIGEST-MD5");
  EXPECT_EQ(Choose({"LOGIN", "PLAIN", "CRAM-MD5"}), "CRAM-MD5");
  EXPECT_EQ(Choose({"LOGIN", "PLAIN"}), "PLAIN");
  EXPECT_EQ(Choose({"LOGIN"}), "LOGIN");
}

TEST(ChooseMechanism, BindsToTheChannelWhereThereIsOne) {
  EXPECT_EQ(Choose(kAll, {}, true), "SCRAM-SHA-256-PLUS");
  EXPECT_EQ(Choose({"SCRAM-SHA-256", "SCRAM-SHA-1-PLUS"}, {}, true), "SCRAM-SHA-1-PLUS");
  EXPECT_EQ(Choose({"SCRAM-SHA-256-PLUS"}, {}, false), "");
}

TEST(ChooseMechanism, NamesCompareWithoutCase) { EXPECT_EQ(Choose({"login", "Plain"}), "PLAIN"); }

TEST(ChooseMechanism, NothingThatWeDoNotHave) {
  EXPECT_EQ(Choose({}), "");
  EXPECT_EQ(Choose({"GSSAPI", "NTLM", "XOAUTH2", "ANONYMOUS", "EXTERNAL", "OTP", ""}), "");
}

TEST(ChooseMechanism, PostfixsDefaultRefusesPlaintext) {
  const SecurityOptions options{.noplaintext = true, .noanonymous = true};
  EXPECT_EQ(Choose({"PLAIN", "LOGIN"}, options), "");
  EXPECT_EQ(Choose({"PLAIN", "LOGIN", "CRAM-MD5"}, options), "CRAM-MD5");
  EXPECT_EQ(Choose(kAll, options), "SCRAM-SHA-256");
}

TEST(ChooseMechanism, OtherOptionsAsCyrusDefinesThem) {
  EXPECT_EQ(Choose(kAll, {.mutual_auth = true}), "SCRAM-SHA-256");
  EXPECT_EQ(Choose({"CRAM-MD5", "PLAIN"}, {.mutual_auth = true}), "");
  EXPECT_EQ(Choose({"CRAM-MD5", "DIGEST-MD5"}, {.mutual_auth = true}), "DIGEST-MD5");
  EXPECT_EQ(Choose({"DIGEST-MD5"}, {.noactive = true}), "");
  EXPECT_EQ(Choose({"CRAM-MD5", "PLAIN", "SCRAM-SHA-1"}, {.noactive = true}), "SCRAM-SHA-1");
  EXPECT_EQ(Choose({"CRAM-MD5", "PLAIN"}, {.noactive = true}), "");
  EXPECT_EQ(Choose(kAll, {.nodictionary = true}, true), "");
  EXPECT_EQ(Choose(kAll, {.forward_secrecy = true}, true), "");
  EXPECT_EQ(Choose({"PLAIN"}, {.noanonymous = true}), "PLAIN");
}

TEST(OffersExternalTest, WhereItIsOfferedAndTheOptionsAreMet) {
  EXPECT_TRUE(OffersExternal({"PLAIN", "external"}, {}));
  EXPECT_TRUE(OffersExternal({"EXTERNAL"}, {.noplaintext = true, .noanonymous = true}));
  EXPECT_TRUE(OffersExternal({"EXTERNAL"}, {.nodictionary = true}));
  EXPECT_FALSE(OffersExternal({"PLAIN"}, {}));
  EXPECT_FALSE(OffersExternal({"EXTERNAL"}, {.noactive = true}));
  EXPECT_FALSE(OffersExternal({"EXTERNAL"}, {.mutual_auth = true}));
  EXPECT_FALSE(OffersExternal({"EXTERNAL"}, {.forward_secrecy = true}));
}

}  // namespace
}  // namespace mailrace::transport::sasl

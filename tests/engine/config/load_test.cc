#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "engine/config/check.h"
#include "engine/config/config.h"
#include "engine/config/known_names.h"
#include "engine/config/parameter.h"
#include "engine/config/reference.h"
#include "tests/engine/config/temp_directory.h"

namespace mailrace::engine::config {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class LoadTest : public ::testing::Test {
 protected:
  std::shared_ptr<const Config> Load(std::string_view main_cf) {
    diagnostics_ = {};
    return LoadConfigText("main.cf", main_cf, directory_.path(), environment_, &diagnostics_);
  }
  std::string Messages() { return diagnostics_.ToString(); }

  TempDirectory directory_;
  LoadEnvironment environment_{.hostname = "relay.example.net", .processors = 4};
  Diagnostics diagnostics_;
};

TEST_F(LoadTest, AnEmptyMainCfIsPostfixesDefaults) {
  const auto config = Load("");
  ASSERT_NE(config, nullptr) << Messages();
  EXPECT_EQ(Messages(), "");
  const Options& o = config->options;
  EXPECT_EQ(o.general.myhostname, "relay.example.net");
  EXPECT_EQ(o.general.mydomain, "example.net");
  EXPECT_EQ(o.general.myorigin, "relay.example.net");
  EXPECT_EQ(o.general.queue_directory, "/var/spool/mailrace");
  EXPECT_EQ(o.general.data_directory, "/var/lib/mailrace");
  EXPECT_EQ(o.general.config_directory, directory_.path());
  EXPECT_EQ(o.general.engine_shards, 3) << "the commit thread has the fourth core";
  EXPECT_EQ(o.general.queue_memory_limit, int64_t{512} << 20);
  EXPECT_EQ(o.log.syslog_name, "postfix");
  EXPECT_EQ(o.log.log_output, "stderr");
  EXPECT_EQ(o.log.log_format, "postfix");
  EXPECT_EQ(o.entropy.tls_random_source, "dev:/dev/urandom");
  EXPECT_EQ(o.entropy.tls_random_exchange_name, "/var/lib/mailrace/prng_exch");
  EXPECT_EQ(o.entropy.tls_random_reseed_period, absl::Seconds(3600));
  EXPECT_TRUE(o.smtp.relayhost.empty());
  EXPECT_EQ(o.smtp.smtp_helo_name, "relay.example.net");
  EXPECT_EQ(o.smtp.smtp_connect_timeout, absl::Seconds(30));
  EXPECT_EQ(o.smtp.smtp_data_done_timeout, absl::Seconds(600));
  EXPECT_EQ(o.smtp.smtp_connection_cache_time_limit, absl::Seconds(2));
  EXPECT_EQ(o.tls.GlobalLevel(), TlsLevel::kNone);
  EXPECT_EQ(o.tls.smtp_tls_mandatory_protocols, ">=TLSv1");
  EXPECT_THAT(o.tls.smtp_tls_secure_cert_match, ElementsAre("nexthop", "dot-nexthop"));
  EXPECT_THAT(o.sasl.smtp_sasl_tls_verified_security_options,
              ElementsAre("noplaintext", "noanonymous"));
  EXPECT_EQ(o.queue.minimal_backoff_time, absl::Seconds(300));
  EXPECT_EQ(o.queue.maximal_backoff_time, absl::Seconds(4000));
  EXPECT_EQ(o.queue.maximal_queue_lifetime, absl::Hours(120));
  EXPECT_EQ(o.queue.hopcount_limit, 100);
  EXPECT_EQ(o.queue.smtp_destination_concurrency_limit, 20);
  EXPECT_EQ(o.queue.smtp_destination_concurrency_positive_feedback, "1");
  ASSERT_EQ(o.submission.submission_listen.size(), 1U);
  EXPECT_EQ(o.submission.submission_listen[0].ToString(), "127.0.0.1:2525");
  EXPECT_TRUE(o.submission.mynetworks.Contains(*IpAddress::Parse("::1")));
  EXPECT_EQ(o.submission.smtpd_banner, "relay.example.net ESMTP Mailrace");
  EXPECT_EQ(o.submission.smtpd_forbid_bare_newline, "reject");
  EXPECT_EQ(o.submission.message_size_limit, 10240000);
  EXPECT_TRUE(config->sasl_passwords->empty());
}

TEST_F(LoadTest, AMachineOfOneCoreHasAShard) {
  environment_.processors = 1;
  EXPECT_EQ(Load("")->options.general.engine_shards, 1);
  environment_.processors = 2;
  EXPECT_EQ(Load("")->options.general.engine_shards, 1);
  EXPECT_EQ(Load("engine_shards = 2\n")->options.general.engine_shards, 2);
}

TEST_F(LoadTest, TheHowTosFirstSetUp) {
  const std::string saslpw = directory_.Write("saslpw", "smtp.myisp.com myid:mypw\n");
  const auto config = Load(
      "relayhost = smtp.myisp.com\nsmtp_sasl_auth_enable = yes\n"
      "smtp_sasl_password_maps = hash:" +
      saslpw + "\nsmtp_sasl_security_options =\n");
  ASSERT_NE(config, nullptr) << Messages();
  EXPECT_EQ(Messages(), "");
  EXPECT_EQ(config->options.smtp.relayhost[0].host, "smtp.myisp.com");
  EXPECT_TRUE(config->options.smtp.relayhost[0].lookup_mx);
  EXPECT_TRUE(config->options.sasl.smtp_sasl_security_options.empty());
  EXPECT_EQ((*config->sasl_passwords->Lookup("smtp.myisp.com"))->value, "myid:mypw");
}

TEST_F(LoadTest, TheHowTosSecondSetUp) {
  const std::string pem = directory_.Write("smtp-client.pem", "x");
  const std::string ca = directory_.Write("CAcert.pem", "x", 0644);
  const std::string sites = directory_.Write(
      "tls_sites", "internal-mailserver.mydomain.com NONE\nsmtp.myisp.com MUST_NOPEERMATCH\n",
      0644);
  const auto config = Load("smtp_use_tls = yes\nsmtp_tls_cert_file = " + pem +
                           "\nsmtp_tls_key_file = $smtp_tls_cert_file\nsmtp_tls_CAfile = " + ca +
                           "\nsmtp_sasl_security_options =\n"
                           "smtp_sasl_tls_security_options = $smtp_sasl_security_options\n"
                           "smtp_sasl_tls_verified_security_options = $smtp_sasl_security_options\n"
                           "tls_random_source = dev:/dev/urandom\n# tls_random_bytes = 32\n"
                           "# tls_random_reseed_period = 3600s\ntls_random_upd_period = 60s\n"
                           "smtp_tls_loglevel = 2\nsmtp_enforce_tls = yes\n"
                           "smtp_tls_per_site = hash:" +
                           sites + "\n");
  ASSERT_NE(config, nullptr) << Messages();
  EXPECT_EQ(diagnostics_.errors(), 0U);
  EXPECT_EQ(diagnostics_.warnings(), 1U) << "the alias, and nothing else: " << Messages();
  EXPECT_THAT(Messages(), HasSubstr("warning: tls_random_upd_period: this parameter's name is "
                                    "tls_random_prng_update_period; taken as that"));
  EXPECT_THAT(Messages(), HasSubstr("note: smtp_use_tls: works"));
  EXPECT_EQ(config->options.tls.smtp_tls_key_file, pem);
  EXPECT_EQ(config->options.tls.smtp_tls_loglevel, 2);
  EXPECT_EQ(config->options.tls.GlobalLevel(), TlsLevel::kVerify);
  EXPECT_EQ(config->options.entropy.tls_random_prng_update_period, absl::Seconds(60));
  EXPECT_EQ((*config->tls_per_site->Lookup("smtp.myisp.com"))->value, "MUST_NOPEERMATCH");
}

TEST_F(LoadTest, SettingsRunTogetherOnOneLineArePointedOut) {
  EXPECT_EQ(
      Load("relayhost = smtp.myisp.com\n\nsmtp_sasl_auth_enable = yes smtp_sasl_password_maps "
           "= hash:/etc/postfix/saslpw smtp_sasl_security_options =\n"),
      nullptr);
  EXPECT_THAT(
      Messages(),
      AllOf(HasSubstr("main.cf:3: error: smtp_sasl_auth_enable: looks like several settings "
                      "on one line: \"smtp_sasl_password_maps =\" is part of the value"),
            HasSubstr("main.cf:3: error: smtp_sasl_auth_enable: bad boolean value")));
  Load("tls_random_source = dev:/dev/urandom # tls_random_bytes = 32\n");
  EXPECT_THAT(Messages(), HasSubstr("\"tls_random_bytes =\" is part of the value"));
  EXPECT_THAT(Messages(), HasSubstr("a comment takes a line of its own"));
  EXPECT_NE(Load("smtp_tls_per_site = inline:{ {relayhost = MAY} }\n"), nullptr) << Messages();
}

TEST_F(LoadTest, AllErrorsOfAllParametersComeAtOnce) {
  EXPECT_EQ(Load("smtp_use_tls = maybe\nminimal_backoff_time = 5x\n\nrelayhost = [a\n"
                 "smtp_tls_security_level = dane\nsmtp_tls_ciphers = best\n"
                 "smtp_sasl_security_options = noplaintxt\nmessage_size_limit = $nosuch$\n"
                 "mynetworks = 127.0.0.1/8\nsmtp_tls_loglevel = 10\nmyorigin = $myorigin\n"
                 "smtp_tls_policy_maps = ldap:x\nsubmission_listen = nowhere\n"
                 "tls_random_source = dev:\nsmtp_bind_address = ::1\n"),
            nullptr);
  for (const char* expected :
       {"main.cf:1: error: smtp_use_tls: bad boolean value \"maybe\"; expected yes or no\n",
        "main.cf:2: error: minimal_backoff_time: bad time \"5x\"",
        "main.cf:4: error: relayhost: missing ']'",
        "main.cf:5: error: smtp_tls_security_level: the level \"dane\" is not supported",
        "main.cf:6: error: smtp_tls_ciphers: bad value \"best\"; expected one of: export low",
        "main.cf:7: error: smtp_sasl_security_options: bad value \"noplaintxt\"",
        "main.cf:8: error: message_size_limit: empty macro name",
        "main.cf:9: error: mynetworks: non-null host address bits",
        "main.cf:10: error: smtp_tls_loglevel: bad level \"10\"",
        "main.cf:11: error: myorigin: unreasonable macro call nesting",
        "main.cf:12: error: smtp_tls_policy_maps: unsupported table type \"ldap\"",
        "main.cf:13: error: submission_listen: \"nowhere\" is not an address",
        "main.cf:14: error: tls_random_source: \"dev:\" names no path",
        "main.cf:15: error: smtp_bind_address: \"::1\" is not an IPv4 address"}) {
    EXPECT_THAT(Messages(), HasSubstr(expected));
  }
}

TEST_F(LoadTest, UnknownNamesWarnWithASuggestionUnlessTheyAreUsed) {
  ASSERT_NE(Load("smtp_tls_cafile = /x\nmy_relay = a\nrelayhost = $my_relay\nzzzzzzzzzzzzzz = 1\n"),
            nullptr);
  EXPECT_EQ(Messages(),
            "main.cf:1: warning: smtp_tls_cafile: unknown parameter, ignored; did you mean "
            "smtp_tls_CAfile?\n"
            "main.cf:4: warning: zzzzzzzzzzzzzz: unknown parameter, ignored\n");
}

TEST_F(LoadTest, UndefinedNamesAreEmptyAndWarned) {
  const auto config =
      Load("relayhost = ${nosuch}a\nsmtp_helo_name = ${nosuch?b}${nosuch:c.example}\n");
  ASSERT_NE(config, nullptr);
  EXPECT_EQ(config->options.smtp.relayhost[0].text, "a");
  EXPECT_EQ(config->options.smtp.smtp_helo_name, "c.example");
  EXPECT_EQ(Messages(), "main.cf:1: warning: relayhost: undefined parameter $nosuch is empty\n");
}

TEST_F(LoadTest, AStockDebianMainCfIsNoMistake) {
  ASSERT_NE(Load("smtpd_banner = $myhostname ESMTP $mail_name (Debian/GNU)\nbiff = no\n"
                 "append_dot_mydomain = no\nreadme_directory = no\ncompatibility_level = 3.6\n"
                 "smtpd_tls_security_level = may\n"
                 "smtp_tls_CApath=/etc\nsmtp_tls_security_level=may\n"
                 "smtp_tls_session_cache_database = btree:${data_directory}/smtp_scache\n"
                 "smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated "
                 "defer_unauth_destination\nmyhostname = host.example.com\n"
                 "alias_maps = hash:/etc/aliases\nalias_database = hash:/etc/aliases\n"
                 "mydestination = $myhostname, localhost\nrelayhost =\n"
                 "mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128\n"
                 "mailbox_size_limit = 0\nrecipient_delimiter = +\ninet_interfaces = all\n"
                 "inet_protocols = all\nuucp_destination_recipient_limit = 1\n"),
            nullptr)
      << Messages();
  EXPECT_EQ(diagnostics_.warnings(), 0U) << Messages();
  EXPECT_THAT(Messages(), HasSubstr("main.cf:2: note: biff: has no meaning here\n"));
}

// always_bcc that is passed over quietly is an archive that has no mail in it.
TEST_F(LoadTest, WhatPostfixWouldDoWithMailAndNobodyDoesHereIsAWarning) {
  ASSERT_NE(Load("always_bcc = archive@example.com\nsmtp_generic_maps = hash:/etc/generic\n"
                 "header_checks = regexp:/etc/checks\nnon_smtpd_milters = inet:localhost:8891\n"
                 "smtpd_milters = $non_smtpd_milters\nbody_checks =\n"),
            nullptr);
  EXPECT_EQ(diagnostics_.warnings(), 5U) << Messages();
  EXPECT_THAT(Messages(), HasSubstr("main.cf:1: warning: always_bcc: is not supported: no copies"));
  EXPECT_THAT(Messages(), HasSubstr("note: body_checks: has no meaning here"));
}

TEST_F(LoadTest, AByteOrderMarkIsNoPartOfTheFirstName) {
  const auto config = Load("\xEF\xBB\xBFrelayhost = [relay.example.com]\n");
  ASSERT_NE(config, nullptr) << Messages();
  ASSERT_EQ(config->options.smtp.relayhost.size(), 1U);
  EXPECT_EQ(Messages(), "main.cf:1: warning: byte order mark ignored\n");
}

TEST_F(LoadTest, AHostNameThatNoRelayWouldTakeIsSaid) {
  for (const std::string bad : {"a..b", ".example.com", "-x.example.com", "host.example.com.",
                                "b\u00fcro.example.com", "a b"}) {
    EXPECT_EQ(Load("myhostname = " + bad + "\n"), nullptr) << bad;
    EXPECT_THAT(Messages(), HasSubstr("main.cf:1: error: myhostname:")) << bad;
  }
  ASSERT_NE(Load("myhostname = localhost\n"), nullptr) << Messages();
  EXPECT_THAT(Messages(), HasSubstr("warning: myhostname: \"localhost\" is not a full name"));
  ASSERT_NE(Load("smtp_helo_name = [192.0.2.1]\n"), nullptr);
  EXPECT_EQ(Messages(), "");
  EXPECT_EQ(Load("smtp_helo_name = under score\n"), nullptr);
}

TEST_F(LoadTest, HostNamesAreMadeFullyQualified) {
  environment_.hostname = "box";
  EXPECT_EQ(Load("")->options.general.myhostname, "box.localdomain");
  EXPECT_EQ(Load("mydomain = example.org\n")->options.general.myhostname, "box.example.org");
  const auto config = Load("myhostname = a.b.example\n");
  EXPECT_EQ(config->options.general.mydomain, "b.example");
  EXPECT_EQ(config->options.smtp.smtp_helo_name, "a.b.example");
}

TEST_F(LoadTest, MyoriginMayBeAFile) {
  const std::string file = directory_.Write("mailname", "mail.example.com\n");
  EXPECT_EQ(Load("myorigin = " + file)->options.general.myorigin, "mail.example.com");
  EXPECT_EQ(Load("myorigin = /nonexistent/mailname"), nullptr);
}

TEST_F(LoadTest, TheCommandLineOverridesTheFile) {
  environment_.overrides = {"relayhost=b", "soft_bounce=maybe"};
  EXPECT_EQ(Load("relayhost = a\n"), nullptr);
  EXPECT_EQ(Messages(),
            "command line: error: soft_bounce: bad boolean value \"maybe\"; expected yes or no\n");
  environment_.overrides.pop_back();
  const auto config = Load("relayhost = a\n");
  EXPECT_EQ(config->options.smtp.relayhost[0].text, "b");
  EXPECT_EQ(config->Origin("relayhost"), "command line");
  EXPECT_EQ(config->Origin("myorigin"), "built-in default");
}

TEST_F(LoadTest, ParametersThatDoNotFitTogether) {
  const std::pair<const char*, const char*> cases[] = {
      {"smtp_sasl_auth_enable = yes\n",
       "specify a password table via the `smtp_sasl_password_maps'"},
      {"smtp_tls_wrappermode = yes\n", "TLS wrappermode requires"},
      {"smtp_tls_security_level = fingerprint\n", "fingerprint needs digests"},
      {"minimal_backoff_time = 2h\n", "minimal_backoff_time: is greater"},
      {"submission_tls_listen = 127.0.0.1:465\n", "needs a certificate"},
      {"queue_directory = spool\n", "queue_directory: must be an absolute path"},
      {"data_directory = /var/spool/mailrace\n", "must differ"},
      {"log_output = file\n", "file needs maillog_file"},
      {"smtp_sasl_mechanism_filter = hash:/x\n", "files and tables are not supported here"},
      {"smtp_tls_CAfile = /nonexistent.pem\n", "main.cf:1: error: smtp_tls_CAfile: cannot read"},
      {"smtp_tls_cert_file = /tmp\n", "is a directory"},
      {"smtp_tls_CApath = /etc/passwd\n", "is not a directory"},
      {"smtp_tls_verify_cert_match =\n", "no certificate could match"},
      {"smtp_helo_name = a b\n", "one host name"}};
  for (const auto& [text, message] : cases) {
    EXPECT_EQ(Load(text), nullptr) << text;
    EXPECT_THAT(Messages(), HasSubstr(message)) << text;
  }
}

TEST_F(LoadTest, SuspiciousCombinationsWarn) {
  const std::pair<const char*, const char*> cases[] = {
      {"smtp_tls_security_level = secure\n", "needs certification authorities"},
      {"smtp_tls_per_site = static:MAY\nsmtp_tls_policy_maps = static:may\n",
       "smtp_tls_per_site ignored when smtp_tls_policy_maps is not empty."},
      {"smtp_sasl_password_maps = static:a:b\n", "has no effect without smtp_sasl_auth_enable"},
      {"tls_append_default_CA = yes\n", "has no effect"},
      {"submission_listen = 0.0.0.0:2525\n", "mynetworks admits loopback only"},
      {"mynetworks =\n", "nobody may submit"},
      {"defer_transports = uucp\n", "the only transport here is smtp"}};
  for (const auto& [text, message] : cases) {
    EXPECT_NE(Load(text), nullptr) << text << Messages();
    EXPECT_THAT(Messages(), HasSubstr(message)) << text;
    EXPECT_EQ(diagnostics_.warnings(), 1U) << Messages();
  }
}

TEST_F(LoadTest, ValuesAreMappedAsPostfixDoes) {
  EXPECT_EQ(Load("smtp_tls_loglevel = 9\n")->options.tls.smtp_tls_loglevel, 4);
  EXPECT_EQ(Load("smtp_tls_loglevel = routine\n")->options.tls.smtp_tls_loglevel, 1);
  EXPECT_EQ(
      Load("smtp_tls_session_cache_timeout = 1\n")->options.tls.smtp_tls_session_cache_timeout,
      absl::Seconds(120));
  EXPECT_EQ(
      Load("smtp_tls_session_cache_timeout = 0\n")->options.tls.smtp_tls_session_cache_timeout,
      absl::ZeroDuration());
  EXPECT_EQ(Load("smtp_tls_session_cache_timeout = 101d\n"), nullptr);
  EXPECT_EQ(Load("smtpd_forbid_bare_newline = yes\n")->options.submission.smtpd_forbid_bare_newline,
            "normalize");
  EXPECT_EQ(Load("maillog_file = /dev/stdout\n")->options.log.log_output, "file");
  EXPECT_EQ(Load("smtp_tcp_port = 2525\nrelayhost = [a]\n")->options.smtp.relayhost[0].port, 2525);
  for (const char* bad : {"1/x", "x", "1.x", "-1", "1/"}) {
    EXPECT_EQ(Load(std::string("default_destination_concurrency_negative_feedback = ") + bad),
              nullptr)
        << bad;
  }
  EXPECT_NE(Load("default_destination_concurrency_positive_feedback = 0.5 / sqrt_concurrency\n"),
            nullptr);
}

TEST_F(LoadTest, TheOldSwitchesAndTheNewWord) {
  const auto level = [&](std::string_view text) { return Load(text)->options.tls.GlobalLevel(); };
  EXPECT_EQ(level("smtp_use_tls = yes\n"), TlsLevel::kMay);
  EXPECT_EQ(level("smtp_enforce_tls = yes\n"), TlsLevel::kVerify);
  EXPECT_EQ(level("smtp_enforce_tls = yes\nsmtp_tls_enforce_peername = no\n"), TlsLevel::kEncrypt);
  for (const char* word : {"none", "may", "encrypt", "verify", "secure"}) {
    EXPECT_EQ(level("smtp_use_tls = yes\nsmtp_enforce_tls = yes\nsmtp_tls_security_level = " +
                    std::string(word) + "\n"),
              *ParseTlsLevel(word));
  }
}

TEST_F(LoadTest, NoMessageShowsAPassword) {
  for (const char* text :
       {"smtp_sasl_password_maps = inline:{h=u:secretpw\n",
        "smtp_sasl_password_maps = inline:{h=u:${secretpw}\n",
        "smtp_sasl_password_maps = inline:{h=u:$secretpw}\n",
        "smtp_sasl_password_maps = static:u:secretpw\nsmtp_sasl_password_maps = static:u:b\n",
        "relay u:secretpw\n", "smtp_sasl_password_maps = u:secretpw\n"}) {
    const auto config = Load(text);
    EXPECT_NE(Messages(), "") << text;
    EXPECT_THAT(Messages(), Not(HasSubstr("secretpw"))) << text;
  }
  const auto config = Load(
      "smtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = "
      "inline:{h=u:secretpw} static:u:secretpw\n");
  ASSERT_NE(config, nullptr) << Messages();
  std::ostringstream out;
  PrintSettings(*config, false, out);
  EXPECT_THAT(out.str(), HasSubstr("smtp_sasl_auth_enable = yes    # main.cf:1\n"));
  EXPECT_THAT(out.str(), Not(HasSubstr("secretpw")));
}

TEST_F(LoadTest, ABrokenReloadLeavesTheOldConfigurationWhole) {
  const std::string file = directory_.Write("saslpw", "h u:old\n");
  directory_.Write("main.cf",
                   "smtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = hash:saslpw\n");
  std::shared_ptr<const Config> current =
      LoadConfig(directory_.path(), environment_, &diagnostics_);
  ASSERT_NE(current, nullptr) << Messages();
  directory_.Write("saslpw", "h u:new\nbroken\n");
  EXPECT_EQ(LoadConfig(directory_.path(), environment_, &diagnostics_), nullptr);
  EXPECT_THAT(Messages(), HasSubstr(file + ":2: error: smtp_sasl_password_maps: expected format"));
  EXPECT_EQ((*current->sasl_passwords->Lookup("h"))->value, "u:old");
}

TEST_F(LoadTest, CheckPrintsEverythingAndEndsWithASummary) {
  const auto check = [&](std::string_view main_cf) {
    directory_.Write("main.cf", main_cf);
    std::ostringstream out;
    const int code = CheckConfig(directory_.path(), environment_, {.settings = true}, out, nullptr);
    return std::to_string(code) + "\n" + out.str();
  };
  const std::string file = directory_.path() + "/main.cf";
  EXPECT_EQ(check("relayhost = a\n"),
            "0\nrelayhost = a    # " + file + ":1\n" + file + ": 0 errors, 0 warnings: ok\n");
  EXPECT_EQ(check("soft_bounce = 1\n"), "1\n" + file +
                                            ":1: error: soft_bounce: bad boolean value \"1\"; "
                                            "expected yes or no\n" +
                                            file + ": 1 error, 0 warnings\n");
  std::ostringstream out;
  EXPECT_EQ(CheckConfig("/nonexistent", environment_, {}, out, nullptr), 1);
  EXPECT_THAT(out.str(), HasSubstr("cannot read /nonexistent/main.cf: No such file"));
}

TEST(Registry, NamesAreUniqueAndEveryParameterIsDocumented) {
  std::set<std::string_view> names;
  for (const ParameterGroup& group : ParameterGroups()) {
    for (const Parameter& p : group.parameters) {
      EXPECT_TRUE(names.insert(p.name).second) << p.name;
      EXPECT_FALSE(p.meaning.empty()) << p.name;
      EXPECT_FALSE(p.change.empty()) << p.name;
      EXPECT_FALSE(p.TypeText().empty()) << p.name;
      EXPECT_FALSE(IsPostfixName(p.name) && !p.name.ends_with("_limit") &&
                   p.name.find("destination") == std::string_view::npos)
          << p.name << " is in both lists";
      EXPECT_EQ(FindParameter(p.name), &p);
    }
  }
  EXPECT_EQ(FindParameter("tls_random_upd_period"), FindParameter("tls_random_prng_update_period"));
  EXPECT_EQ(FindParameter("nosuch"), nullptr);
}

TEST(LoadSettingTest, IsFoundWhateverElseIsWrong) {
  TempDirectory directory;
  std::ofstream(directory.path() + "/main.cf")
      << "base = /var\nqueue_directory = $base/queue\nsmtp_tls_security_level = nonsense\n"
         "smtp_sasl_password_maps = hash:gone\na line of nothing\n";
  const auto value = LoadSetting(directory.path(), "queue_directory", {});
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_EQ(*value, "/var/queue");
  EXPECT_EQ(*LoadSetting(directory.path(), "mail_name", {}), "Mailrace");
}

// sendmail(1) is called by users who may not read the tables of passwords.
TEST(LoadSettingTest, SeveralHaveTheirOptionsAndNoTableIsOpened) {
  TempDirectory directory;
  std::ofstream(directory.path() + "/mailname") << "example.org\n";
  std::ofstream(directory.path() + "/main.cf")
      << "smtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = hash:/nonexistent\n"
         "myorigin = "
      << directory.path()
      << "/mailname\nmessage_size_limit = 123\n"
         "submission_listen = 127.0.0.1:2527\n";
  const auto config =
      LoadSettings(directory.path(), {"myorigin", "message_size_limit", "submission_listen"}, {});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ((*config)->options.general.myorigin, "example.org");
  EXPECT_EQ((*config)->options.submission.message_size_limit, 123);
  EXPECT_EQ((*config)->options.submission.submission_listen.at(0).ToString(), "127.0.0.1:2527");
  EXPECT_EQ((*config)->sasl_passwords, nullptr);
}

TEST(LoadSettingTest, ABadValueAndAMissingFileAreSaidWithTheirNames) {
  TempDirectory directory;
  EXPECT_THAT(std::string(LoadSetting(directory.path(), "queue_directory", {}).status().message()),
              HasSubstr("main.cf"));
  std::ofstream(directory.path() + "/main.cf") << "queue_directory = ${broken\n";
  EXPECT_THAT(std::string(LoadSetting(directory.path(), "queue_directory", {}).status().message()),
              AllOf(HasSubstr("main.cf:1"), HasSubstr("queue_directory")));
}

TEST(Suggestion, IsTheNearestNameOrNothing) {
  EXPECT_EQ(SuggestName("relay_host"), "relayhost");
  EXPECT_EQ(SuggestName("smtp_sasl_passwd_maps"), "smtp_sasl_password_maps");
  EXPECT_EQ(SuggestName("smtpd_recipient_restriction"), "smtpd_recipient_restrictions");
  EXPECT_EQ(SuggestName("xyzzy"), "");
}

TEST(Reference, DocumentIsMadeFromTheRegistry) {
  std::ifstream in(MAILRACE_SOURCE_DIR "/docs/CONFIGURATION.md", std::ios::binary);
  std::ostringstream file;
  file << in.rdbuf();
  // To renew the file: MAILRACE_WRITE_REFERENCE=1 engine_config_tests
  if (std::getenv("MAILRACE_WRITE_REFERENCE") != nullptr) {
    std::ofstream(MAILRACE_SOURCE_DIR "/docs/CONFIGURATION.md", std::ios::binary)
        << ConfigurationReference();
    return;
  }
  EXPECT_EQ(file.str(), ConfigurationReference());
}

}  // namespace
}  // namespace mailrace::engine::config

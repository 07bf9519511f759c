#include "transport/dns/unbound_resolver.h"

#include <stdlib.h>

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>

#include "base/sync.h"
#include "fake_dns.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrace::transport::dns {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr int kA = 1;
constexpr int kAaaa = 28;
constexpr int kMx = 15;
constexpr absl::Duration kAmple = absl::Seconds(60);

// The shard's thread is the test's; other threads post into it.
class Inbox final : public ShardPost {
 public:
  void Post(std::function<void()> call) override {
    const std::lock_guard lock(mutex_);
    calls_.push_back(std::move(call));
    arrived_.notify_one();
  }
  // Waits for a call, not longer than until `wake`, and makes all that there are.
  void Take(absl::Duration longest) {
    std::unique_lock lock(mutex_);
    arrived_.wait_for(lock, absl::ToChronoNanoseconds(longest), [&] { return !calls_.empty(); });
    std::deque<std::function<void()>> calls;
    calls.swap(calls_);
    lock.unlock();
    for (const auto& call : calls) call();
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::function<void()>> calls_;
};

template <typename T>
Task<void> Keep(Task<T> task, std::optional<T>* result) {
  T value = co_await std::move(task);
  result->emplace(std::move(value));
}

class UnboundResolverTest : public testing::Test {
 protected:
  UnboundResolverTest() {
    char name[] = "/tmp/mailrace-dns-XXXXXX";
    if (mkdtemp(name) == nullptr) abort();
    dir_ = name;
    options_.forwarders = {dns_.address()};
    options_.hosts = "";
    options_.trust_anchor = "";
  }
  ~UnboundResolverTest() override {
    resolver_.reset();
    std::filesystem::remove_all(dir_);
  }

  UnboundResolver& resolver() {
    if (resolver_ == nullptr) {
      absl::StatusOr<std::shared_ptr<DnsService>> service = DnsService::Start(options_);
      EXPECT_TRUE(service.ok()) << service.status();
      service_ = *service;
      resolver_ = std::make_unique<UnboundResolver>(service_, &loop_, &inbox_);
    }
    return *resolver_;
  }
  template <typename T>
  T Await(Task<T> task) {
    std::optional<T> result;
    scope_.Spawn(Keep(std::move(task), &result));
    Drive();
    return *std::move(result);
  }
  void Drive() {
    while (scope_.running() > 0) {
      loop_.RunAllReady();
      if (scope_.running() == 0) return;
      const MonoTime wake = loop_.NextWake();
      inbox_.Take(wake.infinite() ? kAmple : std::max(wake - clock_.Mono(), absl::ZeroDuration()));
    }
  }
  MonoTime In(absl::Duration time) { return clock_.Mono() + time; }
  absl::StatusOr<MxAnswer> Mx(const std::string& name, absl::Duration time = kAmple) {
    return Await(resolver().Mx(name, In(time)));
  }
  absl::StatusOr<AddressAnswer> Addresses(const std::string& name,
                                          Resolver::Family family = Resolver::Family::kAny,
                                          absl::Duration time = kAmple) {
    return Await(resolver().Addresses(name, family, In(time)));
  }
  static IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }
  std::string WriteFile(const std::string& name, const std::string& content) {
    std::ofstream(dir_ + "/" + name) << content;
    return dir_ + "/" + name;
  }

  std::string dir_;
  FakeDns dns_;
  DnsOptions options_;
  SystemClock clock_;
  Loop loop_{&clock_};
  Inbox inbox_;
  TaskScope scope_{&loop_};
  std::shared_ptr<DnsService> service_;
  std::unique_ptr<UnboundResolver> resolver_;
};

TEST_F(UnboundResolverTest, MailExchangersByPreference) {
  dns_.Say("example.org", kMx,
           {.rdata = {MxRdata(20, "backup.example.org"), MxRdata(10, "a.example.org"),
                      MxRdata(10, "b.example.org")}});
  const auto answer = Mx("example.org");
  ASSERT_TRUE(answer.ok()) << answer.status();
  ASSERT_EQ(answer->records.size(), 3U);
  EXPECT_THAT(answer->records,
              UnorderedElementsAre(MxRecord{10, "a.example.org"}, MxRecord{10, "b.example.org"},
                                   MxRecord{20, "backup.example.org"}));
  EXPECT_EQ(answer->records.back().preference, 20);
  EXPECT_FALSE(answer->secure);
}

TEST_F(UnboundResolverTest, NullMx) {
  dns_.Say("nomail.example.org", kMx, {.rdata = {MxRdata(0, "")}});
  const auto answer = Mx("nomail.example.org");
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_THAT(answer->records, ElementsAre(MxRecord{0, ""}));
}

TEST_F(UnboundResolverTest, NoMxIsAnEmptyAnswer) {
  dns_.Say("host.example.org", kMx, {});
  const auto answer = Mx("host.example.org");
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_THAT(answer->records, IsEmpty());
}

TEST_F(UnboundResolverTest, NoSuchNameIsNotFound) {
  const auto mx = Mx("absent.example.org");
  EXPECT_TRUE(absl::IsNotFound(mx.status())) << mx.status();
  EXPECT_THAT(std::string(mx.status().message()), HasSubstr("absent.example.org"));
  EXPECT_TRUE(absl::IsNotFound(Addresses("absent.example.org").status()));
}

TEST_F(UnboundResolverTest, ServerFailureIsUnavailable) {
  dns_.Say("broken.example.org", kMx, {.rcode = 2});
  const auto answer = Mx("broken.example.org");
  EXPECT_TRUE(absl::IsUnavailable(answer.status())) << answer.status();
}

TEST_F(UnboundResolverTest, BothFamiliesAreAskedAndComeByTurns) {
  dns_.Say("dual.example.org", kA, {.rdata = {AddressRdata("192.0.2.1")}});
  dns_.Say("dual.example.org", kAaaa, {.rdata = {AddressRdata("2001:db8::1")}});
  const auto any = Addresses("dual.example.org");
  ASSERT_TRUE(any.ok()) << any.status();
  EXPECT_THAT(any->addresses, ElementsAre(Ip("2001:db8::1"), Ip("192.0.2.1")));
  EXPECT_THAT(Addresses("dual.example.org", Resolver::Family::kIpv4)->addresses,
              ElementsAre(Ip("192.0.2.1")));
  EXPECT_THAT(Addresses("dual.example.org", Resolver::Family::kIpv6)->addresses,
              ElementsAre(Ip("2001:db8::1")));
}

TEST_F(UnboundResolverTest, OneFamilyIsEnoughEvenIfTheOtherFails) {
  dns_.Say("half.example.org", kA, {.rdata = {AddressRdata("192.0.2.1")}});
  dns_.Say("half.example.org", kAaaa, {.rcode = 2});
  const auto answer = Addresses("half.example.org");
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_THAT(answer->addresses, ElementsAre(Ip("192.0.2.1")));
}

TEST_F(UnboundResolverTest, NoAddressIsNotFoundUnlessAFailureMayHideOne) {
  dns_.Say("empty.example.org", kA, {});
  dns_.Say("empty.example.org", kAaaa, {});
  EXPECT_TRUE(absl::IsNotFound(Addresses("empty.example.org").status()));
  dns_.Say("unsure.example.org", kA, {.rcode = 2});
  dns_.Say("unsure.example.org", kAaaa, {});
  EXPECT_TRUE(absl::IsUnavailable(Addresses("unsure.example.org").status()));
}

TEST_F(UnboundResolverTest, AnswersAreCached) {
  dns_.Say("cached.example.org", kA, {.rdata = {AddressRdata("192.0.2.1")}});
  EXPECT_TRUE(Addresses("cached.example.org", Resolver::Family::kIpv4).ok());
  const int asked = dns_.asked("cached.example.org", kA);
  EXPECT_GE(asked, 1);
  EXPECT_TRUE(Addresses("CACHED.example.org.", Resolver::Family::kIpv4).ok());
  EXPECT_EQ(dns_.asked("cached.example.org", kA), asked);
}

TEST_F(UnboundResolverTest, SitesMayUseReservedTopLevelNames) {
  dns_.Say("mail.ex.test", kA, {.rdata = {AddressRdata("192.0.2.1")}});
  dns_.Say("mail.home.arpa", kA, {.rdata = {AddressRdata("192.0.2.2")}});
  EXPECT_TRUE(Addresses("mail.ex.test", Resolver::Family::kIpv4).ok());
  EXPECT_TRUE(Addresses("mail.home.arpa", Resolver::Family::kIpv4).ok());
}

TEST_F(UnboundResolverTest, LiteralsAndBadNamesAskNobody) {
  options_.forwarders = {"127.0.0.1@1"};
  EXPECT_THAT(Addresses("192.0.2.7")->addresses, ElementsAre(Ip("192.0.2.7")));
  EXPECT_THAT(Addresses("2001:db8::7")->addresses, ElementsAre(Ip("2001:db8::7")));
  EXPECT_TRUE(absl::IsNotFound(Addresses("192.0.2.7", Resolver::Family::kIpv6).status()));
  EXPECT_THAT(Mx("192.0.2.7")->records, IsEmpty());
  EXPECT_TRUE(absl::IsInvalidArgument(Mx("").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Addresses("a..b").status()));
}

TEST_F(UnboundResolverTest, NamesOfTheHostsFileNeedNoDns) {
  options_.forwarders = {"127.0.0.1@1"};  // Nobody is there.
  options_.hosts = WriteFile("hosts",
                             "# comment\n127.0.0.1 localhost\n\n"
                             "192.0.2.25\trelay.example.net relay # trailing\n"
                             "2001:db8::25 relay.example.net\n10.0.0.1 smtp.ex.test\n");
  const auto mx = Mx("relay.example.net");
  ASSERT_TRUE(mx.ok()) << mx.status();
  EXPECT_THAT(mx->records, IsEmpty());
  EXPECT_THAT(Addresses("relay.example.net")->addresses,
              ElementsAre(Ip("2001:db8::25"), Ip("192.0.2.25")));
  EXPECT_THAT(Addresses("relay")->addresses, ElementsAre(Ip("192.0.2.25")));
  EXPECT_TRUE(Mx("smtp.ex.test").ok());
  EXPECT_THAT(Addresses("SMTP.ex.test")->addresses, ElementsAre(Ip("10.0.0.1")));
}

TEST_F(UnboundResolverTest, ResolvConfNamesTheServers) {
  options_.forwarders.clear();
  options_.resolv_conf = WriteFile("resolv.conf", "search example.org\nnameserver 127.0.0.1\n");
  resolver();
  EXPECT_THAT(service_->warnings(), IsEmpty());
}

TEST_F(UnboundResolverTest, UnreadableFilesAreWarnings) {
  options_.forwarders.clear();
  options_.resolv_conf = dir_ + "/absent-resolv.conf";
  options_.hosts = WriteFile("hosts", "not an address line\n");
  options_.trust_anchor = WriteFile("root.key", "garbage ( without ) sense\n");
  resolver();
  EXPECT_THAT(service_->warnings(), testing::Contains(HasSubstr(options_.resolv_conf)));
  EXPECT_THAT(service_->warnings(), testing::Contains(HasSubstr(options_.hosts)));
}

TEST_F(UnboundResolverTest, ABadForwarderIsAnError) {
  options_.forwarders = {"ns.example.org"};
  const auto service = DnsService::Start(options_);
  EXPECT_TRUE(absl::IsInvalidArgument(service.status()));
  EXPECT_THAT(std::string(service.status().message()), HasSubstr("ns.example.org"));
}

TEST_F(UnboundResolverTest, TheDeadlineEndsAQuestion) {
  dns_.Say("slow.example.org", kMx, {.silent = true});
  const auto answer = Mx("slow.example.org", absl::Milliseconds(50));
  EXPECT_TRUE(absl::IsUnavailable(answer.status()));
  EXPECT_EQ(answer.status().message(), "DNS lookup of slow.example.org timed out");
}

TEST_F(UnboundResolverTest, OneSlowQuestionDoesNotHoldUpAnother) {
  dns_.Say("slow.example.org", kMx, {.silent = true});
  dns_.Say("quick.example.net", kMx, {.rdata = {MxRdata(10, "mx.example.net")}});
  std::optional<absl::StatusOr<MxAnswer>> slow;
  scope_.Spawn(Keep(resolver().Mx("slow.example.org", MonoTime::Infinite()), &slow));
  std::optional<absl::StatusOr<MxAnswer>> quick;
  scope_.Spawn(Keep(resolver().Mx("quick.example.net", In(kAmple)), &quick));
  while (!quick.has_value()) {
    loop_.RunAllReady();
    if (!quick.has_value()) inbox_.Take(absl::Milliseconds(100));
  }
  EXPECT_TRUE(quick->ok());
  EXPECT_FALSE(slow.has_value());
  resolver().Cancel();
  Drive();
  EXPECT_TRUE(absl::IsCancelled(slow->status()));
}

TEST_F(UnboundResolverTest, CancelEndsEverythingNowAndLater) {
  dns_.Say("slow.example.org", kA, {.silent = true});
  dns_.Say("slow.example.org", kAaaa, {.silent = true});
  std::optional<absl::StatusOr<AddressAnswer>> answer;
  scope_.Spawn(
      Keep(resolver().Addresses("slow.example.org", Resolver::Family::kAny, MonoTime::Infinite()),
           &answer));
  loop_.RunAllReady();
  EXPECT_FALSE(answer.has_value());
  resolver().Cancel();
  Drive();
  EXPECT_TRUE(absl::IsCancelled(answer->status()));
  EXPECT_TRUE(absl::IsCancelled(Mx("example.org").status()));
}

TEST_F(UnboundResolverTest, OutstandingQuestionsAreBounded) {
  options_.outstanding_max = 1;
  dns_.Say("slow.example.org", kMx, {.silent = true});
  std::optional<absl::StatusOr<MxAnswer>> first;
  scope_.Spawn(Keep(resolver().Mx("slow.example.org", MonoTime::Infinite()), &first));
  std::optional<absl::StatusOr<MxAnswer>> second;
  scope_.Spawn(Keep(resolver().Mx("other.example.org", MonoTime::Infinite()), &second));
  loop_.RunAllReady();
  while (!second.has_value()) {
    inbox_.Take(kAmple);
    loop_.RunAllReady();
  }
  EXPECT_TRUE(absl::IsUnavailable(second->status()));
  EXPECT_THAT(std::string(second->status().message()), HasSubstr("too many"));
  resolver().Cancel();
  Drive();
  EXPECT_TRUE(absl::IsCancelled(first->status()));
}

// A service whose answers come when the test says.
class HandService final : public DnsService {
 public:
  const std::vector<std::string>& warnings() const override { return warnings_; }
  uint64_t NewClient() override { return 1; }
  uint64_t Ask(uint64_t, ShardPost*, std::string, RecordType, Answer answer) override {
    answers.push_back(std::move(answer));
    return answers.size();
  }
  void Cancel(uint64_t question) override { cancelled.push_back(question); }
  void Forget(uint64_t client) override { forgotten.push_back(client); }

  std::vector<Answer> answers;
  std::vector<uint64_t> cancelled;
  std::vector<uint64_t> forgotten;

 private:
  std::vector<std::string> warnings_;
};

class LateAnswers : public testing::Test {
 protected:
  std::shared_ptr<HandService> service_ = std::make_shared<HandService>();
  SimClock clock_;
  Loop loop_{&clock_};
  Inbox inbox_;
  TaskScope scope_{&loop_};
  std::optional<UnboundResolver> resolver_{std::in_place, service_, &loop_, &inbox_};
};

TEST_F(LateAnswers, AreDroppedAfterTheDeadlineAndAfterTheResolver) {
  std::optional<absl::StatusOr<MxAnswer>> answer;
  scope_.Spawn(Keep(resolver_->Mx("slow.example.org", clock_.Mono() + absl::Seconds(30)), &answer));
  loop_.RunAllReady();
  clock_.Advance(absl::Seconds(29));
  loop_.RunAllReady();
  EXPECT_FALSE(answer.has_value());
  clock_.Advance(absl::Seconds(2));
  loop_.RunAllReady();
  ASSERT_TRUE(answer.has_value());
  EXPECT_TRUE(absl::IsUnavailable(answer->status()));
  EXPECT_THAT(service_->cancelled, ElementsAre(1));
  service_->answers[0]({absl::OkStatus(), {MxRdata(1, "mx.example.org")}, true});
  loop_.RunAllReady();
  EXPECT_FALSE(answer->ok());
  resolver_.reset();
  EXPECT_THAT(service_->forgotten, ElementsAre(1));
  service_->answers[0]({absl::OkStatus(), {}, false});
}

TEST_F(LateAnswers, ValidationAndMalformedDataAreJudged) {
  std::optional<absl::StatusOr<MxAnswer>> good;
  std::optional<absl::StatusOr<MxAnswer>> bad;
  std::optional<absl::StatusOr<AddressAnswer>> mixed;
  scope_.Spawn(Keep(resolver_->Mx("a.example.org", MonoTime::Infinite()), &good));
  scope_.Spawn(Keep(resolver_->Mx("b.example.org", MonoTime::Infinite()), &bad));
  scope_.Spawn(Keep(
      resolver_->Addresses("c.example.org", Resolver::Family::kAny, MonoTime::Infinite()), &mixed));
  loop_.RunAllReady();
  ASSERT_EQ(service_->answers.size(), 4U) << "AAAA and A are asked at once";
  service_->answers[0]({absl::OkStatus(), {"x", MxRdata(1, "mx.example.org")}, true});
  service_->answers[1]({absl::OkStatus(), {"x"}, true});
  service_->answers[2]({absl::OkStatus(), {AddressRdata("2001:db8::1")}, true});
  service_->answers[3]({absl::OkStatus(), {AddressRdata("192.0.2.1")}, false});
  loop_.RunAllReady();
  EXPECT_TRUE((*good)->secure);
  EXPECT_THAT((*good)->records, ElementsAre(MxRecord{1, "mx.example.org"}));
  EXPECT_TRUE(absl::IsUnavailable(bad->status())) << "not the same as no MX";
  EXPECT_FALSE((*mixed)->secure) << "only as secure as the weaker half";
  EXPECT_THAT((*mixed)->addresses,
              ElementsAre(*IpAddress::Parse("2001:db8::1"), *IpAddress::Parse("192.0.2.1")));
}

}  // namespace
}  // namespace mailrace::transport::dns

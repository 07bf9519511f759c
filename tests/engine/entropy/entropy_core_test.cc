#include "engine/entropy/entropy_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>
#include <vector>

#include "engine/entropy/entropy_service.h"
#include "tests/fakes/memory_logger.h"

namespace mailrace::entropy {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

// Gives the octets it is told to, then the last one for ever.
class ScriptedRandom final : public Random {
 public:
  explicit ScriptedRandom(uint8_t octet) : octet_(octet) {}
  void set(uint8_t octet) { octet_ = octet; }
  void Fill(std::span<uint8_t> out) override {
    for (uint8_t& octet : out) octet = octet_;
  }

 private:
  uint8_t octet_;
};

std::string Contents(const std::string& path) {
  std::stringstream contents;
  contents << std::ifstream(path).rdbuf();
  return contents.str();
}

class EntropyTest : public ::testing::Test {
 protected:
  EntropyTest() {
    std::string pattern = ::testing::TempDir() + "mailrace-entropy-XXXXXX";
    directory_ = mkdtemp(pattern.data());
    options_.source = "";
    options_.kernel_ready = [] { return false; };
    options_.read_time_limit = absl::Seconds(60);
  }
  ~EntropyTest() override {
    for (const char* name : {"source", "exch", "exch.new", "egd"}) unlink(Path(name).c_str());
    rmdir(directory_.c_str());
  }
  std::string Path(const std::string& name) const { return directory_ + "/" + name; }
  void WriteFile(const std::string& name, const std::string& text) const {
    std::ofstream(Path(name), std::ios::binary) << text;
  }
  std::unique_ptr<EntropyCore> Core() {
    return std::make_unique<EntropyCore>(options_, &clock_, &random_, &logger_,
                                         [this](std::string_view octets) {
                                           if (octets.size() != sizeof(int64_t)) {
                                             fed_.emplace_back(octets);  // Not the time of day.
                                           } else {
                                             ++stamps_;
                                           }
                                         });
  }
  std::unique_ptr<EntropyCore> Started() {
    auto core = Core();
    EXPECT_TRUE(core->Start().ok());
    return core;
  }
  void Reach(MonoTime time, EntropyCore* core) {
    clock_.AdvanceTo(time);
    core->Tick();
  }

  SimClock clock_;
  ScriptedRandom random_{255};
  fakes::MemoryLogger logger_;
  EntropyOptions options_;
  std::vector<std::string> fed_;
  int stamps_ = 0;
  std::string directory_;
};

TEST(NextPeriod, IsUniformFromNothingToTheWholePeriod) {
  EXPECT_EQ(NextPeriodSeconds(3600, 0), 0);
  EXPECT_EQ(NextPeriodSeconds(3600, 127), 1792);
  EXPECT_EQ(NextPeriodSeconds(3600, 128), 1807);
  EXPECT_EQ(NextPeriodSeconds(3600, 255), 3600);
}

TEST(SourceName, FollowsTheGrammar) {
  EXPECT_EQ(SourceName::Parse("").kind, SourceKind::kNone);
  EXPECT_EQ(SourceName::Parse("dev:/dev/urandom").kind, SourceKind::kDevice);
  EXPECT_EQ(SourceName::Parse("dev:/dev/urandom").path, "/dev/urandom");
  EXPECT_EQ(SourceName::Parse("egd:/run/egd").kind, SourceKind::kEgd);
  EXPECT_EQ(SourceName::Parse("egd:/run/egd").path, "/run/egd");
  EXPECT_EQ(SourceName::Parse("/var/seed").kind, SourceKind::kFile);
  EXPECT_EQ(SourceName::Parse("prngd:/x").kind, SourceKind::kFile) << "there is no such prefix";
}

TEST_F(EntropyTest, WithoutASourceWarnsAndGoesOn) {
  auto core = Started();
  EXPECT_THAT(logger_.texts(),
              ElementsAre("warning: no entropy source specified with parameter tls_random_source",
                          "warning: encryption keys etc. may be predictable"));
  EXPECT_EQ(logger_.lines()[0].service, "tlsmgr");
  EXPECT_EQ(core->epoch(), 0u);
  EXPECT_EQ(stamps_, 1);
}

TEST_F(EntropyTest, RefusesTlsOnlyIfNothingAtAllGaveEntropy) {
  auto core = Started();
  EXPECT_FALSE(core->ReadyForTls().ok());
  options_.kernel_ready = [] { return true; };
  EXPECT_TRUE(Started()->ReadyForTls().ok());
  options_.kernel_ready = nullptr;
  EXPECT_TRUE(Started()->ReadyForTls().ok()) << "the kernel of a running test is initialised";
  options_.kernel_ready = [] { return false; };
  options_.source = "dev:/dev/urandom";
  EXPECT_TRUE(Started()->ReadyForTls().ok());
  options_.source = "";
  WriteFile("exch", std::string(kExchangeOctets, 's'));
  options_.exchange_file = Path("exch");
  EXPECT_TRUE(Started()->ReadyForTls().ok());
}

TEST_F(EntropyTest, RereadsADeviceAtEachReseed) {
  options_.source = "dev:/dev/urandom";
  random_.set(127);
  auto core = Started();
  ASSERT_THAT(fed_, SizeIs(1));
  EXPECT_EQ(fed_[0].size(), 32u);
  EXPECT_EQ(core->epoch(), 1u);
  EXPECT_EQ(core->next_due() - clock_.Mono(), absl::Seconds(1792));
  Reach(core->next_due(), core.get());
  ASSERT_THAT(fed_, SizeIs(2));
  EXPECT_NE(fed_[0], fed_[1]);
  EXPECT_EQ(core->epoch(), 2u);
  EXPECT_EQ(core->stats().reseeds, 2u);
  EXPECT_EQ(core->stats().octets_from_source, 64u);
  EXPECT_THAT(logger_.texts(), IsEmpty());
}

// Each random octet has a time of its own, evenly spread: an outsider who sees one reseed
// learns nothing about the next but the bounds.
TEST_F(EntropyTest, SpreadsTheTimesOfReseedsEvenly) {
  options_.source = "dev:/dev/urandom";
  options_.octets = 1;
  std::vector<int64_t> waits;
  for (int octet = 0; octet <= 255; ++octet) {
    random_.set(static_cast<uint8_t>(octet));
    auto core = Started();
    for (int reseed = 0; reseed < 3; ++reseed) {
      const int64_t wait = absl::ToInt64Seconds(core->next_due() - clock_.Mono());
      EXPECT_EQ(wait, options_.reseed_period_seconds * octet / 255);
      if (reseed == 0) waits.push_back(wait);
      Reach(core->next_due(), core.get());
      EXPECT_EQ(core->stats().reseeds, static_cast<uint64_t>(reseed) + 2);
      EXPECT_EQ(core->stats().last_reseed, clock_.Mono());
    }
  }
  EXPECT_EQ(waits.front(), 0);
  EXPECT_EQ(waits.back(), 3600);
  for (size_t i = 1; i < waits.size(); ++i) {
    const int64_t step = waits[i] - waits[i - 1];
    EXPECT_TRUE(step == 14 || step == 15) << i << ": " << step;
  }
  int64_t sum = 0;
  for (const int64_t wait : waits) sum += wait;
  EXPECT_EQ(sum / static_cast<int64_t>(waits.size()), 1799) << "half the period, rounded down";
}

TEST_F(EntropyTest, DoesNothingBeforeItIsDue) {
  options_.source = "dev:/dev/urandom";
  auto core = Started();
  clock_.Advance(absl::Seconds(3599));
  core->Tick();
  EXPECT_THAT(fed_, SizeIs(1));
  EXPECT_EQ(stamps_, 2) << "the time of day is mixed in on every turn";
}

TEST_F(EntropyTest, MayReseedAtOnce) {
  options_.source = "dev:/dev/urandom";
  random_.set(0);
  auto core = Started();
  EXPECT_EQ(core->next_due(), clock_.Mono());
  core->Tick();
  EXPECT_THAT(fed_, SizeIs(2)) << "once a turn";
}

TEST_F(EntropyTest, ReadsAtMost255OctetsFromADevice) {
  options_.source = "dev:/dev/urandom";
  options_.octets = 1000;
  Started();
  ASSERT_THAT(fed_, SizeIs(1));
  EXPECT_EQ(fed_[0].size(), 255u);
}

TEST_F(EntropyTest, ReadsAFileOnceAndForgetsIt) {
  WriteFile("source", std::string(400, 'e'));
  options_.source = Path("source");
  options_.octets = 300;
  auto core = Started();
  EXPECT_THAT(fed_, ElementsAre(std::string(300, 'e')));
  Reach(core->next_due(), core.get());
  Reach(core->next_due(), core.get());
  EXPECT_THAT(fed_, SizeIs(1));
  EXPECT_FALSE(core->stats().source_open);
  EXPECT_TRUE(core->ReadyForTls().ok());
}

TEST_F(EntropyTest, TakesWhatAShortFileHas) {
  WriteFile("source", "abc");
  options_.source = Path("source");
  Started();
  EXPECT_THAT(fed_, ElementsAre("abc"));
}

TEST_F(EntropyTest, WarnsOfAnEmptyFile) {
  WriteFile("source", "");
  options_.source = Path("source");
  auto core = Started();
  EXPECT_THAT(logger_.texts(), ElementsAre("warning: cannot read from entropy file " +
                                           Path("source") + ": file is empty"));
  EXPECT_EQ(core->stats().source_failures, 1u);
}

TEST_F(EntropyTest, RetriesADeviceThatCannotBeOpenedWithGrowingPauses) {
  options_.source = "dev:" + Path("source");
  auto core = Started();
  const std::string warning =
      "warning: cannot open entropy device " + Path("source") + ": No such file or directory";
  const std::string reopen = "exiting to reopen external entropy source " + options_.source;
  EXPECT_THAT(logger_.texts(), ElementsAre(warning, reopen));
  for (const int seconds : {1, 2, 4, 8, 16, 32, 60, 60}) {
    EXPECT_EQ(core->next_due() - clock_.Mono(), absl::Seconds(seconds));
    logger_.Clear();
    Reach(core->next_due(), core.get());
    EXPECT_THAT(logger_.texts(), ElementsAre(warning, reopen));
  }
  EXPECT_EQ(core->stats().source_failures, 9u);
  WriteFile("source", std::string(100, 'd'));
  Reach(core->next_due(), core.get());
  EXPECT_THAT(fed_, ElementsAre(std::string(32, 'd')));
  EXPECT_TRUE(core->stats().source_open);
  EXPECT_EQ(core->next_due() - clock_.Mono(), absl::Seconds(3600));
}

TEST_F(EntropyTest, ReopensADeviceThatFails) {
  WriteFile("source", std::string(41, 'd'));  // Ends within the second read.
  options_.source = "dev:" + Path("source");
  auto core = Started();
  Reach(core->next_due(), core.get());
  Reach(core->next_due(), core.get());
  EXPECT_THAT(logger_.texts(), ElementsAre("cannot read from entropy device " + Path("source") +
                                           ": end of file -- exiting to reopen"));
  EXPECT_EQ(core->next_due() - clock_.Mono(), absl::Seconds(1));
  Reach(core->next_due(), core.get());
  EXPECT_THAT(fed_, ElementsAre(std::string(32, 'd'), std::string(9, 'd'), std::string(32, 'd')));
}

TEST_F(EntropyTest, GivesUpADeviceThatStalls) {
  ASSERT_EQ(mkfifo(Path("source").c_str(), 0600), 0);
  std::fstream writer(Path("source"), std::ios::in | std::ios::out);  // Open, and says nothing.
  options_.source = "dev:" + Path("source");
  options_.read_time_limit = absl::Milliseconds(1);
  auto core = Started();
  EXPECT_THAT(logger_.texts(), ElementsAre("cannot read from entropy device " + Path("source") +
                                           ": Connection timed out -- exiting to reopen"));
  EXPECT_FALSE(core->ReadyForTls().ok());
}

// An EGD server that serves one connection with a script.
class EgdServer {
 public:
  EgdServer(const std::string& path, std::string answer) : answer_(std::move(answer)) {
    listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(listener_, 1), 0);
    thread_ = std::thread([this] {
      const int fd = accept(listener_, nullptr, nullptr);
      char request[2] = {};
      EXPECT_EQ(recv(fd, request, sizeof request, MSG_WAITALL), 2);
      request_.assign(request, 2);
      for (const char octet : answer_) send(fd, &octet, 1, MSG_NOSIGNAL);  // One at a time.
      close(fd);
    });
  }
  std::string Request() {
    thread_.join();
    return request_;
  }
  ~EgdServer() {
    if (thread_.joinable()) thread_.join();
    close(listener_);
  }

 private:
  int listener_ = -1;
  const std::string answer_;
  std::string request_;
  std::thread thread_;
};

TEST_F(EntropyTest, SpeaksEgdsProtocol) {
  EgdServer server(Path("egd"), std::string("\x05") + "hello");
  options_.source = "egd:" + Path("egd");
  Started();
  EXPECT_EQ(server.Request(), (std::string{0x01, 0x20}));
  EXPECT_THAT(fed_, ElementsAre("hello"));
}

TEST_F(EntropyTest, AsksAnEgdServerForAtMost255Octets) {
  EgdServer server(Path("egd"), "\xff" + std::string(255, 'x'));
  options_.source = "egd:" + Path("egd");
  options_.octets = 100'000;
  Started();
  EXPECT_EQ(server.Request(), (std::string{0x01, '\xff'}));
  EXPECT_THAT(fed_, ElementsAre(std::string(255, 'x')));
}

TEST_F(EntropyTest, ReconnectsToAnEgdServerThatFails) {
  struct Case {
    std::string answer;
    std::string reason;
  };
  for (const Case& c :
       {Case{"", "cannot read from EGD server " + Path("egd") + ": end of file"},
        Case{std::string(1, '\0'), "EGD server " + Path("egd") + " reports zero bytes available"},
        Case{"\x05hel", "cannot read 5 bytes from EGD server " + Path("egd") + ": end of file"}}) {
    unlink(Path("egd").c_str());
    logger_.Clear();
    EgdServer server(Path("egd"), c.answer);
    options_.source = "egd:" + Path("egd");
    auto core = Started();
    EXPECT_THAT(logger_.texts(),
                ElementsAre(c.reason, "lost connection to EGD server " + Path("egd") +
                                          " -- exiting to reconnect"));
    EXPECT_THAT(fed_, IsEmpty());
    EXPECT_EQ(core->next_due() - clock_.Mono(), absl::Seconds(1));
  }
}

TEST_F(EntropyTest, WarnsOfAnEgdServerThatIsNotThere) {
  options_.source = "egd:" + Path("egd");
  Started();
  EXPECT_THAT(logger_.texts(), Contains("warning: cannot connect to EGD server " + Path("egd") +
                                        ": No such file or directory"));
}

TEST_F(EntropyTest, KeepsAnExchangeFileThatNeverRepeats) {
  WriteFile("exch", std::string(kExchangeOctets, 'o'));
  chmod(Path("exch").c_str(), 0644);
  options_.exchange_file = Path("exch");
  options_.update_period_seconds = 60;
  auto core = Started();
  EXPECT_THAT(fed_, ElementsAre(std::string(kExchangeOctets, 'o')));
  EXPECT_EQ(core->epoch(), 1u);
  struct stat status{};
  ASSERT_EQ(stat(Path("exch").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  const std::string first = Contents(Path("exch"));
  EXPECT_EQ(first, std::string(kExchangeOctets, '\xff'));
  EXPECT_EQ(core->next_due() - clock_.Mono(), absl::Seconds(60));
  random_.set(7);
  Reach(core->next_due(), core.get());
  EXPECT_EQ(Contents(Path("exch")), std::string(kExchangeOctets, '\7'));
  EXPECT_EQ(fed_.back(), first) << "what was written is mixed in the next time";
  random_.set(8);
  core->Stop();
  EXPECT_EQ(Contents(Path("exch")), std::string(kExchangeOctets, '\10'));
  EXPECT_EQ(core->stats().exchange_updates, 3u);
  EXPECT_NE(access(Path("exch.new").c_str(), F_OK), 0);
}

TEST_F(EntropyTest, CreatesAnExchangeFileThatIsNotThere) {
  options_.exchange_file = Path("exch");
  auto core = Started();
  EXPECT_THAT(fed_, IsEmpty());
  EXPECT_FALSE(core->ReadyForTls().ok()) << "a new file gave no entropy";
  EXPECT_THAT(Contents(Path("exch")), SizeIs(kExchangeOctets));
}

TEST_F(EntropyTest, NoticesThatTheExchangeFileWasRemoved) {
  options_.exchange_file = Path("exch");
  auto core = Started();
  logger_.Clear();
  unlink(Path("exch").c_str());
  Reach(core->next_due(), core.get());
  EXPECT_THAT(logger_.texts(),
              ElementsAre("warning: PRNG exchange file was removed -- exiting to reopen"));
  EXPECT_THAT(Contents(Path("exch")), SizeIs(kExchangeOctets));
}

TEST_F(EntropyTest, SharesAnExchangeFileWithAnotherProcess) {
  options_.exchange_file = Path("exch");
  auto ours = Started();
  auto other = Started();
  logger_.Clear();
  other->Stop();  // Replaces the file that we hold open.
  fed_.clear();
  const std::string before = Contents(Path("exch"));
  Reach(ours->next_due(), ours.get());
  EXPECT_THAT(logger_.texts(), Not(Contains(testing::HasSubstr("removed"))));
  EXPECT_THAT(fed_, ElementsAre(before)) << "reads the file that has the name now";
}

TEST_F(EntropyTest, DoesNotStartWithoutItsExchangeFile) {
  options_.exchange_file = Path("none/exch");
  EXPECT_EQ(Core()->Start().message(),
            "cannot open PRNG exchange file " + Path("none/exch") + ": No such file or directory");
  ASSERT_EQ(symlink("/nonexistent/target", Path("exch").c_str()), 0);
  options_.exchange_file = Path("exch");
  EXPECT_FALSE(Core()->Start().ok()) << "a symbolic link is refused";
}

TEST_F(EntropyTest, AnExchangeFileThatFailsLaterStopsNothing) {
  options_.exchange_file = Path("exch");
  options_.source = "dev:/dev/urandom";
  auto core = Started();
  logger_.Clear();
  unlink(Path("exch").c_str());
  ASSERT_EQ(mkdir(Path("exch").c_str(), 0700), 0);
  Reach(core->next_due(), core.get());
  EXPECT_EQ(core->stats().exchange_failures, 1u);
  EXPECT_EQ(core->stats().reseeds, 2u);
  rmdir(Path("exch").c_str());
  Reach(core->stats().next_exchange_update, core.get());
  EXPECT_THAT(Contents(Path("exch")), SizeIs(kExchangeOctets));
}

TEST_F(EntropyTest, SavesTheExchangeFileBeforeItReopensASource) {
  options_.exchange_file = Path("exch");
  options_.source = "dev:" + Path("source");
  auto core = Started();
  EXPECT_EQ(core->stats().exchange_updates, 2u);
}

TEST_F(EntropyTest, AnswersSeedRequestsOf1To255Octets) {
  auto core = Started();
  logger_.Clear();
  EXPECT_THAT(*core->Seed(1), SizeIs(1));
  EXPECT_THAT(*core->Seed(255), SizeIs(255));
  EXPECT_THAT(logger_.texts(), IsEmpty());
  for (const int octets : {0, 256, -1}) EXPECT_FALSE(core->Seed(octets).ok());
  EXPECT_THAT(logger_.texts(),
              ElementsAre("warning: bogus seed length \"0\" in \"seed\" request",
                          "warning: bogus seed length \"256\" in \"seed\" request",
                          "warning: bogus seed length \"-1\" in \"seed\" request"));
}

TEST_F(EntropyTest, RunsOnItsOwnThread) {
  SystemClock clock;
  SystemRandom random;
  options_.source = "dev:/dev/urandom";
  options_.exchange_file = Path("exch");
  options_.reseed_period_seconds = 0;  // Again at once, for ever.
  std::atomic<uint64_t> octets = 0;
  auto service = EntropyService::Start(options_, &clock, &random, &logger_,
                                       [&octets](std::string_view fed) { octets += fed.size(); });
  ASSERT_TRUE(service.ok()) << service.status();
  const uint64_t epoch = (*service)->epoch();
  while ((*service)->epoch() < epoch + 5) std::this_thread::yield();
  while ((*service)->stats().reseeds < 5) std::this_thread::yield();
  EXPECT_TRUE((*service)->ReadyForTls().ok());
  EXPECT_THAT(*(*service)->Seed(32), SizeIs(32));
  const std::string before = Contents(Path("exch"));
  service->reset();
  EXPECT_NE(Contents(Path("exch")), before) << "saved at the end";
  EXPECT_GE(octets, 5u * 32u);
}

TEST_F(EntropyTest, EndsAReadThatIsUnderWay) {
  SystemClock clock;
  SystemRandom random;
  ASSERT_EQ(mkfifo(Path("source").c_str(), 0600), 0);
  std::fstream device(Path("source"), std::ios::in | std::ios::out);
  device << std::string(32, 'x') << std::flush;  // Enough to start; the second read stalls.
  options_.source = "dev:" + Path("source");
  options_.reseed_period_seconds = 0;
  auto service =
      EntropyService::Start(options_, &clock, &random, &logger_, [](std::string_view) {});
  ASSERT_TRUE(service.ok()) << service.status();
  service->reset();  // Not after 60 s: the test's own time limit is 120 s for both reads.
  EXPECT_THAT(logger_.texts(), IsEmpty());
}

}  // namespace
}  // namespace mailrace::entropy

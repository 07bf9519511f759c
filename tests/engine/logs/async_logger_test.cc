#include "engine/logs/async_logger.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syslog.h>
#include <sys/un.h>
#include <unistd.h>

#include <condition_variable>
#include <cstring>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>
#include <vector>

namespace mailrace::logs {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

// Sunday, 8 November 2026, 06:30:00 UTC: a day of one digit.
const absl::Time kNow = absl::FromUnixSeconds(1'794'119'400);

// The sink's lines outlive it here.
struct Written {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> lines;
  int flushes = 0;
  int reopened = 0;
  bool stalled = false;
  bool in_flush = false;

  void WaitUntilInFlush() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return in_flush; });
  }
  void Release() {
    const std::lock_guard lock(mutex);
    stalled = false;
    changed.notify_all();
  }
};

class MemorySink final : public LogSink {
 public:
  explicit MemorySink(Written* written) : written_(written) {}
  void Append(const LogRecord& record) override { pending_.emplace_back(record.text); }
  void Flush() override {
    std::unique_lock lock(written_->mutex);
    written_->in_flush = true;
    written_->changed.notify_all();
    written_->changed.wait(lock, [this] { return !written_->stalled; });
    if (!pending_.empty()) ++written_->flushes;
    for (std::string& line : pending_) written_->lines.push_back(std::move(line));
    pending_.clear();
  }
  void Reopen() override { ++written_->reopened; }

 private:
  Written* const written_;
  std::vector<std::string> pending_;
};

LogOptions Named() {
  LogOptions options;
  options.syslog_name = "postfix";
  options.host = "myhost";
  return options;
}

std::string Tag(std::string_view service) {
  return "postfix/" + std::string(service) + "[" + std::to_string(getpid()) + "]: ";
}

class LoggerTest : public ::testing::Test {
 protected:
  LoggerTest() {
    std::string pattern = ::testing::TempDir() + "mailrace-logs-XXXXXX";
    directory_ = mkdtemp(pattern.data());
  }
  ~LoggerTest() override {
    for (const char* name : {"maillog", "maillog.1", "socket"}) unlink(Path(name).c_str());
    rmdir(directory_.c_str());
  }
  std::string Path(const std::string& name) const { return directory_ + "/" + name; }
  static std::string Contents(const std::string& path) {
    std::stringstream contents;
    contents << std::ifstream(path).rdbuf();
    return contents.str();
  }

  SimClock clock_{kNow};
  std::string directory_;
};

TEST_F(LoggerTest, WritesServiceProcessAndSeverityAsPostfixDoes) {
  Written written;
  {
    auto logger = AsyncLogger::OverSink(Named(), &clock_, std::make_unique<MemorySink>(&written));
    logger->Info("smtp", "A1: removed");
    logger->Warning("tlsmgr", "careful");
    logger->Log(Severity::kError, "qmgr", "e");
    logger->Log(Severity::kFatal, "master", "f");
    logger->Log(Severity::kPanic, "master", "p");
    logger->Log(Severity::kDebug, "master", "not asked for");
  }
  EXPECT_THAT(written.lines,
              ElementsAre(Tag("smtp") + "A1: removed", Tag("tlsmgr") + "warning: careful",
                          Tag("qmgr") + "error: e", Tag("master") + "fatal: f",
                          Tag("master") + "panic: p"));
}

TEST_F(LoggerTest, WritesDebugLinesOnlyIfAsked) {
  Written written;
  LogOptions options = Named();
  options.debug = true;
  AsyncLogger::OverSink(options, &clock_, std::make_unique<MemorySink>(&written))
      ->Log(Severity::kDebug, "smtp", "d");
  EXPECT_THAT(written.lines, ElementsAre(Tag("smtp") + "d"));
}

TEST_F(LoggerTest, KeepsOneEventOnOneLineOfBoundedLength) {
  Written written;
  {
    auto logger = AsyncLogger::OverSink(Named(), &clock_, std::make_unique<MemorySink>(&written));
    logger->Info("smtp", "a\nb\x1b");
    logger->Info("smtp", std::string(10'000, 'x'));
  }
  EXPECT_EQ(written.lines[0], Tag("smtp") + "a?b?");
  EXPECT_EQ(written.lines[1].size(), Tag("smtp").size() + kLineOctetsMax);
}

TEST_F(LoggerTest, DropsTheOldestAndSaysSoWhenTheSinkStalls) {
  Written written;
  written.stalled = true;
  LogOptions options = Named();
  options.queue_lines_max = 10;
  {
    auto logger = AsyncLogger::OverSink(options, &clock_, std::make_unique<MemorySink>(&written));
    logger->Info("smtp", "first");
    written.WaitUntilInFlush();
    for (int i = 0; i < 100; ++i) logger->Info("smtp", std::to_string(i));  // Does not block.
    EXPECT_EQ(logger->stats().dropped, 90u);
    EXPECT_EQ(logger->stats().waiting, 10u);
    written.Release();
  }
  ASSERT_THAT(written.lines, SizeIs(12));
  EXPECT_EQ(written.lines[0], Tag("smtp") + "first");
  EXPECT_EQ(written.lines[1], Tag("smtp") + "90");
  EXPECT_EQ(written.lines[10], Tag("smtp") + "99");
  EXPECT_THAT(written.lines[11], StartsWith(Tag("master") + "warning: 90 log lines were dropped"));
}

TEST_F(LoggerTest, WritesWhatGatheredInOneBatch) {
  Written written;
  written.stalled = true;
  {
    auto logger = AsyncLogger::OverSink(Named(), &clock_, std::make_unique<MemorySink>(&written));
    logger->Info("smtp", "first");
    written.WaitUntilInFlush();
    for (int i = 0; i < 500; ++i) logger->Info("smtp", "line");
    written.Release();
  }
  EXPECT_THAT(written.lines, SizeIs(501));
  EXPECT_EQ(written.flushes, 2);
}

TEST_F(LoggerTest, WhoWaitsFindsItsLinesWritten) {
  Written written;
  auto logger = AsyncLogger::OverSink(Named(), &clock_, std::make_unique<MemorySink>(&written));
  logger->Reopen();  // Asks for a flush, too: it must not be taken for ours.
  for (int i = 0; i < 1000; ++i) logger->Info("smtp", "line");
  ASSERT_TRUE(logger->WaitUntilWritten(absl::Minutes(5)));
  const std::lock_guard lock(written.mutex);
  EXPECT_THAT(written.lines, SizeIs(1000));
}

TEST_F(LoggerTest, WhoWaitsIsNotHeldByALogThatStalls) {
  Written written;
  written.stalled = true;
  auto logger = AsyncLogger::OverSink(Named(), &clock_, std::make_unique<MemorySink>(&written));
  logger->Info("smtp", "line");
  EXPECT_FALSE(logger->WaitUntilWritten(absl::Milliseconds(1)));
  written.Release();
}

TEST_F(LoggerTest, KeepsTheOrderOfEachOfManyThreads) {
  Written written;
  constexpr int kThreads = 4;
  constexpr int kLines = 1000;
  {
    auto logger = AsyncLogger::OverSink(Named(), &clock_, std::make_unique<MemorySink>(&written));
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&logger, t] {
        for (int i = 0; i < kLines; ++i) logger->Info(std::to_string(t), std::to_string(i));
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(logger->stats().dropped, 0u);
  }
  ASSERT_THAT(written.lines, SizeIs(kThreads * kLines));
  std::vector<int> next(kThreads, 0);
  for (const std::string& line : written.lines) {
    const int thread = line[std::strlen("postfix/")] - '0';
    EXPECT_THAT(line, EndsWith("]: " + std::to_string(next[thread]++)));
  }
}

TEST_F(LoggerTest, StampsAFilesLinesAsSyslogDoes) {
  auto sink = OpenFileSink(Path("maillog"), TraditionalStamp("myhost", absl::UTCTimeZone()));
  ASSERT_TRUE(sink.ok()) << sink.status();
  AsyncLogger::OverSink(Named(), &clock_, *std::move(sink))->Info("smtp", "A1: removed");
  EXPECT_EQ(Contents(Path("maillog")), "Nov  8 06:30:00 myhost " + Tag("smtp") + "A1: removed\n");
  struct stat status{};
  ASSERT_EQ(stat(Path("maillog").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(LoggerTest, AppendsToAFileThatIsThere) {
  std::ofstream(Path("maillog")) << "old\n";
  LogOptions options = Named();
  options.destination = LogOptions::Destination::kFile;
  options.file = Path("maillog");
  (*AsyncLogger::Open(options, &clock_))->Info("smtp", "new");
  EXPECT_THAT(Contents(Path("maillog")), StartsWith("old\n"));
  EXPECT_THAT(Contents(Path("maillog")), EndsWith(" myhost " + Tag("smtp") + "new\n"));
}

TEST_F(LoggerTest, NamesAFileThatCannotBeOpened) {
  LogOptions options = Named();
  options.destination = LogOptions::Destination::kFile;
  options.file = Path("none/maillog");
  const auto logger = AsyncLogger::Open(options, &clock_);
  ASSERT_FALSE(logger.ok());
  EXPECT_THAT(std::string(logger.status().message()),
              HasSubstr("cannot open log file " + options.file + ": No such file or directory"));
}

TEST_F(LoggerTest, ReopensItsFileAfterRotation) {
  LogOptions options = Named();
  options.destination = LogOptions::Destination::kFile;
  options.file = Path("maillog");
  auto logger = *AsyncLogger::Open(options, &clock_);
  logger->Info("smtp", "before");
  ASSERT_EQ(rename(Path("maillog").c_str(), Path("maillog.1").c_str()), 0);
  logger->Reopen();
  logger->Info("smtp", "after");
  logger.reset();
  EXPECT_THAT(Contents(Path("maillog")), EndsWith("after\n"));
}

TEST(FileSink, CountsWhatAFullDiskLoses) {
  // /dev/full answers every write with ENOSPC.
  auto sink = OpenFileSink("/dev/full", TraditionalStamp("h"));
  ASSERT_TRUE(sink.ok()) << sink.status();
  (*sink)->Append({kNow, Severity::kInfo, "one"});
  (*sink)->Append({kNow, Severity::kInfo, "two"});
  (*sink)->Flush();
  EXPECT_EQ((*sink)->lost(), 2u);
}

TEST(DescriptorSink, DropsWhatAStalledReaderDoesNotTakeAndStaysWhole) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  auto sink = MakeDescriptorSink(ends[1], TraditionalStamp("h", absl::UTCTimeZone()));
  sink->StopWaiting();
  const std::string line(1000, 'x');
  for (int i = 0; i < 100; ++i) sink->Append({kNow, Severity::kInfo, line});  // Over 64 KiB.
  sink->Flush();
  EXPECT_GT(sink->lost(), 0u);
  std::string read_back(1 << 20, '\0');
  read_back.resize(static_cast<size_t>(read(ends[0], read_back.data(), read_back.size())));
  sink->Append({kNow, Severity::kInfo, "after"});
  sink->Flush();
  std::string rest(1 << 16, '\0');
  rest.resize(static_cast<size_t>(read(ends[0], rest.data(), rest.size())));
  EXPECT_TRUE(read_back.ends_with('\n') || rest.starts_with('\n')) << "the cut line was ended";
  EXPECT_THAT(rest, EndsWith("Nov  8 06:30:00 h after\n"));
  close(ends[0]);
  close(ends[1]);
}

class SyslogTest : public LoggerTest {
 protected:
  void Listen() {
    unlink(Path("socket").c_str());
    daemon_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, Path("socket").c_str(), sizeof address.sun_path - 1);
    ASSERT_EQ(bind(daemon_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  std::string Receive() const {
    char datagram[4096];
    const ssize_t n = recv(daemon_, datagram, sizeof datagram, 0);
    return {datagram, static_cast<size_t>(n < 0 ? 0 : n)};
  }
  ~SyslogTest() override {
    if (daemon_ >= 0) close(daemon_);
  }
  int daemon_ = -1;
};

TEST_F(SyslogTest, SpeaksTheLocalProtocol) {
  Listen();
  auto sink = MakeSyslogSink(LOG_MAIL, TraditionalStamp("", absl::UTCTimeZone()), Path("socket"));
  sink->Append({kNow, Severity::kInfo, "postfix/smtp[7]: A1: removed"});
  sink->Append({kNow, Severity::kWarning, "postfix/smtp[7]: warning: w"});
  sink->Flush();
  EXPECT_EQ(Receive(), "<22>Nov  8 06:30:00 postfix/smtp[7]: A1: removed");
  EXPECT_EQ(Receive(), "<20>Nov  8 06:30:00 postfix/smtp[7]: warning: w");
  EXPECT_EQ(sink->lost(), 0u);
}

TEST_F(SyslogTest, FindsARestartedDaemonAgain) {
  auto sink = MakeSyslogSink(LOG_MAIL, TraditionalStamp("", absl::UTCTimeZone()), Path("socket"));
  sink->Append({kNow, Severity::kInfo, "nobody listens"});
  sink->Flush();
  EXPECT_EQ(sink->lost(), 1u);
  for (int start = 0; start < 2; ++start) {
    if (daemon_ >= 0) close(daemon_);
    Listen();
    sink->Append({kNow, Severity::kInfo, "x"});
    sink->Flush();
    EXPECT_THAT(Receive(), EndsWith(" x"));
  }
  EXPECT_EQ(sink->lost(), 1u);
}

TEST_F(SyslogTest, DropsWhatAHungDaemonDoesNotTake) {
  Listen();
  auto sink = MakeSyslogSink(LOG_MAIL, TraditionalStamp(""), Path("socket"));
  sink->StopWaiting();
  for (int i = 0; i < 5000; ++i) sink->Append({kNow, Severity::kInfo, std::string(1000, 'x')});
  sink->Flush();
  EXPECT_GT(sink->lost(), 0u);
}

TEST(SyslogFacility, IsParsedByName) {
  EXPECT_EQ(*ParseSyslogFacility("mail"), LOG_MAIL);
  EXPECT_EQ(*ParseSyslogFacility("LOCAL7"), LOG_LOCAL7);
  EXPECT_FALSE(ParseSyslogFacility("local8").ok());
}

TEST(TraditionalStamp, PadsTheDayWithASpaceAndFollowsTheClock) {
  TraditionalStamp stamp("h", absl::UTCTimeZone());
  EXPECT_EQ(stamp.At(kNow), "Nov  8 06:30:00 h ");
  EXPECT_EQ(stamp.At(kNow + absl::Hours(24 * 4)), "Nov 12 06:30:00 h ");
  EXPECT_EQ(stamp.At(kNow), "Nov  8 06:30:00 h ");
}

}  // namespace
}  // namespace mailrace::logs

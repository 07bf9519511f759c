#include "engine/logs/async_logger.h"

#include <fmt/format.h>
#include <pthread.h>
#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "base/text.h"

namespace mailrace::logs {
namespace {

// A batch is written when the queue is empty or this many lines are gathered.
constexpr size_t kBatchLinesMax = 512;
// After a batch the writer rests: lines that come meanwhile make one batch, and their
// callers need not wake it. Costs a line this much delay at most.
constexpr std::chrono::milliseconds kBatchRest(2);

spdlog::level::level_enum ToSpdlog(Severity severity) {
  switch (severity) {
    case Severity::kDebug:
      return spdlog::level::debug;
    case Severity::kInfo:
      return spdlog::level::info;
    case Severity::kWarning:
      return spdlog::level::warn;
    case Severity::kError:
      return spdlog::level::err;
    case Severity::kFatal:
    case Severity::kPanic:
      return spdlog::level::critical;
  }
  return spdlog::level::info;
}

Severity FromSpdlog(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::debug:
      return Severity::kDebug;
    case spdlog::level::warn:
      return Severity::kWarning;
    case spdlog::level::err:
      return Severity::kError;
    case spdlog::level::critical:
      return Severity::kFatal;
    default:
      return Severity::kInfo;
  }
}

std::string ShortHostName() {
  char name[256] = "localhost";
  gethostname(name, sizeof name - 1);
  const std::string_view whole(name);
  return std::string(whole.substr(0, whole.find('.')));
}

std::chrono::system_clock::time_point ToTimePoint(absl::Time time) {
  return std::chrono::system_clock::time_point(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(
          std::chrono::nanoseconds(absl::ToUnixNanos(time))));
}

std::string WithHost(const LogOptions& options) {
  return options.host.empty() ? ShortHostName() : options.host;
}

}  // namespace

std::string_view SeverityPrefix(Severity severity) {
  switch (severity) {
    case Severity::kDebug:
    case Severity::kInfo:
      return "";
    case Severity::kWarning:
      return "warning: ";
    case Severity::kError:
      return "error: ";
    case Severity::kFatal:
      return "fatal: ";
    case Severity::kPanic:
      return "panic: ";
  }
  return "";
}

// spdlog's queue and thread, and the adapter from its sink to ours.
class AsyncLogger::Core {
 public:
  Core(const LogOptions& options, std::string tag, std::unique_ptr<LogSink> sink)
      : sink_(std::move(sink)),
        pool_(std::make_shared<spdlog::details::thread_pool>(
            options.queue_lines_max, 1, [] { pthread_setname_np(pthread_self(), "log"); })),
        adapter_(std::make_shared<Adapter>(this, std::move(tag))),
        logger_(std::make_shared<spdlog::async_logger>(
            "mailrace", adapter_, pool_, spdlog::async_overflow_policy::overrun_oldest)) {
    logger_->set_level(spdlog::level::trace);
  }

  ~Core() {
    stopping_.store(true, std::memory_order_relaxed);
    sink_->StopWaiting();
    logger_.reset();
    pool_.reset();  // Writes what waits, then joins the thread.
    adapter_->Finish();
  }

  void Post(absl::Time time, Severity severity, std::string_view text) {
    logger_->log(ToTimePoint(time), spdlog::source_loc{}, ToSpdlog(severity),
                 spdlog::string_view_t(text.data(), text.size()));
  }

  void Reopen() {
    reopen_.store(true, std::memory_order_release);
    const std::scoped_lock lock(mutex_);
    ++flushes_asked_;
    logger_->flush();
  }

  bool WaitUntilWritten(absl::Duration limit) {
    std::unique_lock lock(mutex_);
    // The request waits its turn in the queue, so it is served behind every earlier line.
    const uint64_t mine = ++flushes_asked_;
    logger_->flush();
    return served_.wait_for(lock, absl::ToChronoNanoseconds(limit),
                            [this, mine] { return flushes_served_ >= mine; });
  }

  Stats stats() const {
    Stats stats;
    stats.dropped = pool_->overrun_counter();
    stats.lost = sink_->lost();
    stats.waiting = pool_->queue_size();
    return stats;
  }

 private:
  // Runs on the pool's thread only, so it needs no lock of its own; the destructor
  // flushes it after that thread was joined.
  class Adapter final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
   public:
    Adapter(Core* core, std::string tag)
        : core_(core), pool_(core->pool_.get()), tag_(std::move(tag)) {}

    // After the thread has ended, and the pool with it.
    void Finish() {
      ReportDropped(last_time_, overrun_);
      WriteOut();
    }

   protected:
    void sink_it_(const spdlog::details::log_msg& message) override {
      const absl::Time time = absl::FromChrono(message.time);
      core_->sink_->Append({time, FromSpdlog(message.level),
                            std::string_view(message.payload.data(), message.payload.size())});
      ++gathered_;
      // The pool's last word is a message in its queue, too: no batch need end before it.
      if (core_->stopping_.load(std::memory_order_relaxed)) {
        last_time_ = time;
        overrun_ = pool_->overrun_counter();
      }
      if (gathered_ < kBatchLinesMax && pool_->queue_size() > 0) return;
      ReportDropped(time, pool_->overrun_counter());
      WriteOut();
      if (!core_->stopping_.load(std::memory_order_relaxed)) {
        std::this_thread::sleep_for(kBatchRest);
      }
    }

    // A request that came through the queue.
    void flush_() override {
      WriteOut();
      core_->FlushServed();
    }

   private:
    void WriteOut() {
      if (core_->reopen_.exchange(false, std::memory_order_acquire)) core_->sink_->Reopen();
      core_->sink_->Flush();
      gathered_ = 0;
    }

    void ReportDropped(absl::Time time, uint64_t overrun) {
      const uint64_t dropped = overrun + core_->sink_->lost();
      if (dropped <= reported_) return;
      core_->sink_->Append(
          {time, Severity::kWarning,
           fmt::format("{}warning: {} log lines were dropped: the log is too slow or its disk "
                       "is full",
                       tag_, dropped - reported_)});
      reported_ = dropped;
    }

    Core* const core_;
    spdlog::details::thread_pool* const pool_;  // Outlives its thread's calls.
    const std::string tag_;
    size_t gathered_ = 0;
    uint64_t reported_ = 0;
    absl::Time last_time_;  // Of the last line, and how many were dropped before it;
    uint64_t overrun_ = 0;  // known once stopping.
  };

  void FlushServed() {
    {
      const std::scoped_lock lock(mutex_);
      ++flushes_served_;
    }
    served_.notify_all();
  }

  const std::unique_ptr<LogSink> sink_;
  std::mutex mutex_;
  std::condition_variable served_;
  // Under mutex_. They are served in turn; one that an overrun queue dropped leaves the
  // second behind for good, so a wait may fail then but never ends too early.
  uint64_t flushes_asked_ = 0;
  uint64_t flushes_served_ = 0;
  std::atomic<bool> reopen_{false};
  std::atomic<bool> stopping_{false};
  std::shared_ptr<spdlog::details::thread_pool> pool_;
  std::shared_ptr<Adapter> adapter_;
  std::shared_ptr<spdlog::async_logger> logger_;
};

AsyncLogger::AsyncLogger(const LogOptions& options, const Clock* clock,
                         std::unique_ptr<LogSink> sink)
    : tag_prefix_(options.syslog_name + "/"),
      tag_suffix_(fmt::format("[{}]: ", getpid())),
      debug_(options.debug),
      clock_(clock),
      core_(
          std::make_unique<Core>(options, tag_prefix_ + "master" + tag_suffix_, std::move(sink))) {}

AsyncLogger::~AsyncLogger() = default;

absl::StatusOr<std::unique_ptr<AsyncLogger>> AsyncLogger::Open(const LogOptions& options,
                                                               const Clock* clock) {
  std::unique_ptr<LogSink> sink;
  switch (options.destination) {
    case LogOptions::Destination::kStderr:
      sink = MakeDescriptorSink(STDERR_FILENO, TraditionalStamp(WithHost(options)));
      break;
    case LogOptions::Destination::kSyslog:
      // The log daemon knows the host: a local datagram does not name it.
      sink = MakeSyslogSink(options.facility, TraditionalStamp(""));
      break;
    case LogOptions::Destination::kFile: {
      auto file = OpenFileSink(options.file, TraditionalStamp(WithHost(options)));
      if (!file.ok()) return file.status();
      sink = *std::move(file);
      break;
    }
  }
  return OverSink(options, clock, std::move(sink));
}

std::unique_ptr<AsyncLogger> AsyncLogger::OverSink(const LogOptions& options, const Clock* clock,
                                                   std::unique_ptr<LogSink> sink) {
  return std::unique_ptr<AsyncLogger>(new AsyncLogger(options, clock, std::move(sink)));
}

void AsyncLogger::Log(Severity severity, std::string_view service, std::string line) {
  if (severity == Severity::kDebug && !debug_) return;
  fmt::basic_memory_buffer<char, 512> text;
  const auto append = [&text](std::string_view part) {
    text.append(part.data(), part.data() + part.size());
  };
  append(tag_prefix_);
  append(service);
  append(tag_suffix_);
  append(SeverityPrefix(severity));
  const bool plain = line.size() <= kLineOctetsMax && PlainOctets(line) == line.size();
  append(plain ? line : Printable(line, kLineOctetsMax));
  core_->Post(clock_->Wall(), severity, std::string_view(text.data(), text.size()));
}

void AsyncLogger::Reopen() { core_->Reopen(); }

bool AsyncLogger::WaitUntilWritten(absl::Duration limit) { return core_->WaitUntilWritten(limit); }

AsyncLogger::Stats AsyncLogger::stats() const { return core_->stats(); }

}  // namespace mailrace::logs

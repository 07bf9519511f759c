#include "engine/entropy/entropy_core.h"

#include <fmt/format.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace mailrace::entropy {
namespace {

constexpr std::string_view kService = "tlsmgr";
constexpr int64_t kSeedOctetsMax = 255;

bool KernelReady() {
  char octet = 0;
  return getrandom(&octet, 1, GRND_NONBLOCK) == 1;
}

}  // namespace

int64_t NextPeriodSeconds(int64_t period_seconds, uint8_t random_octet) {
  return period_seconds * random_octet / UINT8_MAX;
}

EntropyCore::EntropyCore(EntropyOptions options, const Clock* clock, Random* random, Logger* logger,
                         Sink sink)
    : options_(std::move(options)),
      clock_(clock),
      random_(random),
      logger_(logger),
      sink_(std::move(sink)),
      source_name_(SourceName::Parse(options_.source)),
      pause_(options_.retry_pause) {
  stats_.source = options_.source;
  stats_.exchange_file = options_.exchange_file;
}

void EntropyCore::Mix(std::string_view octets) {
  sink_(octets);
  epoch_.fetch_add(1, std::memory_order_release);
}

void EntropyCore::MixTimeOfDay() {
  // A few unpredictable bits at least, as Postfix does on every turn; not an epoch, and
  // never counted as entropy.
  const int64_t now = absl::ToUnixNanos(clock_->Wall()) ^ (static_cast<int64_t>(getpid()) << 32);
  sink_({reinterpret_cast<const char*>(&now), sizeof now});
}

absl::Status EntropyCore::Start() {
  MixTimeOfDay();
  if (source_name_.kind == SourceKind::kNone) {
    logger_->Warning(kService, "no entropy source specified with parameter tls_random_source");
    logger_->Warning(kService, "encryption keys etc. may be predictable");
  } else {
    OpenConfiguredSource();
  }
  if (!options_.exchange_file.empty()) {
    exchange_ = std::make_unique<ExchangeFile>(options_.exchange_file);
    if (absl::Status opened = exchange_->Open(); !opened.ok()) return opened;
    stats_.exchange_file_open = true;
    if (absl::Status updated = UpdateExchangeFile(); !updated.ok()) return updated;
  }
  stats_.next_exchange_update =
      exchange_ != nullptr ? After(options_.update_period_seconds) : MonoTime::Infinite();
  Reseed();
  return absl::OkStatus();
}

MonoTime EntropyCore::After(int64_t period_seconds) {
  return clock_->Mono() + absl::Seconds(NextPeriodSeconds(period_seconds, random_->NextByte()));
}

bool EntropyCore::OpenConfiguredSource() {
  absl::StatusOr<std::unique_ptr<EntropySource>> opened =
      OpenSource(source_name_, options_.read_time_limit, options_.cancel_fd);
  stats_.source_open = opened.ok();
  if (opened.ok()) {
    source_ = *std::move(opened);
    return true;
  }
  const std::string reason(opened.status().message());
  if (source_name_.kind == SourceKind::kDevice) {
    logger_->Warning(kService,
                     fmt::format("cannot open entropy device {}: {}", source_name_.path, reason));
  } else if (source_name_.kind == SourceKind::kEgd) {
    logger_->Warning(kService,
                     fmt::format("cannot connect to EGD server {}: {}", source_name_.path, reason));
  } else {
    logger_->Warning(kService,
                     fmt::format("cannot open entropy file {}: {}", source_name_.path, reason));
  }
  return false;
}

void EntropyCore::LogReadFailure(const absl::Status& why) {
  if (absl::IsCancelled(why)) return;  // The process ends: not the source's fault.
  const std::string reason(why.message());
  const std::string& path = source_name_.path;
  switch (source_name_.kind) {
    case SourceKind::kDevice:
      logger_->Info(kService, fmt::format("cannot read from entropy device {}: {} -- exiting to "
                                          "reopen",
                                          path, reason));
      break;
    case SourceKind::kEgd:
      logger_->Info(kService, reason);
      logger_->Info(kService,
                    fmt::format("lost connection to EGD server {} -- exiting to reconnect", path));
      break;
    case SourceKind::kFile:
      logger_->Warning(kService, fmt::format("cannot read from entropy file {}: {}", path, reason));
      break;
    case SourceKind::kNone:
      break;
  }
}

bool EntropyCore::ReadSource() {
  const absl::StatusOr<std::string> octets =
      source_->Read(static_cast<size_t>(std::max<int64_t>(options_.octets, 1)));
  if (octets.ok()) {
    stats_.octets_from_source += octets->size();
    ++stats_.reseeds;
    stats_.last_reseed = clock_->Mono();
    seeded_.store(true, std::memory_order_release);
    Mix(*octets);
  } else {
    ++stats_.source_failures;
    LogReadFailure(octets.status());
  }
  if (source_name_.kind == SourceKind::kFile) {
    // Its octets are used up whether or not they could be read.
    source_.reset();
    stats_.source_open = false;
    source_name_ = {};
    return true;
  }
  return octets.ok();
}

void EntropyCore::Reseed() {
  if (source_name_.kind != SourceKind::kNone) {
    if (source_ == nullptr) {
      logger_->Info(kService,
                    fmt::format("exiting to reopen external entropy source {}", options_.source));
      ++stats_.source_failures;
      RetrySourceLater();
      return;
    }
    if (!ReadSource()) {
      RetrySourceLater();
      return;
    }
    pause_ = options_.retry_pause;
  }
  stats_.next_reseed = After(options_.reseed_period_seconds);
}

void EntropyCore::RetrySourceLater() {
  // Postfix saves, sleeps a second, exits and is started anew; the same without exit.
  source_.reset();
  stats_.source_open = false;
  if (exchange_ != nullptr) ExchangeEvent();
  stats_.next_reseed = clock_->Mono() + pause_;
  pause_ = std::min(pause_ * 2, options_.retry_pause_max);
}

absl::Status EntropyCore::UpdateExchangeFile() {
  const auto mix = [this](std::string_view octets) {
    stats_.octets_from_exchange_file += octets.size();
    seeded_.store(true, std::memory_order_release);
    Mix(octets);
  };
  absl::Status updated = exchange_->Update(mix, random_);
  ++(updated.ok() ? stats_.exchange_updates : stats_.exchange_failures);
  return updated;
}

void EntropyCore::ExchangeEvent() {
  absl::Status done = absl::OkStatus();
  const bool removed = exchange_->is_open() && exchange_->Removed();
  if (removed) {
    logger_->Warning(kService, "PRNG exchange file was removed -- exiting to reopen");
  }
  if (removed || !exchange_->is_open()) {
    done = exchange_->Open();
    if (!done.ok()) ++stats_.exchange_failures;
  }
  if (done.ok()) done = UpdateExchangeFile();
  stats_.exchange_file_open = exchange_->is_open();
  stats_.next_exchange_update = After(options_.update_period_seconds);
  if (done.ok()) return;
  // Fatal to tlsmgr; here sessions go on and the file is tried again.
  logger_->Warning(kService, std::string(done.message()));
  stats_.next_exchange_update = clock_->Mono() + options_.retry_pause_max;
}

MonoTime EntropyCore::next_due() const {
  return std::min(stats_.next_reseed, stats_.next_exchange_update);
}

void EntropyCore::Tick() {
  MixTimeOfDay();
  if (exchange_ != nullptr && clock_->Mono() >= stats_.next_exchange_update) ExchangeEvent();
  if (clock_->Mono() < stats_.next_reseed) return;
  if (source_name_.kind != SourceKind::kNone && source_ == nullptr) OpenConfiguredSource();
  Reseed();
}

void EntropyCore::Stop() {
  if (exchange_ == nullptr || !exchange_->is_open()) return;
  if (absl::Status saved = UpdateExchangeFile(); !saved.ok()) {
    logger_->Warning(kService, std::string(saved.message()));
  }
}

absl::Status EntropyCore::ReadyForTls() const {
  if (seeded_.load(std::memory_order_acquire)) return absl::OkStatus();
  if (options_.kernel_ready ? options_.kernel_ready() : KernelReady()) return absl::OkStatus();
  return absl::UnavailableError(fmt::format(
      "no entropy for TLS: tls_random_source \"{}\" and the exchange file gave none, and the "
      "kernel's random generator is not initialised",
      options_.source));
}

absl::StatusOr<std::string> EntropyCore::Seed(int64_t octets) {
  if (octets < 1 || octets > kSeedOctetsMax) {
    const std::string message = fmt::format("bogus seed length \"{}\" in \"seed\" request", octets);
    logger_->Warning(kService, message);
    return absl::InvalidArgumentError(message);
  }
  std::string seed(static_cast<size_t>(octets), '\0');
  random_->Fill({reinterpret_cast<uint8_t*>(seed.data()), seed.size()});
  return seed;
}

}  // namespace mailrace::entropy

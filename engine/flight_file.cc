#include "engine/flight_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <system_error>

#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::engine {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "flight.";
constexpr std::string_view kNew = ".new";

std::string PathOf(const std::string& directory, int shard) {
  return fmt::format("{}/{}{}", directory, kPrefix, shard);
}

absl::Status FromErrno(int error, std::string_view what, const std::string& path) {
  const std::string text = fmt::format("cannot {} {}: {}", what, path, std::strerror(error));
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(text);
  return absl::UnavailableError(text);
}

// The shard's number of a journal's path; nothing for other files.
std::optional<uint64_t> ShardOf(const fs::path& path) {
  const std::string name = path.filename().string();
  if (!name.starts_with(kPrefix)) return std::nullopt;
  return ParseUint(std::string_view(name).substr(kPrefix.size()));
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  // One octet more than a journal has, so that a longer file is seen to be one.
  std::string text(FlightJournal::kOctets + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(std::max<std::streamsize>(0, file.gcount())));
  return text;
}

}  // namespace

BootId CurrentBootId() {
  BootId boot{};
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string text;
  file >> text;
  std::erase(text, '-');
  if (text.size() != boot.size() * 2) return boot;
  const auto digit = [](char c) {
    return static_cast<uint8_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
  };
  for (size_t i = 0; i < boot.size(); ++i) {
    boot[i] = static_cast<uint8_t>(digit(text[2 * i]) << 4 | (digit(text[2 * i + 1]) & 0xF));
  }
  return boot;
}

absl::StatusOr<std::unique_ptr<FlightFile>> FlightFile::Make(const std::string& directory,
                                                             int shard, const BootId& boot) {
  std::string path = PathOf(directory, shard);
  const std::string fresh = path + std::string(kNew);
  const int file = ::open(fresh.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return FromErrno(errno, "make", fresh);
  const int error = ::posix_fallocate(file, 0, FlightJournal::kOctets);
  void* const mapped = error != 0 ? MAP_FAILED
                                  : ::mmap(nullptr, FlightJournal::kOctets, PROT_READ | PROT_WRITE,
                                           MAP_SHARED | MAP_POPULATE, file, 0);
  const int failed = error != 0 ? error : errno;
  ::close(file);
  if (mapped == MAP_FAILED) {
    ::unlink(fresh.c_str());
    return FromErrno(failed, "make", fresh);
  }
  return std::unique_ptr<FlightFile>(
      new FlightFile(std::move(path), {static_cast<char*>(mapped), FlightJournal::kOctets}, boot));
}

FlightFile::~FlightFile() { ::munmap(region_.data(), region_.size()); }

absl::Status FlightFile::Publish() {
  if (::rename((path_ + std::string(kNew)).c_str(), path_.c_str()) == 0) return absl::OkStatus();
  return FromErrno(errno, "replace", path_);
}

void FlightFile::RemoveIfEmpty() {
  if (journal_.empty()) ::unlink(path_.c_str());
}

absl::StatusOr<EarlierFlights> ReadFlightFiles(const std::string& directory, const BootId& boot) {
  EarlierFlights found;
  std::error_code error;
  std::vector<std::string> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, error)) {
    if (ShardOf(entry.path())) files.push_back(entry.path().string());
  }
  if (error) return FromErrno(error.value(), "read", directory);
  std::sort(files.begin(), files.end());
  std::map<QueueId, std::pair<std::set<uint32_t>, uint32_t>> messages;
  for (const std::string& path : files) {
    const absl::StatusOr<FlightRecord> record = ReadFlights(ReadFile(path));
    if (absl::IsFailedPrecondition(record.status())) {
      return absl::FailedPreconditionError(
          fmt::format("{}: {}", path, std::string(record.status().message())));
    }
    if (!record.ok()) {
      found.complete = false;
      found.damaged_files.push_back(
          fmt::format("{} {}", path, std::string(record.status().message())));
      continue;
    }
    if (record->boot != boot || boot == BootId{}) found.complete = false;
    found.unnamed_recipients += record->unnamed_recipients;
    found.damaged_slots += record->damaged_slots;
    for (const FlightRecord::Flight& flight : record->flights) {
      auto& [recipients, more] = messages[flight.id];
      recipients.insert(flight.recipients.begin(), flight.recipients.end());
      more += flight.more;
    }
  }
  for (const auto& [id, flight] : messages) {
    found.flights.push_back({id, {flight.first.begin(), flight.first.end()}, flight.second});
  }
  return found;
}

void RemoveStaleFlightFiles(const std::string& directory, int shards) {
  std::vector<fs::path> stale;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, error)) {
    const std::optional<uint64_t> shard = ShardOf(entry.path());
    const std::string name = entry.path().filename().string();
    if ((shard && *shard >= static_cast<uint64_t>(shards)) ||
        (name.starts_with(kPrefix) && name.ends_with(kNew))) {
      stale.push_back(entry.path());
    }
  }
  for (const fs::path& path : stale) ::unlink(path.c_str());
}

}  // namespace mailrace::engine

#include "engine/admin/suspensions.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace mailrace::engine {

namespace {

using Json = nlohmann::json;

constexpr int kVersion = 1;
constexpr size_t kFileOctetsMax = 32 << 20;

absl::Status FromErrno(std::string_view what, const std::string& path) {
  const int error = errno;
  const std::string text = fmt::format("cannot {} {}: {}", what, path, std::strerror(error));
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(text);
  return absl::InternalError(text);
}

absl::Status WriteAndSync(int file, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t n = ::write(file, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FromErrno("write", path);
    text.remove_prefix(static_cast<size_t>(n));
  }
  return ::fsync(file) == 0 ? absl::OkStatus() : FromErrno("sync", path);
}

absl::Status SyncDirectory(const std::string& path) {
  const int directory = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return FromErrno("open", path);
  const absl::Status status = ::fsync(directory) == 0 ? absl::OkStatus() : FromErrno("sync", path);
  ::close(directory);
  return status;
}

bool IsText(const Json& json, const char* name) {
  return json.contains(name) && json[name].is_string();
}

}  // namespace

std::string SuspensionsPath(std::string_view queue_directory) {
  return fmt::format("{}/suspended", queue_directory);
}

std::string FormatSuspensions(const std::vector<Suspension>& suspensions) {
  Json list = Json::array();
  for (const Suspension& each : suspensions) {
    list.push_back({{"nexthop", each.nexthop},
                    {"reason", each.reason},
                    {"since", absl::ToUnixSeconds(each.since)}});
  }
  const Json json = {{"version", kVersion}, {"destinations", std::move(list)}};
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::StatusOr<std::vector<Suspension>> ParseSuspensions(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("version")) {
    return absl::DataLossError("is damaged: no JSON object with a \"version\"");
  }
  if (json["version"] != kVersion) {
    return absl::DataLossError(
        fmt::format("has version {}, this program knows {}", json["version"].dump(), kVersion));
  }
  const auto list = json.find("destinations");
  if (list == json.end() || !list->is_array() || list->size() > kSuspensionsMax) {
    return absl::DataLossError("is damaged: \"destinations\" is no list");
  }
  std::vector<Suspension> suspensions;
  for (const Json& each : *list) {
    if (!each.is_object() || !IsText(each, "nexthop") || !IsText(each, "reason") ||
        !each.contains("since") || !each["since"].is_number_integer()) {
      return absl::DataLossError("is damaged: a destination lacks nexthop, reason or since");
    }
    suspensions.push_back({each["nexthop"].get<std::string>(), each["reason"].get<std::string>(),
                           absl::FromUnixSeconds(each["since"].get<int64_t>())});
  }
  return suspensions;
}

absl::StatusOr<std::vector<Suspension>> LoadSuspensions(const std::string& queue_directory) {
  const std::string path = SuspensionsPath(queue_directory);
  std::error_code error;
  if (!std::filesystem::exists(path, error) && !error) return std::vector<Suspension>();
  if (std::filesystem::file_size(path, error) > kFileOctetsMax && !error) {
    return absl::DataLossError(fmt::format("{} is damaged: it is too large", path));
  }
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file.good() && !file.eof()) return FromErrno("read", path);
  absl::StatusOr<std::vector<Suspension>> suspensions = ParseSuspensions(text);
  if (suspensions.ok()) return suspensions;
  return absl::DataLossError(fmt::format(
      "{} {}: which destinations an operator suspended is not known; mend or remove the file", path,
      std::string(suspensions.status().message())));
}

absl::Status SaveSuspensions(const std::string& queue_directory,
                             const std::vector<Suspension>& suspensions) {
  const std::string path = SuspensionsPath(queue_directory);
  const std::string fresh = path + ".new";
  const int file = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return FromErrno("make", fresh);
  absl::Status status = WriteAndSync(file, FormatSuspensions(suspensions), fresh);
  ::close(file);
  if (status.ok() && ::rename(fresh.c_str(), path.c_str()) != 0) {
    status = FromErrno("replace", path);
  }
  if (!status.ok()) {
    ::unlink(fresh.c_str());
    return status;
  }
  return SyncDirectory(queue_directory);
}

}  // namespace mailrace::engine

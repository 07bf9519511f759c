#include "engine/tables/file_safety.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace mailrace::engine::tables {
namespace {

absl::Status Unsafe(std::string message) {
  return absl::FailedPreconditionError(std::move(message));
}

bool Ours(uid_t owner) { return owner == 0 || owner == geteuid(); }

// Every directory above `path`. /tmp and its like are fine: where the sticky bit is
// set, others cannot rename what is not theirs.
absl::Status CheckParents(const std::string& path) {
  for (size_t slash = path.rfind('/'); slash != std::string::npos;
       slash = path.rfind('/', slash - 1)) {
    const std::string directory = slash == 0 ? "/" : path.substr(0, slash);
    struct stat st;
    if (stat(directory.c_str(), &st) != 0) {
      return Unsafe(
          fmt::format("cannot examine directory {}: {}", directory, std::strerror(errno)));
    }
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (st.st_mode & S_ISVTX) == 0) {
      return Unsafe(fmt::format(
          "password file {} could be replaced: others can write to its directory {}; run: chmod "
          "go-w {}",
          path, directory, directory));
    }
    if (slash == 0) break;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckSecretFile(int fd, const std::string& path) {
  struct stat st;
  if (fstat(fd, &st) != 0) {
    return Unsafe(fmt::format("cannot examine {}: {}", path, std::strerror(errno)));
  }
  if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return Unsafe(fmt::format(
        "password file {} is open to others than its owner (mode {:04o}); run: chmod 600 {}", path,
        st.st_mode & 07777U, path));
  }
  if (!Ours(st.st_uid)) {
    return Unsafe(fmt::format(
        "password file {} belongs to user id {}, not to root or the running user; run: chown {} "
        "{}",
        path, st.st_uid, geteuid(), path));
  }
  struct stat link;
  if (lstat(path.c_str(), &link) == 0 && S_ISLNK(link.st_mode) && !Ours(link.st_uid)) {
    return Unsafe(
        fmt::format("password file {} is a symbolic link of user id {}; name the file itself", path,
                    link.st_uid));
  }
  // The way as written, and the way that it really takes: a link may leave a safe place.
  absl::Status status = CheckParents(path);
  if (!status.ok()) return status;
  const std::unique_ptr<char, decltype(&free)> real(realpath(path.c_str(), nullptr), &free);
  if (real == nullptr) {
    return Unsafe(fmt::format("cannot resolve {}: {}", path, std::strerror(errno)));
  }
  return CheckParents(real.get());
}

}  // namespace mailrace::engine::tables

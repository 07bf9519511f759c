// tls_random_exchange_name: random octets that survive a restart. Each update mixes the
// old octets in and replaces them, so that old contents never reappear; it is atomic and
// durable (new file, fsync, rename), and excluded against other processes by a lock.
// Lives on the entropy thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "base/random.h"

namespace mailrace::entropy {

inline constexpr size_t kExchangeOctets = 1024;

class ExchangeFile {
 public:
  explicit ExchangeFile(std::string path) : path_(std::move(path)) {}
  ExchangeFile(const ExchangeFile&) = delete;
  ExchangeFile& operator=(const ExchangeFile&) = delete;
  ~ExchangeFile();

  // Opens, or creates with mode 0600. Error: "cannot open PRNG exchange file PATH: reason".
  // A symbolic link or anything but a regular file is refused.
  absl::Status Open();
  // False after a failure that lost the file; Open tries again.
  bool is_open() const { return fd_ >= 0; }
  // True if someone removed the file since Open or the last Update; Open makes it anew.
  // REQUIRES: open.
  bool Removed() const;
  // Hands the old octets to `mix` (up to kExchangeOctets; none if the file is new), then
  // writes kExchangeOctets from `random`. Error: "cannot lock|read|write PRNG exchange file
  // PATH: reason"; the old octets then stay. REQUIRES: open.
  absl::Status Update(const std::function<void(std::string_view)>& mix, Random* random);

 private:
  absl::Status Failed(std::string_view verb) const;
  // Takes the lock of the file that has the name now. Another process may have replaced
  // it while we waited.
  absl::Status Lock();
  absl::Status Replace(std::string_view octets);
  void Close();

  const std::string path_;
  int fd_ = -1;
};

}  // namespace mailrace::entropy

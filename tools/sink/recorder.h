// Where accepted messages go: a line each in the record file, a file each in the store.
// All threads of a sink share one; thread-safe.
//
// The record file holds one JSON object a line: time (seconds), session, user, tls
// {protocol, cipher} where there is any, reverse_path, recipients, id (the X-Mailrace-Id
// header), octets, file (in the store).
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tools/common/append_file.h"
#include "tools/sink/options.h"

namespace mailrace::sink {

struct AcceptedMessage {
  uint64_t session = 0;
  uint64_t number = 0;  // In its session, from 1.
  absl::Time time;
  std::string_view user;
  std::string_view tls_protocol;
  std::string_view tls_cipher;
  std::string_view reverse_path;
  const std::vector<std::string>* recipients = nullptr;
  std::string_view id;
  uint64_t octets = 0;
  std::string_view content;  // Only if wants_content().
};

class Recorder {
 public:
  absl::Status Open(const SinkOptions& options);

  // Constant after Open().
  bool wants_content() const { return !store_directory_.empty(); }

  enum class Verdict { kAccepted, kLimitReached, kFailed };
  // After kAccepted the message counts, whatever becomes of the reply. kFailed: a file
  // could not be written; see status().
  Verdict Accept(const AcceptedMessage& message);

  // messages_max have been accepted.
  bool full() const;
  // Hands what is buffered to the operating system. The first failure ever.
  absl::Status Flush();

 private:
  std::string Line(const AcceptedMessage& message, std::string_view file_name) const;
  bool FullLocked() const { return messages_max_ > 0 && accepted_ >= messages_max_; }

  // Constant after Open().
  std::string store_directory_;
  uint64_t messages_max_ = 0;
  bool sync_ = false;
  bool records_ = false;

  mutable std::mutex mutex_;
  tools::AppendFile file_;  // Guarded by mutex_, and so are those below.
  uint64_t accepted_ = 0;
  absl::Status store_status_;
};

}  // namespace mailrace::sink

// `queue export` and `queue import`: messages as files.
//
//   DIR/ID.eml    the content as it was stored: RFC 5322, CRLF
//   DIR/ID.json   the envelope (engine/admin/exported_message.h); written last: what has it
//                 is whole
//   DIR/ID.imported   left by an import: the new queue id. Not imported again.
//   DIR/ID.importing  an import was begun and not ended: whether it was queued is not known.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"
#include "tools/mailrace/commands.h"

namespace mailrace::tools {

// Writes one message after the other into a directory. Files have mode 0600.
class ExportDirectory {
 public:
  explicit ExportDirectory(std::string path) : path_(std::move(path)) {}
  ~ExportDirectory();
  ExportDirectory(const ExportDirectory&) = delete;
  ExportDirectory& operator=(const ExportDirectory&) = delete;

  absl::Status Open();  // Makes it (0700) if it is missing.
  absl::Status Begin(const nlohmann::json& envelope);
  absl::Status Write(std::string_view content);
  // DataLoss if the content is not of the envelope's size: then it is removed again.
  absl::Status End();
  // What was begun is removed again.
  void Drop();
  bool begun() const { return file_ >= 0; }
  uint64_t written() const { return written_; }  // Messages.

 private:
  const std::string path_;
  nlohmann::json envelope_;
  std::string stem_;
  int file_ = -1;
  uint64_t octets_ = 0;
  uint64_t written_ = 0;
};

int ExportFromEngine(const std::string& queue_directory, const QueueArguments& arguments,
                     const nlohmann::json& request, const std::vector<std::string>& ids);
int ImportIntoEngine(const std::string& queue_directory, const QueueArguments& arguments);

}  // namespace mailrace::tools

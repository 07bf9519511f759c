#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/queue_id.h"
#include "engine/admin/control_protocol.h"
#include "fmt/format.h"
#include "tools/mailrace/queue_output.h"
#include "tools/mailrace/queue_transfer.h"
#include "transport/smtp/base64.h"

namespace mailrace::tools {

namespace {

using Json = nlohmann::json;

constexpr absl::Duration kTimeout = absl::Seconds(60);

absl::Status FromErrno(std::string_view what, const std::string& path) {
  return absl::InternalError(fmt::format("cannot {} {}: {}", what, path, std::strerror(errno)));
}

absl::Status WriteAll(int file, std::string_view octets, const std::string& path) {
  while (!octets.empty()) {
    const ssize_t n = ::write(file, octets.data(), octets.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FromErrno("write", path);
    octets.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::Status SyncAndClose(int file, const std::string& path) {
  const absl::Status status = ::fsync(file) == 0 ? absl::OkStatus() : FromErrno("sync", path);
  ::close(file);
  return status;
}

absl::Status Rename(const std::string& from, const std::string& to) {
  return ::rename(from.c_str(), to.c_str()) == 0 ? absl::OkStatus() : FromErrno("make", to);
}

}  // namespace

ExportDirectory::~ExportDirectory() { Drop(); }

absl::Status ExportDirectory::Open() {
  if (::mkdir(path_.c_str(), 0700) == 0 || errno == EEXIST) return absl::OkStatus();
  return FromErrno("make", path_);
}

absl::Status ExportDirectory::Begin(const Json& envelope) {
  Drop();
  // The name comes from the engine or a damaged queue: nothing but an id becomes a file.
  const std::optional<QueueId> id = QueueId::Parse(TextOf(envelope, "queue_id"));
  if (!id) return absl::DataLossError("an envelope without a queue id");
  envelope_ = envelope;
  stem_ = fmt::format("{}/{}", path_, id->ToString());
  octets_ = 0;
  const std::string path = stem_ + ".eml.part";
  file_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  return file_ >= 0 ? absl::OkStatus() : FromErrno("make", path);
}

absl::Status ExportDirectory::Write(std::string_view content) {
  octets_ += content.size();
  return WriteAll(file_, content, stem_ + ".eml.part");
}

absl::Status ExportDirectory::End() {
  const auto size = static_cast<uint64_t>(NumberOf(envelope_, "size"));
  if (octets_ != size) {
    Drop();
    return absl::DataLossError(
        fmt::format("the content has {} octets, the envelope says {}", octets_, size));
  }
  const std::string content = stem_ + ".eml";
  absl::Status status = SyncAndClose(std::exchange(file_, -1), content);
  if (status.ok()) status = Rename(content + ".part", content);
  if (!status.ok()) return status;
  const std::string envelope = stem_ + ".json";
  const std::string part = envelope + ".part";
  const int file =
      ::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return FromErrno("make", part);
  status =
      WriteAll(file, envelope_.dump(1, ' ', false, Json::error_handler_t::replace) + "\n", part);
  const absl::Status synced = SyncAndClose(file, part);
  if (status.ok()) status = synced;
  if (status.ok()) status = Rename(part, envelope);
  if (status.ok()) ++written_;
  return status;
}

void ExportDirectory::Drop() {
  if (file_ < 0) return;
  ::close(std::exchange(file_, -1));
  ::unlink((stem_ + ".eml.part").c_str());
}

namespace {

// What the engine says, line by line, into files.
class Receiver {
 public:
  explicit Receiver(ExportDirectory* directory) : directory_(directory) {}

  // False: nothing more can be written.
  bool Take(std::string_view line) {
    const Json json = Json::parse(line, nullptr, false);
    absl::Status status;
    if (json.contains("error")) {
      Complain(TextOf(json, "error"));
      exit_ = 75;
    } else if (json.contains("envelope")) {
      status = directory_->Begin(json["envelope"]);
      id_ = TextOf(json["envelope"], "queue_id");
    } else if (json.contains("content") && directory_->begun()) {
      const auto content = transport::smtp::DecodeBase64(TextOf(json, "content"));
      status = content ? directory_->Write(*content)
                       : absl::DataLossError("the engine's answer is damaged");
    } else if (json.contains("end") && directory_->begun()) {
      status = directory_->End();
      if (absl::IsDataLoss(status)) {
        Broken(std::string(status.message()));
        status = absl::OkStatus();
      }
    } else if (json.contains("broken")) {
      directory_->Drop();
      Broken(TextOf(json, "broken"));
    } else if (json.contains("unreadable")) {
      id_ = TextOf(json, "queue_id");
      Broken(TextOf(json, "unreadable"));
    }
    complete_ = complete_ || json.contains("summary") || json.contains("error");
    if (status.ok()) return true;
    Complain(std::string(status.message()));
    exit_ = 73;  // EX_CANTCREAT
    return false;
  }
  int exit() const { return exit_; }
  // Since the last call: the answer had its end.
  bool TakeComplete() { return std::exchange(complete_, false); }

 private:
  void Broken(const std::string& why) {
    Complain(fmt::format("{}: not exported: {}", id_, why));
    exit_ = 65;  // EX_DATAERR
  }
  ExportDirectory* const directory_;
  std::string id_;
  int exit_ = 0;
  bool complete_ = false;
};

}  // namespace

int ExportFromEngine(const std::string& queue_directory, const QueueArguments& arguments,
                     const Json& request, const std::vector<std::string>& ids) {
  ExportDirectory directory(arguments.target);
  if (absl::Status status = directory.Open(); !status.ok()) {
    Complain(std::string(status.message()));
    return 73;  // EX_CANTCREAT
  }
  Receiver receiver(&directory);
  constexpr size_t kIdsOfRequest = 1000;
  size_t begin = 0;
  do {
    Json part = request;
    const size_t end = std::min(ids.size(), begin + kIdsOfRequest);
    if (!ids.empty()) {
      part["ids"] = std::vector<std::string>(ids.begin() + static_cast<std::ptrdiff_t>(begin),
                                             ids.begin() + static_cast<std::ptrdiff_t>(end));
    }
    bool more = true;
    const absl::Status asked = engine::AskEngine(
        queue_directory, part.dump(-1, ' ', false, Json::error_handler_t::replace), kTimeout,
        [&](std::string_view line) { return more = receiver.Take(line); });
    if (!asked.ok()) {
      Complain(std::string(asked.message()));
      return absl::IsPermissionDenied(asked) ? 77 : 69;
    }
    if (!more) return receiver.exit();
    if (!receiver.TakeComplete()) {
      Complain("the engine's answer was cut short");
      return 69;
    }
    begin = end;
  } while (begin < ids.size());
  std::printf("export: %llu messages in %s\n", static_cast<unsigned long long>(directory.written()),
              arguments.target.c_str());
  if (receiver.exit() == 0 && directory.written() < ids.size()) return 66;  // EX_NOINPUT
  return receiver.exit();
}

}  // namespace mailrace::tools

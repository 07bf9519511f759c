#include "tools/sink/recorder.h"

#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "fmt/format.h"
#include "tools/common/json_object.h"

namespace mailrace::sink {

absl::Status Recorder::Open(const SinkOptions& options) {
  messages_max_ = options.messages_max;
  sync_ = options.record_sync;
  store_directory_ = options.store_directory;
  if (!store_directory_.empty()) {
    std::error_code error;
    std::filesystem::create_directories(store_directory_, error);
    if (error) {
      return absl::UnavailableError(fmt::format("{}: {}", store_directory_, error.message()));
    }
  }
  if (options.record_file.empty()) return absl::OkStatus();
  records_ = true;
  return file_.Open(options.record_file);
}

std::string Recorder::Line(const AcceptedMessage& message, std::string_view file_name) const {
  tools::JsonObject line;
  line.Number("time", absl::ToDoubleSeconds(message.time - absl::UnixEpoch()), 6)
      .Number("session", message.session);
  if (!message.user.empty()) line.Text("user", message.user);
  if (!message.tls_protocol.empty()) {
    tools::JsonObject tls;
    tls.Text("protocol", message.tls_protocol).Text("cipher", message.tls_cipher);
    line.Object("tls", tls);
  }
  line.Text("reverse_path", message.reverse_path).Texts("recipients", *message.recipients);
  if (!message.id.empty()) line.Text("id", message.id);
  line.Number("octets", message.octets);
  if (!file_name.empty()) line.Text("file", file_name);
  return line.ToString();
}

Recorder::Verdict Recorder::Accept(const AcceptedMessage& message) {
  std::string file_name;
  std::string path;
  absl::Status stored;
  if (wants_content()) {
    file_name = fmt::format("{}-{}.eml", message.session, message.number);
    path = store_directory_ + "/" + file_name;
    stored = tools::WriteFile(path, message.content);
  }
  const std::string line = records_ ? Line(message, file_name) : std::string();
  Verdict verdict = Verdict::kAccepted;
  {
    const std::lock_guard lock(mutex_);
    store_status_.Update(stored);
    if (!stored.ok()) return Verdict::kFailed;
    if (FullLocked()) {
      verdict = Verdict::kLimitReached;
    } else if (records_ && !file_.Append(line).ok()) {
      verdict = Verdict::kFailed;
    } else if (sync_ && !file_.Flush().ok()) {
      verdict = Verdict::kFailed;
    } else {
      ++accepted_;
    }
  }
  if (verdict != Verdict::kAccepted && !path.empty()) unlink(path.c_str());
  return verdict;
}

bool Recorder::full() const {
  const std::lock_guard lock(mutex_);
  return FullLocked();
}

absl::Status Recorder::Flush() {
  const std::lock_guard lock(mutex_);
  if (records_) store_status_.Update(file_.Flush());
  return store_status_;
}

}  // namespace mailrace::sink

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "engine/admin/control_protocol.h"
#include "fmt/format.h"
#include "tools/mailrace/queue_output.h"
#include "tools/mailrace/queue_transfer.h"

namespace mailrace::tools {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr absl::Duration kTimeout = absl::Seconds(60);
constexpr size_t kPieceOctets = 64 * 1024;
constexpr uint64_t kEnvelopeOctetsMax = 900 * 1024;  // Fits into one request.

absl::Status FromErrno(std::string_view what, const std::string& path) {
  return absl::InternalError(fmt::format("cannot {} {}: {}", what, path, std::strerror(errno)));
}

std::string ReadSmall(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The mark that a message was, or is just being, imported. Made before the engine is asked,
// so that no crash between its answer and ours makes two messages of one.
class Mark {
 public:
  explicit Mark(const std::string& stem) : begun_(stem + ".importing"), done_(stem + ".imported") {}

  // "" if it may be imported, else why not.
  std::string Refusal() const {
    std::error_code error;
    if (fs::exists(done_, error)) {
      return fmt::format("was imported before, as {}", OneWord(ReadSmall(done_)));
    }
    if (fs::exists(begun_, error)) {
      return "an earlier import of it did not end: it may be queued already (--force imports it)";
    }
    return {};
  }
  absl::Status Begin(bool force) {
    const int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (force ? O_TRUNC : O_EXCL);
    const int file = ::open(begun_.c_str(), flags, 0600);
    if (file < 0) return FromErrno("make", begun_);
    const bool synced = ::fsync(file) == 0;
    ::close(file);
    return synced ? SyncFolder() : FromErrno("sync", begun_);
  }
  absl::Status Succeed(const std::string& id) {
    const int file = ::open(begun_.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (file < 0) return FromErrno("write", begun_);
    const std::string text = id + "\n";
    const bool written =
        ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
        ::fsync(file) == 0;
    ::close(file);
    if (!written) return FromErrno("write", begun_);
    if (::rename(begun_.c_str(), done_.c_str()) != 0) return FromErrno("make", done_);
    return SyncFolder();
  }
  void Fail() { ::unlink(begun_.c_str()); }

 private:
  static std::string OneWord(const std::string& text) { return text.substr(0, text.find('\n')); }
  absl::Status SyncFolder() const {
    const std::string folder = fs::path(begun_).parent_path().string();
    const int handle =
        ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (handle < 0) return FromErrno("open", folder);
    const bool synced = ::fsync(handle) == 0;
    ::close(handle);
    return synced ? absl::OkStatus() : FromErrno("sync", folder);
  }
  const std::string begun_;
  const std::string done_;
};

struct Imported {
  std::string id;
  bool nothing_owed = false;
};

// Queues one message. InvalidArgument: the message is at fault; else the engine is.
absl::StatusOr<Imported> Send(const std::string& queue_directory, const std::string& envelope_file,
                              const std::string& content_file) {
  std::error_code error;
  if (fs::file_size(envelope_file, error) > kEnvelopeOctetsMax || error) {
    return absl::InvalidArgumentError(error ? error.message() : "the envelope is too large");
  }
  Json envelope = Json::parse(ReadSmall(envelope_file), nullptr, false);
  if (!envelope.is_object()) return absl::InvalidArgumentError("this is no JSON object");
  const uint64_t octets = fs::file_size(content_file, error);
  if (error)
    return absl::InvalidArgumentError(fmt::format("{}: {}", content_file, error.message()));
  if (envelope.contains("size") && envelope["size"] != octets) {
    return absl::InvalidArgumentError(fmt::format("the envelope says {} octets, {} has {}",
                                                  envelope["size"].dump(), content_file, octets));
  }
  std::ifstream content(content_file, std::ios::binary);
  std::string piece(kPieceOctets, '\0');
  const engine::ContentSource source = [&]() -> absl::StatusOr<std::string_view> {
    content.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    return std::string_view(piece).substr(0, static_cast<size_t>(content.gcount()));
  };
  Json answer;
  const Json request = {
      {"command", "import"}, {"envelope", std::move(envelope)}, {"octets", octets}};
  const absl::Status sent = engine::SendToEngine(
      queue_directory, request.dump(-1, ' ', false, Json::error_handler_t::replace), source,
      kTimeout, [&](std::string_view line) {
        answer = Json::parse(line, nullptr, false);
        return true;
      });
  if (!sent.ok()) return sent;
  if (answer.is_object() && answer.contains("imported"))
    return Imported{TextOf(answer, "imported")};
  if (!answer.is_object() || !answer.contains("error")) {
    return absl::UnavailableError("the engine's answer is not understood");
  }
  if (answer.value("nothing_owed", false)) return Imported{"", true};
  if (answer.value("temporary", false))
    return absl::ResourceExhaustedError(TextOf(answer, "error"));
  return absl::InvalidArgumentError(TextOf(answer, "error"));
}

// The envelopes that the arguments name. False: one cannot be read.
bool Collect(const std::vector<std::string>& sources, std::vector<std::string>* envelopes) {
  for (const std::string& source : sources) {
    std::error_code error;
    if (!fs::is_directory(source, error)) {
      if (!source.ends_with(".json")) {
        Complain(fmt::format("{}: neither a directory nor a .json file", source));
        return false;
      }
      envelopes->push_back(source);
      continue;
    }
    for (const fs::directory_entry& entry : fs::directory_iterator(source, error)) {
      if (entry.path().extension() == ".json") envelopes->push_back(entry.path().string());
    }
    if (error) {
      Complain(fmt::format("{}: {}", source, error.message()));
      return false;
    }
  }
  std::sort(envelopes->begin(), envelopes->end());
  return true;
}

}  // namespace

int ImportIntoEngine(const std::string& queue_directory, const QueueArguments& arguments) {
  std::vector<std::string> envelopes;
  if (!Collect(arguments.sources, &envelopes)) return 66;  // EX_NOINPUT
  int exit = 0;
  uint64_t imported = 0;
  uint64_t skipped = 0;
  for (const std::string& envelope : envelopes) {
    const std::string stem = envelope.substr(0, envelope.size() - std::strlen(".json"));
    Mark mark(stem);
    const std::string refusal = arguments.force ? "" : mark.Refusal();
    if (!refusal.empty()) {
      ++skipped;
      std::printf("%s: left out: %s\n", envelope.c_str(), refusal.c_str());
      continue;
    }
    if (absl::Status status = mark.Begin(arguments.force); !status.ok()) {
      Complain(std::string(status.message()));
      return 73;  // EX_CANTCREAT
    }
    const absl::StatusOr<Imported> result = Send(queue_directory, envelope, stem + ".eml");
    if (!result.ok()) {
      Complain(fmt::format("{}: {}", envelope, std::string(result.status().message())));
      // A connection that broke leaves open whether it was queued: the mark stays.
      if (!absl::IsUnavailable(result.status()) && !absl::IsDeadlineExceeded(result.status()) &&
          !absl::IsDataLoss(result.status())) {
        mark.Fail();
      }
      if (!absl::IsInvalidArgument(result.status())) {
        if (absl::IsNotFound(result.status())) return 69;
        return absl::IsPermissionDenied(result.status()) ? 77 : 75;
      }
      exit = 65;  // EX_DATAERR; the others are imported nevertheless.
      continue;
    }
    if (result->nothing_owed) {
      mark.Fail();
      ++skipped;
      std::printf("%s: left out: nothing of it is owed any more\n", envelope.c_str());
      continue;
    }
    ++imported;
    if (arguments.json) {
      std::printf("%s\n", Json({{"file", envelope}, {"imported", result->id}}).dump().c_str());
    }
    if (absl::Status status = mark.Succeed(result->id); !status.ok()) {
      Complain(fmt::format("{}: queued as {}, but {}", envelope, result->id,
                           std::string(status.message())));
      return 73;
    }
  }
  if (!arguments.json) {
    std::printf("import: %llu messages queued, %llu left out\n",
                static_cast<unsigned long long>(imported),
                static_cast<unsigned long long>(skipped));
  }
  return exit;
}

}  // namespace mailrace::tools

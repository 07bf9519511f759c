// The language of the store's tests: messages go in, a process or the power dies, and
// what is found afterwards is compared with what was acknowledged.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/logger.h"
#include "queue/rocksdb_store.h"
#include "queue/store.h"
#include "tests/queue/faulty_file_system.h"

namespace mailrace::queue {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "mailrace-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

class CapturingLogger final : public Logger {
 public:
  void Log(Severity, std::string_view service, std::string line) override {
    const std::lock_guard lock(mutex_);
    lines_ += std::string(service) + ": " + line + "\n";
    changed_.notify_all();
  }
  std::string lines() const {
    const std::lock_guard lock(mutex_);
    return lines_;
  }
  void WaitFor(std::string_view text) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return lines_.find(text) != lines_.npos; });
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string lines_;
};

inline std::string Message(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

inline Envelope EnvelopeOf(uint64_t id, uint32_t chunks = 1, int recipients = 2) {
  Envelope envelope;
  envelope.id = QueueId{id};
  envelope.arrival = absl::FromUnixSeconds(1'800'000'000);
  envelope.reverse_path = "sender@example.org";
  envelope.chunks = chunks;
  envelope.octets = chunks * 1000;
  envelope.message_id = "<" + std::to_string(id) + "@example.org>";
  for (int i = 0; i < recipients; ++i) {
    envelope.recipients.push_back({"rcpt" + std::to_string(i) + "@example.net", "", 0});
  }
  return envelope;
}

inline std::string BodyOf(uint64_t id, uint32_t chunk = 0) {
  std::string body(1000, static_cast<char>('a' + (id + chunk) % 26));
  return body + std::to_string(id) + "." + std::to_string(chunk);
}

inline WriteSet Accepted(uint64_t id, uint32_t chunks = 1) {
  WriteSet set;
  for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
    set.PutChunk(QueueId{id}, chunk, std::make_shared<const std::string>(BodyOf(id, chunk)));
  }
  set.PutMessage(EnvelopeOf(id, chunks));
  return set;
}

inline absl::Status CommitOne(Store* store, const WriteSet& set) {
  const WriteSet* const group[] = {&set};
  return store->Commit(group);
}

// The ids that are found, in the order found; every message must have its whole body.
inline std::vector<uint64_t> FoundIds(Store* store) {
  std::vector<uint64_t> ids;
  const absl::Status status = store->Recover([&](RecoveredMessage message) {
    ids.push_back(message.envelope.id.value);
    for (uint32_t chunk = 0; chunk < message.envelope.chunks; ++chunk) {
      const auto body = store->ReadChunk(message.envelope.id, chunk);
      EXPECT_TRUE(body.ok()) << body.status();
      if (body.ok()) {
        EXPECT_EQ(*body, BodyOf(message.envelope.id.value, chunk));
      }
    }
  });
  EXPECT_TRUE(status.ok()) << status;
  return ids;
}

inline std::vector<uint64_t> UpTo(uint64_t last) {
  std::vector<uint64_t> ids;
  for (uint64_t id = 1; id <= last; ++id) ids.push_back(id);
  return ids;
}

class RocksdbStoreTest : public testing::Test {
 protected:
  RocksdbStoreTest() {
    options_.directory = temporary_ / "spool";
    options_.memtable_octets = 8 << 20;
    options_.logger = &logger_;
    options_.marker_interval = absl::Hours(1);  // Written at open and at a clean close.
    options_.file_system = file_system_;
  }

  absl::Status Open() {
    store_.reset();
    absl::StatusOr<std::unique_ptr<Store>> store = OpenRocksdbStore(options_);
    if (store.ok()) store_ = *std::move(store);
    return store.status();
  }
  void MustOpen() {
    const absl::Status status = Open();
    ASSERT_TRUE(status.ok()) << status;
  }
  void Close() { store_.reset(); }

  void Accept(uint64_t first, uint64_t last) {
    for (uint64_t id = first; id <= last; ++id) {
      const absl::Status status = CommitOne(store_.get(), Accepted(id));
      ASSERT_TRUE(status.ok()) << status;
    }
  }
  void Remove(uint64_t id) {
    WriteSet set;
    set.RemoveMessage(QueueId{id}, 1, {}, false);
    const absl::Status status = CommitOne(store_.get(), set);
    ASSERT_TRUE(status.ok()) << status;
  }
  void CutPower() {
    file_system_->CutPower();
    store_.reset();
    file_system_->PowerOn();
  }

  std::string DatabaseFile(std::string_view name) const {
    return options_.directory + "/queue/" + std::string(name);
  }
  // The files of the database with this extension, oldest first.
  std::vector<std::string> DatabaseFiles(std::string_view extension) const {
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(options_.directory + "/queue")) {
      if (entry.path().extension() == extension) files.push_back(entry.path().string());
    }
    std::sort(files.begin(), files.end());
    return files;
  }
  // The log that holds the most.
  std::string MainLog() const {
    std::string main;
    for (const std::string& log : DatabaseFiles(".log")) {
      if (main.empty() || std::filesystem::file_size(log) > std::filesystem::file_size(main)) {
        main = log;
      }
    }
    return main;
  }
  std::vector<std::string> DamagedCopies() const {
    std::vector<std::string> copies;
    for (const auto& entry : std::filesystem::directory_iterator(options_.directory)) {
      if (entry.path().filename().string().starts_with("queue.damaged-")) {
        copies.push_back(entry.path().string());
      }
    }
    return copies;
  }
  static std::string ReadFile(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static void WriteFile(const std::string& path, const std::string& octets) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << octets;
  }
  static void FlipBit(const std::string& path, size_t offset) {
    std::string octets = ReadFile(path);
    octets.at(offset) = static_cast<char>(octets.at(offset) ^ 1);
    WriteFile(path, octets);
  }

  TemporaryDirectory temporary_;
  CapturingLogger logger_;
  std::shared_ptr<FaultyFileSystem> file_system_ =
      std::make_shared<FaultyFileSystem>(temporary_ / "graveyard");
  RocksdbStoreOptions options_;
  std::unique_ptr<Store> store_;
};

}  // namespace mailrace::queue

// A Logger that keeps its lines for tests to look at. Thread-safe.
#pragma once

#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/logger.h"

namespace mailrace::fakes {

class MemoryLogger final : public Logger {
 public:
  struct Line {
    Severity severity;
    std::string service;
    std::string text;
  };

  void Log(Severity severity, std::string_view service, std::string line) override {
    const std::lock_guard lock(mutex_);
    lines_.push_back({severity, std::string(service), std::move(line)});
  }

  std::vector<Line> lines() const {
    const std::lock_guard lock(mutex_);
    return lines_;
  }
  // The texts alone, a warning as "warning: …".
  std::vector<std::string> texts() const {
    std::vector<std::string> texts;
    for (const Line& line : lines()) {
      texts.push_back((line.severity == Severity::kWarning ? "warning: " : "") + line.text);
    }
    return texts;
  }
  bool Contains(std::string_view part) const {
    for (const Line& line : lines()) {
      if (line.text.find(part) != std::string::npos) return true;
    }
    return false;
  }
  void Clear() {
    const std::lock_guard lock(mutex_);
    lines_.clear();
  }

 private:
  mutable std::mutex mutex_;
  std::vector<Line> lines_;
};

}  // namespace mailrace::fakes

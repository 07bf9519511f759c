// The text of a main.cf: assignments with their places, later ones over earlier ones.
// Knows the syntax (postconf(5)), not the parameters.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/config/diagnostics.h"

namespace mailrace::engine::config {

struct Assignment {
  std::string value;  // Trimmed, not expanded.
  Place place;
};

class MainCf {
 public:
  // A main.cf of more than this is not one.
  static constexpr size_t kFileOctetsMax = 4 << 20;

  // Bad lines become errors with their line, the others are kept.
  static MainCf Parse(std::string_view file, std::string_view text, Diagnostics* diagnostics);

  // "name=value" as of "-o name=value": over the file's. Errors go to *diagnostics.
  void Override(std::string_view assignment, Diagnostics* diagnostics);

  // Null if the name is not assigned. Valid until the next change.
  const Assignment* Find(std::string_view name) const;
  const std::map<std::string, Assignment, std::less<>>& all() const { return assignments_; }

 private:
  // Empty message: fine.
  std::string Assign(std::string_view text, Place place, Diagnostics* diagnostics);
  std::map<std::string, Assignment, std::less<>> assignments_;
};

}  // namespace mailrace::engine::config

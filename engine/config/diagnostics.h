// What is wrong with a configuration, all of it, each with its place. Every loader
// (main.cf, lookup tables) adds to one list, so that an operator mends everything in
// one go. Not thread-safe; a plain value.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace mailrace::engine::config {

// Where a text stands. line 0: the file as a whole; file empty: no file (a default, a
// command-line override).
struct Place {
  std::string file;
  int line = 0;

  // "FILE:LINE", "FILE", or "built-in default".
  std::string ToString() const;
};

struct Diagnostic {
  // kNote is for what is merely worth knowing (a Postfix parameter without meaning here).
  enum class Severity { kError, kWarning, kNote };
  Severity severity = Severity::kError;
  Place place;
  std::string parameter;  // Empty: not about one parameter.
  std::string message;    // One line, without a secret.

  // "FILE:LINE: error: PARAMETER: message"; editors and terminals make it a link.
  std::string ToString() const;
};

class Diagnostics {
 public:
  // A file of a million bad lines must not become a million messages.
  static constexpr size_t kMessagesMax = 200;

  void Error(Place place, std::string_view parameter, std::string message);
  void Warning(Place place, std::string_view parameter, std::string message);
  void Note(Place place, std::string_view parameter, std::string message);
  void Append(const Diagnostics& other);

  // In the order of their coming. Messages after kMessagesMax of one severity are only
  // counted.
  const std::vector<Diagnostic>& all() const { return all_; }
  bool has_errors() const { return errors_ > 0; }
  size_t errors() const { return errors_; }
  size_t warnings() const { return warnings_; }
  size_t notes() const { return notes_; }

  // One line each, errors and warnings; notes only if asked for. Says how many were
  // left out.
  std::string ToString(bool with_notes = true) const;

 private:
  void Add(Diagnostic::Severity severity, Place place, std::string_view parameter,
           std::string message, size_t* count);
  std::vector<Diagnostic> all_;
  size_t errors_ = 0;
  size_t warnings_ = 0;
  size_t notes_ = 0;
};

}  // namespace mailrace::engine::config

#include "engine/config/diagnostics.h"

#include <fmt/format.h>

#include <utility>

#include "base/text.h"

namespace mailrace::engine::config {
namespace {

std::string_view Word(Diagnostic::Severity severity) {
  switch (severity) {
    case Diagnostic::Severity::kError:
      return "error";
    case Diagnostic::Severity::kWarning:
      return "warning";
    case Diagnostic::Severity::kNote:
      return "note";
  }
  return "error";
}

}  // namespace

std::string Place::ToString() const {
  if (file.empty()) return "built-in default";
  return line > 0 ? fmt::format("{}:{}", file, line) : file;
}

std::string Diagnostic::ToString() const {
  std::string out;
  if (!place.file.empty()) out = place.ToString() + ": ";
  out += fmt::format("{}: ", Word(severity));
  if (!parameter.empty()) out += fmt::format("{}: ", parameter);
  return out + message;
}

void Diagnostics::Add(Diagnostic::Severity severity, Place place, std::string_view parameter,
                      std::string message, size_t* count) {
  ++*count;
  if (*count > kMessagesMax) return;
  all_.push_back({severity, std::move(place), Printable(parameter, 256), Printable(message, 2048)});
}

void Diagnostics::Error(Place place, std::string_view parameter, std::string message) {
  Add(Diagnostic::Severity::kError, std::move(place), parameter, std::move(message), &errors_);
}

void Diagnostics::Warning(Place place, std::string_view parameter, std::string message) {
  Add(Diagnostic::Severity::kWarning, std::move(place), parameter, std::move(message), &warnings_);
}

void Diagnostics::Note(Place place, std::string_view parameter, std::string message) {
  Add(Diagnostic::Severity::kNote, std::move(place), parameter, std::move(message), &notes_);
}

void Diagnostics::Append(const Diagnostics& other) {
  size_t kept[3] = {0, 0, 0};
  for (const Diagnostic& d : other.all_) {
    ++kept[static_cast<int>(d.severity)];
    switch (d.severity) {
      case Diagnostic::Severity::kError:
        Error(d.place, d.parameter, d.message);
        break;
      case Diagnostic::Severity::kWarning:
        Warning(d.place, d.parameter, d.message);
        break;
      case Diagnostic::Severity::kNote:
        Note(d.place, d.parameter, d.message);
        break;
    }
  }
  errors_ += other.errors_ - kept[0];
  warnings_ += other.warnings_ - kept[1];
  notes_ += other.notes_ - kept[2];
}

std::string Diagnostics::ToString(bool with_notes) const {
  std::string out;
  size_t shown_errors = 0;
  size_t shown_warnings = 0;
  for (const Diagnostic& d : all_) {
    if (d.severity == Diagnostic::Severity::kNote && !with_notes) continue;
    shown_errors += d.severity == Diagnostic::Severity::kError ? 1 : 0;
    shown_warnings += d.severity == Diagnostic::Severity::kWarning ? 1 : 0;
    out += d.ToString() + "\n";
  }
  if (errors_ > shown_errors) out += fmt::format("and {} more errors\n", errors_ - shown_errors);
  if (warnings_ > shown_warnings) {
    out += fmt::format("and {} more warnings\n", warnings_ - shown_warnings);
  }
  return out;
}

}  // namespace mailrace::engine::config

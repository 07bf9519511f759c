// Lookup tables in postmap's text form, and inline ones: whole or refused, what was
// written is found, and a credential that could break out of a command is not let in.
#include "base/text.h"
#include "engine/config/values.h"
#include "engine/tables/inline_table.h"
#include "engine/tables/text_table.h"
#include "fuzz_input.h"

namespace mailrace::engine::tables {
namespace {

using config::Diagnostics;

void CheckTable(const LookupTable& table, const TableLoadOptions& options,
                const std::string& text) {
  table.ForEach([&](std::string_view key, std::string_view value) {
    FUZZ_CHECK(key == AsciiLowered(key), text);
    for (const std::string& spelt : {std::string(key), AsciiUppered(key)}) {
      const absl::StatusOr<std::optional<TableHit>> hit = table.Lookup(spelt);
      FUZZ_CHECK(hit.ok() && hit->has_value(), text);
      FUZZ_CHECK((*hit)->value == value, text);
      FUZZ_CHECK(!(*hit)->origin.empty(), text);
    }
    FUZZ_CHECK(!value.empty() || !options.credentials, text);
    FUZZ_CHECK(Trim(value) == value, text);
    if (!options.credentials) return;
    FUZZ_CHECK(value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos, text);
    // The delimiter alone is nobody with a name: EXTERNAL.
    FUZZ_CHECK(!value.starts_with(options.delimiter) || value == options.delimiter, text);
  });
}

// Tables with passwords say nothing of their values.
void CheckMessages(const Diagnostics& diagnostics, const std::string& text) {
  for (const config::Diagnostic& diagnostic : diagnostics.all()) {
    const std::string line = diagnostic.ToString();
    FUZZ_CHECK(line.find_first_of("\r\n") == std::string::npos, text);
  }
}

void CheckText(const std::string& text, const TableLoadOptions& options) {
  Diagnostics diagnostics;
  const std::shared_ptr<const LookupTable> table =
      ParseTextTable("hash:t", "t", text, options, &diagnostics);
  FUZZ_CHECK((table == nullptr) == diagnostics.has_errors(), text);
  CheckMessages(diagnostics, text);
  if (table == nullptr) return;
  CheckTable(*table, options, text);
  // Written out, it is the same table again.
  std::string written;
  size_t entries = 0;
  table->ForEach([&](std::string_view key, std::string_view value) {
    written.append(key).append("\t").append(value).append("\n");
    ++entries;
  });
  Diagnostics none;
  const std::shared_ptr<const LookupTable> again =
      ParseTextTable("hash:t", "t", written, options, &none);
  FUZZ_CHECK(again != nullptr, text);
  again->ForEach([&](std::string_view key, std::string_view value) {
    const auto hit = table->Lookup(key);
    FUZZ_CHECK(hit.ok() && hit->has_value() && (*hit)->value == value, text);
    --entries;
  });
  FUZZ_CHECK(entries == 0, text);
}

void CheckInline(const std::string& text, const TableLoadOptions& options) {
  Diagnostics diagnostics;
  const std::shared_ptr<const LookupTable> table = MakeInlineTable(text, options, &diagnostics);
  FUZZ_CHECK((table == nullptr) == diagnostics.has_errors(), text);
  CheckMessages(diagnostics, text);
  if (table != nullptr) CheckTable(*table, options, text);
}

void CheckList(const std::string& text) {
  const absl::StatusOr<std::vector<std::string>> words = config::SplitList(text);
  if (!words.ok()) return;
  size_t octets = 0;
  for (const std::string& word : *words) {
    FUZZ_CHECK(!word.empty(), text);
    FUZZ_CHECK(
        std::count(word.begin(), word.end(), '{') == std::count(word.begin(), word.end(), '}'),
        text);
    octets += word.size();
  }
  FUZZ_CHECK(octets <= text.size(), text);
}

}  // namespace
}  // namespace mailrace::engine::tables

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mailrace::engine::tables;  // NOLINT: one function.
  const std::string text(reinterpret_cast<const char*>(data), size);
  TableLoadOptions options;
  options.parameter = "smtp_sasl_password_maps";
  for (const bool credentials : {false, true}) {
    options.credentials = credentials;
    CheckText(text, options);
    CheckInline(text, options);
  }
  CheckList(text);
  return 0;
}

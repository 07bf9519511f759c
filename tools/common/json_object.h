// One JSON object as text, member by member: what the sink writes for every message and
// both programs print at their end. Written by hand because the record file is on the
// sink's hot path.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mailrace::tools {

// The text between quotes: control characters escaped, malformed UTF-8 as U+FFFD.
void AppendJsonText(std::string_view text, std::string* out);

class JsonObject {
 public:
  JsonObject& Text(std::string_view name, std::string_view value);
  JsonObject& Texts(std::string_view name, const std::vector<std::string>& values);
  JsonObject& Number(std::string_view name, uint64_t value);
  JsonObject& Number(std::string_view name, double value, int decimals);
  JsonObject& Bool(std::string_view name, bool value);
  JsonObject& Object(std::string_view name, const JsonObject& value);

  // On one line, without its end.
  std::string ToString() const { return "{" + members_ + "}"; }

 private:
  void Name(std::string_view name);
  std::string members_;
};

}  // namespace mailrace::tools

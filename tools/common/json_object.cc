#include "tools/common/json_object.h"

#include <iterator>

#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::tools {

void AppendJsonText(std::string_view text, std::string* out) {
  out->push_back('"');
  while (!text.empty()) {
    const char c = text[0];
    if (c == '"' || c == '\\') {
      out->push_back('\\');
      out->push_back(c);
      text.remove_prefix(1);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      fmt::format_to(std::back_inserter(*out), "\\u{:04x}", static_cast<unsigned>(c));
      text.remove_prefix(1);
    } else if (const size_t octets = Utf8SequenceOctets(text); octets > 0) {
      out->append(text.substr(0, octets));
      text.remove_prefix(octets);
    } else {
      out->append("\\ufffd");
      text.remove_prefix(1);
    }
  }
  out->push_back('"');
}

void JsonObject::Name(std::string_view name) {
  if (!members_.empty()) members_.push_back(',');
  AppendJsonText(name, &members_);
  members_.push_back(':');
}

JsonObject& JsonObject::Text(std::string_view name, std::string_view value) {
  Name(name);
  AppendJsonText(value, &members_);
  return *this;
}

JsonObject& JsonObject::Texts(std::string_view name, const std::vector<std::string>& values) {
  Name(name);
  members_.push_back('[');
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) members_.push_back(',');
    AppendJsonText(values[i], &members_);
  }
  members_.push_back(']');
  return *this;
}

JsonObject& JsonObject::Number(std::string_view name, uint64_t value) {
  Name(name);
  fmt::format_to(std::back_inserter(members_), "{}", value);
  return *this;
}

JsonObject& JsonObject::Number(std::string_view name, double value, int decimals) {
  Name(name);
  fmt::format_to(std::back_inserter(members_), "{:.{}f}", value, decimals);
  return *this;
}

JsonObject& JsonObject::Bool(std::string_view name, bool value) {
  Name(name);
  members_.append(value ? "true" : "false");
  return *this;
}

JsonObject& JsonObject::Object(std::string_view name, const JsonObject& value) {
  Name(name);
  members_.append(value.ToString());
  return *this;
}

}  // namespace mailrace::tools

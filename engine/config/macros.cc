#include "engine/config/macros.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"

namespace mailrace::engine::config {
namespace {

// An expansion makes at most this many references: "$a" = "$b$b", "$b" = "$c$c" … would
// else be exponential work with an empty result.
constexpr int kReferencesMax = 10000;

bool IsNameChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}
bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

std::string_view SkipSpace(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  return text;
}

std::string_view Excerpt(std::string_view text) { return text.substr(0, 60); }

absl::Status Bad(std::string message) { return absl::InvalidArgumentError(std::move(message)); }

// The length of a bracketed text at the start of `text` (with both brackets), or npos.
size_t Balanced(std::string_view text, char open, char close) {
  int level = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == open) ++level;
    if (text[i] == close && --level == 0) return i + 1;
  }
  return std::string_view::npos;
}

bool AllDigits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

std::optional<std::array<long long, 3>> ParseLevel(std::string_view text) {
  std::array<long long, 3> level{0, 0, 0};
  for (size_t part = 0;; ++part) {
    const size_t dot = text.find('.');
    const std::optional<uint64_t> number = ParseUint(text.substr(0, dot));
    if (part >= level.size() || !number || *number > 1'000'000) return std::nullopt;
    level[part] = static_cast<long long>(*number);
    if (dot == std::string_view::npos) return level;
    text.remove_prefix(dot + 1);
  }
}

class Expander {
 public:
  explicit Expander(const MacroLookup& lookup) : lookup_(lookup) {}

  absl::Status Expand(std::string_view text, int depth, std::string* out) {
    while (!text.empty()) {
      const size_t dollar = text.find('$');
      out->append(text.substr(0, dollar));
      if (out->size() > kExpandedOctetsMax) {
        return Bad(fmt::format("value expands to more than {} octets", kExpandedOctetsMax));
      }
      if (dollar == std::string_view::npos) break;
      const std::string_view whole = text;
      text.remove_prefix(dollar + 1);
      if (text.starts_with('$')) {
        out->push_back('$');
        text.remove_prefix(1);
        continue;
      }
      std::string_view body;
      absl::Status status = TakeBody(whole, &text, &body);
      if (status.ok()) status = Reference(body, depth, out);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

 private:
  // Takes what follows a '$' off *text.
  absl::Status TakeBody(std::string_view whole, std::string_view* text, std::string_view* body) {
    if (text->starts_with('{') || text->starts_with('(')) {
      const char open = text->front();
      const size_t length = Balanced(*text, open, open == '{' ? '}' : ')');
      if (length == std::string_view::npos) {
        return Bad(fmt::format("truncated macro reference: \"{}\"", Excerpt(whole)));
      }
      *body = text->substr(1, length - 2);
      text->remove_prefix(length);
    } else {
      size_t length = 0;
      while (length < text->size() && IsNameChar((*text)[length])) ++length;
      *body = text->substr(0, length);
      text->remove_prefix(length);
    }
    if (body->empty()) return Bad(fmt::format("empty macro name: \"{}\"", Excerpt(whole)));
    return absl::OkStatus();
  }

  absl::Status Reference(std::string_view body, int depth, std::string* out) {
    if (depth >= kMacroNestingMax || ++references_ > kReferencesMax) {
      return Bad(fmt::format("unreasonable macro call nesting: \"{}\"", Excerpt(body)));
    }
    std::string_view rest = SkipSpace(body);
    std::optional<std::string> value;
    if (rest.starts_with('{')) {
      absl::Status status = Comparison(&rest, depth, &value);
      if (!status.ok()) return status;
      if (!rest.empty() && rest.front() != '?' && rest.front() != ':') {
        return Bad(fmt::format("\"?\" or \":\" expected at: \"{}\"", Excerpt(rest)));
      }
      if (rest.empty()) {
        out->append(*value);
        return absl::OkStatus();
      }
      return Choose(*value, rest, depth, out);
    }
    size_t length = 0;
    while (length < rest.size() && IsNameChar(rest[length])) ++length;
    const std::string_view name = rest.substr(0, length);
    rest = SkipSpace(rest.substr(length));
    if (name.empty() || (!rest.empty() && rest.front() != '?' && rest.front() != ':')) {
      return Bad(fmt::format("attribute name syntax error at: \"{}\"", Excerpt(body)));
    }
    value = lookup_(name, rest.empty());
    if (!rest.empty()) return Choose(value.value_or(""), rest, depth, out);
    return value ? Expand(*value, depth + 1, out) : absl::OkStatus();
  }

  // `rest` begins with '?' or ':'.
  absl::Status Choose(const std::string& value, std::string_view rest, int depth,
                      std::string* out) {
    const bool ternary = rest.front() == '?';
    rest.remove_prefix(1);
    std::string_view if_true;
    std::string_view if_false;
    absl::Status status = Operand(&rest, ternary ? &if_true : &if_false);
    if (!status.ok()) return status;
    if (ternary && !rest.empty()) {
      if (rest.front() != ':') {
        return Bad(fmt::format("\":\" expected at: \"{}\"", Excerpt(rest)));
      }
      rest.remove_prefix(1);
      status = Operand(&rest, &if_false);
      if (!status.ok()) return status;
    }
    if (!rest.empty()) return Bad(fmt::format("unexpected input at: \"{}\"", Excerpt(rest)));
    return Expand(value.empty() ? if_false : if_true, depth + 1, out);
  }

  // "{text}" (white space around it does not count) or all of the rest.
  absl::Status Operand(std::string_view* rest, std::string_view* operand) {
    const std::string_view trimmed = SkipSpace(*rest);
    if (!trimmed.starts_with('{')) {
      *operand = trimmed;
      *rest = {};
      return absl::OkStatus();
    }
    const size_t length = Balanced(trimmed, '{', '}');
    if (length == std::string_view::npos) {
      return Bad(fmt::format("unbalanced {{}} in attribute expression: \"{}\"", Excerpt(trimmed)));
    }
    *operand = trimmed.substr(1, length - 2);
    *rest = SkipSpace(trimmed.substr(length));
    return absl::OkStatus();
  }

  absl::Status Comparison(std::string_view* rest, int depth, std::optional<std::string>* value) {
    std::string_view left;
    absl::Status status = Operand(rest, &left);
    if (!status.ok()) return status;
    const size_t op_length = std::min(rest->find_first_not_of("<>!=?+-*/~&|%"), rest->size());
    const std::string_view op = rest->substr(0, op_length);
    if (op != "==" && op != "!=" && op != "<" && op != "<=" && op != ">=" && op != ">") {
      return Bad(fmt::format("\"==\", \"!=\", \"<\", \"<=\", \">=\" or \">\" expected at: \"{}\"",
                             Excerpt(*rest)));
    }
    rest->remove_prefix(op_length);
    const size_t brace = std::min(rest->find('{'), rest->size());
    const std::string_view suffix = rest->substr(0, brace);
    const bool level = suffix.starts_with("level");
    if (!SkipSpace(suffix.substr(level ? 5 : 0)).empty()) {
      return Bad(fmt::format("bad operator suffix at: \"{}\"", Excerpt(*rest)));
    }
    rest->remove_prefix(brace);
    if (rest->empty()) return Bad("\"{expression}\" expected after the operator");
    std::string_view right;
    status = Operand(rest, &right);
    if (!status.ok()) return status;
    std::string left_text;
    std::string right_text;
    status = Expand(left, depth + 1, &left_text);
    if (status.ok()) status = Expand(right, depth + 1, &right_text);
    if (!status.ok()) return status;
    absl::StatusOr<int> order = Compare(left_text, right_text, level);
    if (!order.ok()) return order.status();
    *value = Holds(op, *order) ? "true" : "";
    return absl::OkStatus();
  }

  static absl::StatusOr<int> Compare(const std::string& a, const std::string& b, bool level) {
    if (level) {
      const std::optional<int> order = CompareLevels(a, b);
      if (!order) return Bad(fmt::format("bad level in comparison: \"{}\" and \"{}\"", a, b));
      return *order;
    }
    if (AllDigits(a) && AllDigits(b)) {
      const std::optional<uint64_t> x = ParseUint(a);
      const std::optional<uint64_t> y = ParseUint(b);
      if (!x || !y) return Bad(fmt::format("number too large in comparison: \"{}\"", x ? b : a));
      return *x < *y ? -1 : (*x > *y ? 1 : 0);
    }
    const int order = a.compare(b);
    return order < 0 ? -1 : (order > 0 ? 1 : 0);
  }

  static bool Holds(std::string_view op, int order) {
    if (op == "==") return order == 0;
    if (op == "!=") return order != 0;
    if (op == "<") return order < 0;
    if (op == "<=") return order <= 0;
    if (op == ">=") return order >= 0;
    return order > 0;
  }

  const MacroLookup& lookup_;
  int references_ = 0;
};

}  // namespace

absl::StatusOr<std::string> ExpandMacros(std::string_view text, const MacroLookup& lookup) {
  std::string out;
  Expander expander(lookup);
  absl::Status status = expander.Expand(text, 0, &out);
  if (!status.ok()) return status;
  return out;
}

void VisitMacroNames(std::string_view text, const std::function<void(std::string_view)>& visit) {
  for (size_t i = 0; i + 1 < text.size(); ++i) {
    if (text[i] != '$') continue;
    if (text[i + 1] == '$') {
      ++i;
      continue;
    }
    size_t start = i + 1;
    while (start < text.size() &&
           (text[start] == '{' || text[start] == '(' || IsSpace(text[start])))
      ++start;
    size_t end = start;
    while (end < text.size() && IsNameChar(text[end])) ++end;
    if (end > start) visit(text.substr(start, end - start));
  }
}

std::optional<int> CompareLevels(std::string_view a, std::string_view b) {
  const auto x = ParseLevel(a);
  const auto y = ParseLevel(b);
  if (!x || !y) return std::nullopt;
  return *x < *y ? -1 : (*x > *y ? 1 : 0);
}

}  // namespace mailrace::engine::config

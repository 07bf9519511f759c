#include "engine/routing/tls_policy_entry.h"

#include <fmt/format.h>

#include <algorithm>

#include "absl/status/statusor.h"
#include "base/text.h"
#include "engine/config/relayhost.h"
#include "engine/config/values.h"

namespace mailrace::engine {
namespace {

using config::TlsLevel;

// Postfix's attributes of MTA-STS plug-ins and TLSRPT. They inform reports that do not
// exist here; demanding their absence would refuse entries that such plug-ins make.
constexpr std::string_view kReportAttributes[] = {"policy_ttl",      "policy_type",
                                                  "policy_domain",   "policy_string",
                                                  "mx_host_pattern", "policy_failure"};
constexpr std::string_view kGrades[] = {"export", "low", "medium", "high", "null"};

template <size_t n>
bool IsOneOf(std::string_view text, const std::string_view (&words)[n]) {
  return std::any_of(std::begin(words), std::end(words),
                     [&](std::string_view word) { return EqualsIgnoreCase(word, text); });
}

void AppendSplit(std::string_view value, char separator, std::vector<std::string>* out) {
  while (!value.empty()) {
    const size_t end = std::min(value.find(separator), value.size());
    if (end > 0) out->emplace_back(value.substr(0, end));
    value.remove_prefix(std::min(end + 1, value.size()));
  }
}

class EntryParser {
 public:
  EntryParser(std::string_view where, std::vector<std::string>* warnings)
      : where_(where), warnings_(warnings) {}

  bool Run(std::string_view value) {
    const absl::StatusOr<std::vector<std::string>> words = config::SplitList(value);
    if (!words.ok()) return Fail("malformed policy: unbalanced {}");
    if (words->empty()) return Fail("invalid empty policy");
    const std::optional<TlsLevel> level = config::ParseTlsLevel(words->front());
    if (!level) return Fail(fmt::format("invalid security level \"{}\"", words->front()));
    entry.level = *level;
    for (size_t i = 1; i < words->size(); ++i) {
      if (entry.level == TlsLevel::kNone) {
        Warn(fmt::format("ignoring attribute \"{}\" with TLS disabled", (*words)[i]));
      } else if (!Attribute((*words)[i])) {
        return false;
      }
    }
    return true;
  }

  TlsPolicyEntry entry;

 private:
  void Warn(std::string_view text) { warnings_->push_back(fmt::format("{}: {}", where_, text)); }
  bool Fail(std::string_view text) {
    Warn(text);
    return false;
  }

  bool Attribute(std::string_view word) {
    const std::string_view text = config::StripBraces(word);
    const size_t equals = text.find('=');
    const std::string_view name = Trim(text.substr(0, equals));
    if (equals == std::string_view::npos || name.empty()) {
      return Fail(fmt::format("malformed attribute/value pair \"{}\": missing '='", text));
    }
    const std::string_view value = Trim(text.substr(equals + 1));
    if (EqualsIgnoreCase(name, "ciphers")) return Ciphers(name, value);
    if (EqualsIgnoreCase(name, "protocols")) return Once(name, value, &entry.protocols);
    if (EqualsIgnoreCase(name, "exclude")) return Once(name, value, &entry.exclude);
    if (EqualsIgnoreCase(name, "servername")) return ServerName(name, value);
    if (EqualsIgnoreCase(name, "match")) return Match(name, value);
    if (EqualsIgnoreCase(name, "tafile")) return TrustAnchors(name, value);
    if (EqualsIgnoreCase(name, "connection_reuse") || EqualsIgnoreCase(name, "enable_rpk")) {
      // Sessions are always reused under their own key; raw public keys are not asked for.
      if (EqualsIgnoreCase(value, "yes") || EqualsIgnoreCase(value, "no")) return true;
      return Fail(fmt::format("attribute \"{}\" has bad value: \"{}\"", name, value));
    }
    if (IsOneOf(name, kReportAttributes)) return true;
    return Fail(fmt::format("invalid attribute name: \"{}\"", name));
  }

  bool Once(std::string_view name, std::string_view value, std::optional<std::string>* out) {
    if (out->has_value()) {
      return Fail(fmt::format("attribute \"{}\" is specified multiple times", name));
    }
    *out = std::string(value);
    return true;
  }

  bool NotEmpty(std::string_view name, std::string_view value) {
    return !value.empty() || Fail(fmt::format("attribute \"{}\" has empty value", name));
  }

  bool Ciphers(std::string_view name, std::string_view value) {
    if (!NotEmpty(name, value)) return false;
    if (!IsOneOf(value, kGrades)) {
      return Fail(fmt::format("attribute \"{}\" has bad value: \"{}\"", name, value));
    }
    return Once(name, AsciiLowered(value), &entry.ciphers);
  }

  bool ServerName(std::string_view name, std::string_view value) {
    const absl::StatusOr<config::Nexthop> host = config::ParseNexthop(value, 25);
    if (!host.ok() || host->text.find_first_of("[:]") != std::string::npos ||
        host->address_literal) {
      return Fail(fmt::format("\"{}={}\" specifies an invalid hostname", name, value));
    }
    return Once(name, value, &entry.server_name);
  }

  bool Match(std::string_view name, std::string_view value) {
    if (!NotEmpty(name, value)) return false;
    if (entry.level < TlsLevel::kFingerprint) return WrongLevel(name);
    if (!entry.match) entry.match.emplace();
    AppendSplit(value, entry.level == TlsLevel::kFingerprint ? '|' : ':', &*entry.match);
    return true;
  }

  bool TrustAnchors(std::string_view name, std::string_view value) {
    if (entry.level < TlsLevel::kVerify) return WrongLevel(name);
    if (!NotEmpty(name, value)) return false;
    entry.trust_anchor_files.emplace_back(value);
    return true;
  }

  bool WrongLevel(std::string_view name) {
    return Fail(fmt::format("attribute \"{}\" invalid at security level \"{}\"", name,
                            config::TlsLevelName(entry.level)));
  }

  std::string_view where_;
  std::vector<std::string>* warnings_;
};

}  // namespace

std::optional<TlsPolicyEntry> TlsPolicyEntry::Parse(std::string_view value, std::string_view where,
                                                    std::vector<std::string>* warnings) {
  EntryParser parser(where, warnings);
  if (!parser.Run(value)) return std::nullopt;
  return std::move(parser.entry);
}

}  // namespace mailrace::engine

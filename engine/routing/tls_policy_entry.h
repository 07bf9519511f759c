// One entry of smtp_tls_policy_maps: "LEVEL ATTRIBUTE=VALUE …".
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/config/tls_options.h"

namespace mailrace::engine {

struct TlsPolicyEntry {
  config::TlsLevel level = config::TlsLevel::kNone;
  std::optional<std::string> ciphers;
  std::optional<std::string> protocols;
  std::optional<std::string> server_name;
  std::optional<std::vector<std::string>> match;
  std::optional<std::string> exclude;
  std::vector<std::string> trust_anchor_files;

  // Nothing if the entry cannot be used (the delivery is deferred): errors may have
  // security consequences, so that none is passed over. What was wrong or ignored is
  // added to *warnings, each beginning with `where`.
  static std::optional<TlsPolicyEntry> Parse(std::string_view value, std::string_view where,
                                             std::vector<std::string>* warnings);
};

}  // namespace mailrace::engine

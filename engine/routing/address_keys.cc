#include "engine/routing/address_keys.h"

#include <fmt/format.h>

#include "base/text.h"

namespace mailrace::engine {
namespace {

struct AddressParts {
  std::string_view local;
  std::string_view user;  // `local` without its extension.
  std::string_view domain;
};

AddressParts Take(std::string_view address, std::string_view delimiters) {
  AddressParts parts;
  const size_t at = address.rfind('@');
  parts.local = address.substr(0, at);
  if (at != std::string_view::npos) parts.domain = address.substr(at + 1);
  parts.user = parts.local;
  if (!delimiters.empty()) {
    const size_t extension = parts.local.find_first_of(delimiters);
    if (extension != std::string_view::npos && extension > 0) {
      parts.user = parts.local.substr(0, extension);
    }
  }
  return parts;
}

}  // namespace

std::vector<std::string> SenderKeys(std::string_view sender,
                                    const config::GeneralOptions& general) {
  std::vector<std::string> keys;
  if (sender.empty()) return keys;
  keys.emplace_back(sender);
  const AddressParts parts = Take(sender, general.recipient_delimiter);
  const bool extended = parts.user.size() != parts.local.size();
  const std::string suffix = parts.domain.empty() ? "" : fmt::format("@{}", parts.domain);
  if (extended) keys.push_back(fmt::format("{}{}", parts.user, suffix));
  const bool is_local = EqualsIgnoreCase(parts.domain, general.myorigin) ||
                        EqualsIgnoreCase(parts.domain, general.myhostname);
  if (is_local) {
    keys.emplace_back(parts.local);
    if (extended) keys.emplace_back(parts.user);
  }
  if (!suffix.empty()) keys.push_back(suffix);
  return keys;
}

std::vector<std::string> TransportKeys(std::string_view recipient,
                                       const config::GeneralOptions& general, bool parents_match) {
  std::vector<std::string> keys;
  AddressParts parts = Take(recipient, general.recipient_delimiter);
  if (parts.domain.empty()) parts.domain = general.myhostname;
  keys.push_back(fmt::format("{}@{}", parts.local, parts.domain));
  if (parts.user.size() != parts.local.size()) {
    keys.push_back(fmt::format("{}@{}", parts.user, parts.domain));
  }
  // At most 127 labels (RFC 1035 2.3.4); intake refuses longer names.
  std::string_view name = parts.domain;
  while (!name.empty()) {
    keys.emplace_back(name);
    const size_t dot = name.find('.', 1);
    if (dot == std::string_view::npos) break;
    name.remove_prefix(parents_match ? dot + 1 : dot);
  }
  keys.emplace_back("*");
  return keys;
}

}  // namespace mailrace::engine

#include "engine/routing/sasl_policy.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "engine/routing/address_keys.h"

namespace mailrace::engine {
namespace {

using transport::sasl::Credentials;
using transport::sasl::SecurityOptions;

struct Key {
  std::string text;
  bool of_sender = false;
};

// At the first delimiter; without one the password is empty.
Credentials Split(std::string_view value, std::string_view delimiter) {
  const size_t end = value.find(delimiter);
  if (end == std::string_view::npos) return {std::string(value), ""};
  return {std::string(value.substr(0, end)), std::string(value.substr(end + delimiter.size()))};
}

SecurityOptions FromWords(const std::vector<std::string>& words) {
  const auto has = [&](std::string_view word) {
    return std::find(words.begin(), words.end(), word) != words.end();
  };
  return {.noplaintext = has("noplaintext"),
          .noactive = has("noactive"),
          .nodictionary = has("nodictionary"),
          .noanonymous = has("noanonymous"),
          .mutual_auth = has("mutual_auth"),
          .forward_secrecy = has("forward_secrecy")};
}

bool FilterAdmits(std::string_view mechanism, const std::vector<std::string>& filter) {
  for (std::string_view pattern : filter) {
    const bool negated = pattern.starts_with('!');
    if (negated) pattern.remove_prefix(1);
    if (pattern.starts_with("static:") || EqualsIgnoreCase(pattern, mechanism)) return !negated;
  }
  return false;
}

// Whose password is a token that somebody else keeps fresh.
void FindToken(const config::SaslOptions& options, const tables::TableList& sources,
               CredentialResult* out) {
  const absl::StatusOr<std::optional<tables::TableHit>> hit =
      sources.Lookup(out->credentials->user);
  if (!hit.ok()) {
    out->credentials.reset();
    out->failed = true;
    out->status = {4, 3, 0};
    out->reason = "Temporary lookup error";
    out->steps.emplace_back("sasl_token_maps: the table cannot answer");
    return;
  }
  if (!hit->has_value()) return;
  out->credentials->password.clear();
  out->credentials->bearer = true;
  out->token = tokens::TokenSpec{(*hit)->value, options.sasl_token_lifetime,
                                 options.sasl_token_command_timeout};
  out->steps.push_back(fmt::format("{}: a bearer token by {}",
                                   Printable(out->credentials->user, 100), (*hit)->origin));
}

}  // namespace

CredentialResult FindCredentials(const config::SaslOptions& options,
                                 const config::GeneralOptions& general,
                                 const tables::TableList& passwords,
                                 const tables::TableList& token_sources,
                                 const CredentialQuery& query) {
  CredentialResult out;
  if (!options.smtp_sasl_auth_enable) {
    out.steps.emplace_back("smtp_sasl_auth_enable = no: no login");
    return out;
  }
  std::vector<Key> keys;
  if (options.smtp_sender_dependent_authentication) {
    for (std::string& key : SenderKeys(query.sender, general)) {
      keys.push_back({std::move(key), true});
    }
  }
  keys.push_back({std::string(query.host), false});
  if (!EqualsIgnoreCase(query.host, query.nexthop)) {
    keys.push_back({std::string(query.nexthop), false});
  }
  for (const Key& key : keys) {
    const absl::StatusOr<std::optional<tables::TableHit>> hit = passwords.Lookup(key.text);
    if (!hit.ok()) {
      out.failed = true;
      out.status = {4, 3, 0};
      out.reason = "Temporary lookup error";
      out.steps.push_back(fmt::format("{}: the table cannot answer", key.text));
      return out;
    }
    if (!hit->has_value()) {
      out.steps.push_back(fmt::format("{}: no entry", key.text));
      continue;
    }
    out.credentials = Split((*hit)->value, options.smtp_sasl_password_result_delimiter);
    out.key = key.text;
    out.decided_by = (*hit)->origin;
    out.by_sender = key.of_sender;
    out.steps.push_back(fmt::format("{}: user \"{}\" by {}", key.text,
                                    Printable(out.credentials->user, 100), out.decided_by));
    FindToken(options, token_sources, &out);
    return out;
  }
  out.steps.emplace_back("no entry in smtp_sasl_password_maps: no login");
  return out;
}

namespace {

// The host of "[host]:port", "host:port" and the like.
std::string HostOfKey(std::string_view key) {
  if (key.starts_with('[')) return AsciiLowered(key.substr(1, key.find(']') - 1));
  return AsciiLowered(key.substr(0, key.find(':')));
}

// An entry for the same host in other words; empty: none.
std::string SimilarKey(const tables::TableList& passwords, const config::Nexthop& relay) {
  std::string similar;
  for (const auto& table : passwords.tables()) {
    table->ForEach([&](std::string_view key, std::string_view) {
      if (similar.empty() && HostOfKey(key) == relay.host) similar = key;
    });
  }
  return similar;
}

}  // namespace

void WarnOfMissingLogins(const config::Config& config, config::Diagnostics* diagnostics) {
  const config::Options& options = config.options;
  if (!options.sasl.smtp_sasl_auth_enable || config.sasl_passwords == nullptr) return;
  // Senders may have their own.
  if (options.sasl.smtp_sender_dependent_authentication) return;
  const auto setting = config.settings.find("relayhost");
  const config::Place place =
      setting == config.settings.end() ? config::Place{} : setting->second.place;
  for (const config::Nexthop& relay : options.smtp.relayhost) {
    const CredentialResult found = FindCredentials(
        options.sasl, options.general, *config.sasl_passwords, tables::TableList({}),
        {.sender = "", .host = relay.host, .nexthop = relay.text});
    if (found.credentials || found.failed) continue;
    const std::string similar = SimilarKey(*config.sasl_passwords, relay);
    // With MX records the key may be the name of any of its servers.
    if (relay.lookup_mx && similar.empty()) continue;
    diagnostics->Warning(
        place, "relayhost",
        fmt::format(
            "smtp_sasl_password_maps has no entry for {}: mail goes there without a login{}",
            relay.text,
            similar.empty()
                ? ""
                : fmt::format("; the key {} is not the same", Printable(similar, 100))));
  }
}

SecurityOptionsChoice ChooseSecurityOptions(const config::SaslOptions& options,
                                            ConnectionSecurity security) {
  switch (security) {
    case ConnectionSecurity::kClear:
      break;
    case ConnectionSecurity::kTls:
      return {FromWords(options.smtp_sasl_tls_security_options), "smtp_sasl_tls_security_options"};
    case ConnectionSecurity::kTlsMatched:
      return {FromWords(options.smtp_sasl_tls_verified_security_options),
              "smtp_sasl_tls_verified_security_options"};
  }
  return {FromWords(options.smtp_sasl_security_options), "smtp_sasl_security_options"};
}

std::vector<std::string> FilterMechanisms(const std::vector<std::string>& offered,
                                          const std::vector<std::string>& filter) {
  if (filter.empty()) return offered;
  std::vector<std::string> out;
  std::copy_if(offered.begin(), offered.end(), std::back_inserter(out),
               [&](const std::string& mechanism) { return FilterAdmits(mechanism, filter); });
  return out;
}

}  // namespace mailrace::engine

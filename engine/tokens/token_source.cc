#include "engine/tokens/token_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/text.h"
#include "engine/config/logical_lines.h"
#include "engine/tokens/command_output.h"
#include "transport/smtp/base64.h"

namespace mailrace::engine::tokens {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kFile = "file:";
constexpr std::string_view kCommand = "command:";

// RFC 6750 2.1: b64token, and nothing that would end a SASL field or a line.
bool IsToken(std::string_view text) {
  return !text.empty() && text.size() <= kTokenOctetsMax &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

Json ParseObject(std::string_view text) {
  Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  return json.is_object() ? json : Json();
}

std::optional<int64_t> Seconds(const Json& object, const char* name) {
  const auto it = object.find(name);
  if (it == object.end()) return std::nullopt;
  if (it->is_number()) {
    const double value = it->get<double>();
    if (!(value >= 0 && value < 1e12)) return std::nullopt;
    return static_cast<int64_t>(value);
  }
  // Some servers write the number as a string.
  if (!it->is_string()) return std::nullopt;
  const std::optional<uint64_t> number = ParseUint(it->get_ref<const std::string&>());
  return number && *number < 1'000'000'000'000 ? std::optional(static_cast<int64_t>(*number))
                                               : std::nullopt;
}

// The "exp" of a JWT. Nobody's signature is checked: it only says when to ask again.
std::optional<absl::Time> JwtEnd(std::string_view token) {
  const size_t first = token.find('.');
  if (first == std::string_view::npos) return std::nullopt;
  const size_t second = token.find('.', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  std::string claims(token.substr(first + 1, second - first - 1));
  std::replace(claims.begin(), claims.end(), '-', '+');
  std::replace(claims.begin(), claims.end(), '_', '/');
  claims.append((4 - claims.size() % 4) % 4, '=');
  const std::optional<std::string> decoded = transport::smtp::DecodeBase64(claims);
  if (!decoded) return std::nullopt;
  const std::optional<int64_t> exp = Seconds(ParseObject(*decoded), "exp");
  return exp ? std::optional(absl::FromUnixSeconds(*exp)) : std::nullopt;
}

}  // namespace

absl::StatusOr<Token> ParseToken(std::string_view output, absl::Duration lifetime, absl::Time now) {
  const std::string_view text = Trim(output);
  if (text.empty()) return absl::UnavailableError("it is empty");
  Token token{std::string(text), now + lifetime};
  std::optional<int64_t> expires_in;
  if (text.starts_with('{')) {
    const Json object = ParseObject(text);
    const auto it = object.find("access_token");
    if (it == object.end() || !it->is_string()) {
      return absl::UnavailableError("it is JSON without an access_token");
    }
    token.text = it->get<std::string>();
    expires_in = Seconds(object, "expires_in");
  }
  if (!IsToken(token.text)) return absl::UnavailableError("it is not a bearer token (RFC 6750)");
  if (expires_in) {
    token.expires = now + absl::Seconds(*expires_in);
  } else if (const std::optional<absl::Time> end = JwtEnd(token.text)) {
    token.expires = *end;
  }
  return token;
}

absl::StatusOr<Token> FetchToken(const TokenSpec& spec, absl::Time now,
                                 const std::function<bool()>& stop) {
  std::string_view source = spec.source;
  absl::StatusOr<std::string> output;
  if (source.starts_with(kFile)) {
    source.remove_prefix(kFile.size());
    output = config::ReadTextFile(std::string(source), kOutputOctetsMax);
  } else {
    source.remove_prefix(std::min(source.size(), kCommand.size()));
    output = CommandOutput(source, kOutputOctetsMax, spec.command_timeout, stop);
  }
  if (!output.ok()) return output.status();
  absl::StatusOr<Token> token = ParseToken(*output, spec.lifetime, now);
  std::fill(output->begin(), output->end(), '\0');
  if (!token.ok()) {
    return absl::UnavailableError(fmt::format("the token of {}: {}",
                                              source.substr(0, source.find(' ')),
                                              std::string(token.status().message())));
  }
  return token;
}

}  // namespace mailrace::engine::tokens

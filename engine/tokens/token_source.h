// Where a bearer token comes from: a file that somebody keeps fresh, or a command that
// prints one (docs/CONFIGURATION.md, "sasl_token_maps"). Blocks: never on a shard.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace mailrace::engine::tokens {

struct TokenSpec {
  // "file:/path" or "command:/path arguments"; arguments are between blanks, no shell
  // looks at them.
  std::string source;
  absl::Duration lifetime;         // Of a token that does not say when it ends.
  absl::Duration command_timeout;  // Then the command is killed.
};

struct Token {
  std::string text;  // A secret.
  absl::Time expires;
};

// More than this is no token.
inline constexpr size_t kTokenOctetsMax = 8192;
inline constexpr size_t kOutputOctetsMax = 64 * 1024;

// A bare token, or JSON with "access_token" and perhaps "expires_in" (RFC 6749 5.1) as of
// `now`. Without that, a JWT's "exp" counts (RFC 7519 4.1.4), then `lifetime`. Errors
// never quote the output.
absl::StatusOr<Token> ParseToken(std::string_view output, absl::Duration lifetime, absl::Time now);

// `stop` is asked now and then while a command runs; true: it is killed.
absl::StatusOr<Token> FetchToken(const TokenSpec& spec, absl::Time now,
                                 const std::function<bool()>& stop);

}  // namespace mailrace::engine::tokens

#include "engine/tokens/token_store.h"

#include <algorithm>

namespace mailrace::engine::tokens {

absl::StatusOr<std::string> TokenStore::Get(const TokenSpec& spec, std::string_view refused) {
  const absl::Time now = clock_->Wall();
  const auto it = tokens_.find(spec.source);
  if (it != tokens_.end() && now < it->second.refresh && it->second.token.text != refused) {
    return it->second.token.text;
  }
  absl::StatusOr<Token> token = fetch_(spec, now);
  if (!token.ok()) {
    // One that is valid still is better than none, whatever its source does.
    const bool usable =
        it != tokens_.end() && now < it->second.token.expires && it->second.token.text != refused;
    if (usable) return it->second.token.text;
    return token.status();
  }
  if (token->expires <= now) return absl::UnavailableError("the token has expired already");
  // A session that is being made takes a moment, and servers' clocks differ.
  const absl::Duration margin = std::min(absl::Minutes(1), (token->expires - now) / 10);
  if (tokens_.size() >= kKept && it == tokens_.end()) tokens_.erase(tokens_.begin());
  const absl::Time refresh = token->expires - margin;
  return tokens_.insert_or_assign(spec.source, Kept{*std::move(token), refresh})
      .first->second.token.text;
}

}  // namespace mailrace::engine::tokens

#include "engine/tokens/token_store.h"

#include <algorithm>

namespace mailrace::engine::tokens {

size_t TokenStore::size() const {
  const std::lock_guard lock(mutex_);
  return tokens_.size();
}

std::optional<TokenStore::Kept> TokenStore::Find(const std::string& source) const {
  const std::lock_guard lock(mutex_);
  const auto it = tokens_.find(source);
  return it == tokens_.end() ? std::nullopt : std::optional(it->second);
}

void TokenStore::Keep(const std::string& source, Kept kept) {
  const std::lock_guard lock(mutex_);
  if (tokens_.size() >= kKept && !tokens_.contains(source)) tokens_.erase(tokens_.begin());
  tokens_.insert_or_assign(source, std::move(kept));
}

absl::StatusOr<std::string> TokenStore::Get(const TokenSpec& spec, std::string_view refused) {
  const absl::Time now = clock_->Wall();
  const std::optional<Kept> old = Find(spec.source);
  const bool wanted = old && old->token.text != refused;
  if (wanted && now < old->refresh) return old->token.text;
  absl::StatusOr<Token> token = fetch_(spec, now);
  if (!token.ok()) {
    // One that is valid still is better than none, whatever its source does.
    if (wanted && now < old->token.expires) return old->token.text;
    return token.status();
  }
  if (token->expires <= now) return absl::UnavailableError("the token has expired already");
  // A session that is being made takes a moment, and servers' clocks differ.
  const absl::Duration margin = std::min(absl::Minutes(1), (token->expires - now) / 10);
  Keep(spec.source, Kept{*token, token->expires - margin});
  return std::move(token->text);
}

}  // namespace mailrace::engine::tokens

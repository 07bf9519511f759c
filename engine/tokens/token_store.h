// The tokens that are valid now, one a source. Owned by the thread that fetches them, and
// touched by no other: what shards ask for at the same time is fetched once.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "engine/tokens/token_source.h"

namespace mailrace::engine::tokens {

class TokenStore {
 public:
  using Fetch = std::function<absl::StatusOr<Token>(const TokenSpec& spec, absl::Time now)>;
  // `clock` is borrowed.
  TokenStore(const Clock* clock, Fetch fetch) : clock_(clock), fetch_(std::move(fetch)) {}

  // A token that is still valid for a while, fetched if there is none. `refused` is one
  // that a server did not want: it is not given again, unless fetching brings no other.
  absl::StatusOr<std::string> Get(const TokenSpec& spec, std::string_view refused);
  size_t size() const { return tokens_.size(); }

 private:
  // Sources are as many as sasl_token_maps has; reloads may bring others.
  static constexpr size_t kKept = 1000;

  const Clock* const clock_;
  const Fetch fetch_;
  struct Kept {
    Token token;
    absl::Time refresh;  // Before it expires: from then on it is fetched anew.
  };
  std::map<std::string, Kept> tokens_;  // By source.
};

}  // namespace mailrace::engine::tokens

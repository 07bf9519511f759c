// The tokens that are valid now, one a source. Thread-safe; a source is asked without the
// lock. REQUIRES: one Get at a time for one source (Helper::RunFor): what shards ask for at
// the same time is then fetched once.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
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
  size_t size() const;

 private:
  // Sources are as many as sasl_token_maps has; reloads may bring others.
  static constexpr size_t kKept = 1000;

  const Clock* const clock_;
  const Fetch fetch_;
  struct Kept {
    Token token;
    absl::Time refresh;  // Before it expires: from then on it is fetched anew.
  };
  std::optional<Kept> Find(const std::string& source) const;
  void Keep(const std::string& source, Kept kept);
  mutable std::mutex mutex_;
  std::map<std::string, Kept> tokens_;  // By source. Guarded by mutex_.
};

}  // namespace mailrace::engine::tokens

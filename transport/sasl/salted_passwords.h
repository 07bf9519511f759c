// Passwords as SCRAM salted them (RFC 5802 3): each costs some thousand hashes, and the
// next session with the same server asks for the same one. In memory only, wiped when it
// is forgotten. One a shard; not thread-safe.
#pragma once

#include <cstddef>
#include <list>
#include <string>
#include <string_view>

namespace mailrace::transport::sasl {

class SaltedPasswords {
 public:
  static constexpr size_t kKept = 32;

  SaltedPasswords() = default;
  SaltedPasswords(const SaltedPasswords&) = delete;
  SaltedPasswords& operator=(const SaltedPasswords&) = delete;
  ~SaltedPasswords();

  // `key` is Client::SaltingKey's. Empty: not known.
  std::string Find(std::string_view key);
  void Put(std::string key, std::string salted);
  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::string key;
    std::string salted;
  };
  std::list<Entry> entries_;  // Latest use first.
};

}  // namespace mailrace::transport::sasl

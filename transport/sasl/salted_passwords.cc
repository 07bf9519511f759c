#include "transport/sasl/salted_passwords.h"

#include <algorithm>
#include <utility>

#include "transport/sasl/gsasl_session.h"

namespace mailrace::transport::sasl {

SaltedPasswords::~SaltedPasswords() {
  for (Entry& entry : entries_) {
    Cleanse(&entry.key);
    Cleanse(&entry.salted);
  }
}

std::string SaltedPasswords::Find(std::string_view key) {
  const auto it = std::find_if(entries_.begin(), entries_.end(),
                               [key](const Entry& entry) { return entry.key == key; });
  if (it == entries_.end()) return "";
  entries_.splice(entries_.begin(), entries_, it);
  return entries_.front().salted;
}

void SaltedPasswords::Put(std::string key, std::string salted) {
  if (key.empty() || salted.empty() || !Find(key).empty()) return;
  entries_.push_front({std::move(key), std::move(salted)});
  if (entries_.size() <= kKept) return;
  Cleanse(&entries_.back().key);
  Cleanse(&entries_.back().salted);
  entries_.pop_back();
}

}  // namespace mailrace::transport::sasl

// What we demand of a SCRAM server before the library spends time or trust on it
// (RFC 5802 5.1, RFC 7677 4). Pure functions of text.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"

namespace mailrace::transport::sasl {

// RFC 7677 4 asks for at least 4096. At the maximum PBKDF2 takes about a tenth of a
// second, on a thread that other logins wait for too.
inline constexpr uint64_t kScramIterationsMin = 4096;
inline constexpr uint64_t kScramIterationsMax = 250'000;

// The nonce in our client-first message ("n,,n=user,r=NONCE"); empty if there is none.
// A view into `client_first`.
std::string_view ScramClientNonce(std::string_view client_first);

// "SALT,i=COUNT" of a message that was checked: with the password, what is salted. A view.
std::string_view ScramSaltAndCount(std::string_view server_first);

// Checks "r=NONCE,s=SALT,i=COUNT[,extensions]": order, our nonce continued by the
// server's, a salt, the count within bounds, no mandatory extension ("m=") anywhere.
absl::Status CheckScramServerFirst(std::string_view server_first, std::string_view client_nonce);

}  // namespace mailrace::transport::sasl

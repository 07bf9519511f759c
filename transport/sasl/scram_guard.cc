#include "transport/sasl/scram_guard.h"

#include <optional>

#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::transport::sasl {
namespace {

// Cuts the next attribute off *rest and returns its value if its name is `name`.
std::optional<std::string_view> TakeAttribute(char name, std::string_view* rest) {
  if (rest->size() < 2 || (*rest)[0] != name || (*rest)[1] != '=') return std::nullopt;
  const size_t comma = rest->find(',');
  const std::string_view value = rest->substr(2, comma == rest->npos ? rest->npos : comma - 2);
  *rest = comma == rest->npos ? std::string_view() : rest->substr(comma + 1);
  return value;
}

absl::Status Bad(std::string_view why) {
  return absl::InvalidArgumentError(fmt::format("SCRAM server message: {}", why));
}

}  // namespace

std::string_view ScramClientNonce(std::string_view client_first) {
  const size_t at = client_first.rfind(",r=");
  return at == client_first.npos ? std::string_view() : client_first.substr(at + 3);
}

std::string_view ScramSaltAndCount(std::string_view server_first) {
  std::string_view rest = server_first;
  if (!TakeAttribute('r', &rest)) return {};
  const std::string_view salt = rest;
  if (!TakeAttribute('s', &rest) || !TakeAttribute('i', &rest)) return {};
  return salt.substr(0, salt.size() - rest.size());
}

absl::Status CheckScramServerFirst(std::string_view server_first, std::string_view client_nonce) {
  std::string_view rest = server_first;
  if (rest.starts_with("m=")) return Bad("a mandatory extension that we do not know");
  if (rest.starts_with("e=")) return Bad(fmt::format("error {}", Printable(rest.substr(2), 100)));
  const std::optional<std::string_view> nonce = TakeAttribute('r', &rest);
  if (!nonce) return Bad("no nonce");
  if (client_nonce.empty() || !nonce->starts_with(client_nonce)) return Bad("nonce is not ours");
  if (nonce->size() == client_nonce.size()) return Bad("the server added nothing to the nonce");
  const std::optional<std::string_view> salt = TakeAttribute('s', &rest);
  if (!salt || salt->empty()) return Bad("no salt");
  const std::optional<std::string_view> count_text = TakeAttribute('i', &rest);
  const std::optional<uint64_t> count = count_text ? ParseUint(*count_text) : std::nullopt;
  if (!count) return Bad("no iteration count");
  if (*count < kScramIterationsMin || *count > kScramIterationsMax) {
    return Bad(fmt::format("iteration count {} is not between {} and {}", *count,
                           kScramIterationsMin, kScramIterationsMax));
  }
  if (rest.starts_with("m=") || rest.find(",m=") != rest.npos) {
    return Bad("a mandatory extension that we do not know");
  }
  return absl::OkStatus();
}

}  // namespace mailrace::transport::sasl

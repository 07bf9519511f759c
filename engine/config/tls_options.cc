#include "engine/config/tls_options.h"

#include "base/text.h"

namespace mailrace::engine::config {

std::string_view TlsLevelName(TlsLevel level) {
  switch (level) {
    case TlsLevel::kNone:
      return "none";
    case TlsLevel::kMay:
      return "may";
    case TlsLevel::kEncrypt:
      return "encrypt";
    case TlsLevel::kFingerprint:
      return "fingerprint";
    case TlsLevel::kVerify:
      return "verify";
    case TlsLevel::kSecure:
      return "secure";
  }
  return "none";
}

std::optional<TlsLevel> ParseTlsLevel(std::string_view text) {
  for (const TlsLevel level : {TlsLevel::kNone, TlsLevel::kMay, TlsLevel::kEncrypt,
                               TlsLevel::kFingerprint, TlsLevel::kVerify, TlsLevel::kSecure}) {
    if (EqualsIgnoreCase(text, TlsLevelName(level))) return level;
  }
  return std::nullopt;
}

TlsLevel TlsOptions::GlobalLevel() const {
  if (!smtp_tls_security_level.empty()) {
    return ParseTlsLevel(smtp_tls_security_level).value_or(TlsLevel::kSecure);
  }
  if (smtp_enforce_tls) return smtp_tls_enforce_peername ? TlsLevel::kVerify : TlsLevel::kEncrypt;
  return smtp_use_tls ? TlsLevel::kMay : TlsLevel::kNone;
}

std::string_view TlsOptions::GlobalLevelParameter() const {
  if (!smtp_tls_security_level.empty()) return "smtp_tls_security_level";
  return smtp_enforce_tls ? "smtp_enforce_tls" : "smtp_use_tls";
}

}  // namespace mailrace::engine::config

// Base64 as RFC 4954 4 wants it of both sides: the standard alphabet with padding and
// nothing else. Abseil's decoder skips white space and does without padding.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mailrace::transport::smtp {

std::string EncodeBase64(std::string_view octets);
// Nothing if `text` is not exactly what EncodeBase64 would give: other characters,
// '=' inside, missing padding, or bits set that are not encoded.
std::optional<std::string> DecodeBase64(std::string_view text);

}  // namespace mailrace::transport::smtp

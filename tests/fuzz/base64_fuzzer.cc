// Base64 has one text for every octet string and no other.
#include "transport/smtp/base64.h"

#include "fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using mailrace::transport::smtp::DecodeBase64;
  using mailrace::transport::smtp::EncodeBase64;
  const std::string input(reinterpret_cast<const char*>(data), size);
  const std::string encoded = EncodeBase64(input);
  FUZZ_CHECK(encoded.size() == (input.size() + 2) / 3 * 4, input);
  FUZZ_CHECK(DecodeBase64(encoded) == input, input);
  if (const auto decoded = DecodeBase64(input)) {
    FUZZ_CHECK(decoded->size() <= input.size() / 4 * 3, input);
    FUZZ_CHECK(EncodeBase64(*decoded) == input, input);
  }
  return 0;
}

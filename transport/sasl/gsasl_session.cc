#include "transport/sasl/gsasl_session.h"

#include <cstring>

#include "fmt/format.h"

namespace mailrace::transport::sasl {
namespace {

Gsasl* Initialise() {
  Gsasl* library = nullptr;
  return gsasl_init(&library) == GSASL_OK ? library : nullptr;
}

}  // namespace

Gsasl* Library() {
  static Gsasl* const library = Initialise();
  return library;
}

void FinishSession::operator()(Gsasl_session* session) const {
  for (const Gsasl_property property : {GSASL_PASSWORD, GSASL_SCRAM_SALTED_PASSWORD}) {
    // The library hands out its own buffer, and frees it without overwriting.
    const char* secret = gsasl_property_fast(session, property);
    if (secret != nullptr) explicit_bzero(const_cast<char*>(secret), std::strlen(secret));
  }
  gsasl_finish(session);
}

absl::Status SetProperty(Gsasl_session* session, Gsasl_property property, std::string_view value) {
  const int code = gsasl_property_set_raw(session, property, value.data(), value.size());
  if (code == GSASL_OK) return absl::OkStatus();
  return absl::InternalError(fmt::format("SASL library: {}", gsasl_strerror(code)));
}

StepResult RunStep(Gsasl_session* session, std::string_view input) {
  char* output = nullptr;
  size_t octets = 0;
  StepResult result;
  result.code = gsasl_step(session, input.data(), input.size(), &output, &octets);
  if (output != nullptr) {
    result.output.assign(output, octets);
    explicit_bzero(output, octets);
    gsasl_free(output);
  }
  return result;
}

void Cleanse(std::string* secret) {
  explicit_bzero(secret->data(), secret->size());
  secret->clear();
}

}  // namespace mailrace::transport::sasl

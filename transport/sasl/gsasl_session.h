// GNU SASL's objects as C++ owners. Inside transport/sasl/ only.
#pragma once

#include <gsasl.h>

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace mailrace::transport::sasl {

// More than any mechanism of ours says; RFC 4954 4 allows lines of 12288 octets, which
// are 9216 decoded.
inline constexpr size_t kMessageOctetsMax = 12'288;

// The library, initialised once and never changed afterwards: any thread may start
// sessions from it. Null if it could not be initialised.
Gsasl* Library();

// One exchange. Overwrites the library's copy of the password before it frees it.
struct FinishSession {
  void operator()(Gsasl_session* session) const;
};
using SessionPtr = std::unique_ptr<Gsasl_session, FinishSession>;

absl::Status SetProperty(Gsasl_session* session, Gsasl_property property, std::string_view value);

struct StepResult {
  int code = GSASL_OK;  // GSASL_OK: complete. GSASL_NEEDS_MORE. Otherwise an error.
  std::string output;
};
StepResult RunStep(Gsasl_session* session, std::string_view input);

// Overwrites the octets of *secret and empties it.
void Cleanse(std::string* secret);

}  // namespace mailrace::transport::sasl

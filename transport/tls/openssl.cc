#include "transport/tls/openssl.h"

#include <system_error>

namespace mailrace::transport::tls {

std::string TakeReason(const char* otherwise) {
  const unsigned long error = ERR_get_error();
  ERR_clear_error();
  if (error == 0) return otherwise;
  if (ERR_SYSTEM_ERROR(error)) {
    return std::generic_category().message(ERR_GET_REASON(error));
  }
  const char* reason = ERR_reason_error_string(error);
  return reason != nullptr ? reason : otherwise;
}

}  // namespace mailrace::transport::tls

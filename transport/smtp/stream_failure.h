// How a stream's errors read in the dialogue.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "transport/smtp/transaction.h"

namespace mailrace::transport::smtp {

inline std::string StatusText(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

// REQUIRES: !status.ok().
inline Failure StreamFailure(const absl::Status& status, Step step) {
  Failure failure{Failure::Kind::kLost, step, std::nullopt, StatusText(status)};
  if (absl::IsDeadlineExceeded(status)) failure.kind = Failure::Kind::kTimeout;
  if (absl::IsCancelled(status)) {
    failure.kind = Failure::Kind::kLocal;
    failure.text = kCancelledText;
  }
  return failure;
}

}  // namespace mailrace::transport::smtp

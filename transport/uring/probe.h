// Whether this process may use io_uring at all; asked once at start, so that a refusal
// is one clear line and not a crash later.
#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace mailrace::transport::uring {

// Makes a ring as a shard would and drops it. Any thread.
//
// Errors: PermissionDenied (seccomp filter, kernel.io_uring_disabled), Unimplemented
// (kernel without io_uring or before 6.1), ResourceExhausted (RLIMIT_MEMLOCK,
// descriptors, memory); one line, with what to do.
absl::Status ProbeUring();

// The error that says that `what` failed with `error_number`, with advice.
absl::Status UringRefusal(std::string_view what, int error_number);

}  // namespace mailrace::transport::uring

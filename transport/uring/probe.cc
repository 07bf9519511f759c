#include "transport/uring/probe.h"

#include <cerrno>
#include <string>
#include <system_error>

#include "fmt/format.h"
#include "transport/uring/ring.h"

namespace mailrace::transport::uring {

absl::Status ProbeUring() {
  Ring ring;
  RingOptions options;
  options.receive_buffers = 1;
  options.receive_buffer_octets = 4096;
  return ring.Open(options);
}

absl::Status UringRefusal(std::string_view what, int error_number) {
  const std::string error = std::generic_category().message(error_number);
  const auto line = [&](std::string_view advice) {
    return fmt::format("io_uring cannot be used ({}: {}): {}", what, error, advice);
  };
  switch (error_number) {
    case EPERM:
    case EACCES:
      return absl::PermissionDeniedError(
          line("allow the system calls io_uring_setup, io_uring_enter and io_uring_register in "
               "the container's or service's seccomp filter, and set kernel.io_uring_disabled=0"));
    case ENOSYS:
    case EINVAL:
    case EOPNOTSUPP:
      return absl::UnimplementedError(
          line("Linux 6.1 or newer with CONFIG_IO_URING is needed, and no sandbox that hides it"));
    case ENOMEM:
      return absl::ResourceExhaustedError(
          line("raise the limit of locked memory (ulimit -l, LimitMEMLOCK=) or run fewer shards"));
    case EMFILE:
    case ENFILE:
      return absl::ResourceExhaustedError(
          line("raise the limit of open files (ulimit -n, LimitNOFILE=, fs.file-max)"));
    default:
      return absl::InternalError(line("see io_uring_setup(2)"));
  }
}

}  // namespace mailrace::transport::uring

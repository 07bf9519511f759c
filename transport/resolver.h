// Names to mail exchangers and addresses. The shard asks and is called back on its own
// thread; the looking up is another thread's work (invariant I8).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/socket_address.h"
#include "base/task.h"

namespace mailrace::transport {

struct MxRecord {
  int preference = 0;
  std::string host;  // Without the final dot. "" alone is a null MX (RFC 7505).
  bool operator==(const MxRecord&) const = default;
};

struct MxAnswer {
  std::vector<MxRecord> records;  // Ascending preference. Empty: no MX record exists.
  bool secure = false;            // DNSSEC-validated.
};

struct AddressAnswer {
  std::vector<IpAddress> addresses;  // In the order to try.
  bool secure = false;
};

// Errors: NotFound (the name or data does not exist: permanent by DNS), Unavailable
// (SERVFAIL, timeout: temporary), InvalidArgument (no name).
class Resolver {
 public:
  virtual ~Resolver() = default;
  virtual Task<absl::StatusOr<MxAnswer>> Mx(std::string name, MonoTime deadline) = 0;
  enum class Family { kAny, kIpv4, kIpv6 };
  virtual Task<absl::StatusOr<AddressAnswer>> Addresses(std::string name, Family family,
                                                        MonoTime deadline) = 0;
  // For shutting down: what is awaited ends with Cancelled, and so does everything later.
  virtual void Cancel() {}
};

}  // namespace mailrace::transport

// libunbound's context, configured from DnsOptions. Inside transport/dns/ only.
#pragma once

#include <unbound.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "transport/dns/dns_service.h"

namespace mailrace::transport::dns {

struct DeleteContext {
  void operator()(ub_ctx* context) const { ub_ctx_delete(context); }
};
using ContextPtr = std::unique_ptr<ub_ctx, DeleteContext>;

// Adds to *warnings what could not be read.
absl::StatusOr<ContextPtr> MakeContext(const DnsOptions& options,
                                       std::vector<std::string>* warnings);

}  // namespace mailrace::transport::dns

// A shard's way to the DNS service: Resolver as tasks with deadlines.
//
// Lives on one shard. REQUIRES: no Mx or Addresses is awaited when it is destroyed (call
// Cancel and let them end). An answer that comes after its deadline, or after the
// resolver is gone, is dropped.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/loop.h"
#include "base/shard_post.h"
#include "transport/dns/dns_service.h"
#include "transport/resolver.h"

namespace mailrace::transport::dns {

class UnboundResolver final : public Resolver {
 public:
  // `loop` and `post` (into that loop's thread) are borrowed and outlive the resolver.
  UnboundResolver(std::shared_ptr<DnsService> service, Loop* loop, ShardPost* post);
  ~UnboundResolver() override;

  // As Resolver says. A name in the hosts file has no MX. An address literal has no MX
  // and is its own address; neither asks anybody. MX records of equal preference come in
  // the order of the answer, at most 128. kAny asks for AAAA and A at the same time and
  // answers with what it got, by turns, IPv6 first; it fails only if there is no address.
  Task<absl::StatusOr<MxAnswer>> Mx(std::string name, MonoTime deadline) override;
  Task<absl::StatusOr<AddressAnswer>> Addresses(std::string name, Family family,
                                                MonoTime deadline) override;

  // What is awaited ends with Cancelled at the next turn, and so does everything later.
  void Cancel() override;

 private:
  class Lookup;
  struct Shared;
  // Posted answers may outlive the resolver; they hold this weakly.
  std::shared_ptr<Shared> shared_;
};

}  // namespace mailrace::transport::dns

// The one DNS client of the process: libunbound with its cache, on a thread of its own
// (invariant I8). Shards ask through UnboundResolver; answers come back by ShardPost.
//
// Thread-safe. Reads resolv.conf and hosts once: after a change make a new service and
// new resolvers (reload), the old one goes with its last resolver.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/shard_post.h"

namespace mailrace::transport::dns {

struct DnsOptions {
  // "ADDRESS" or "ADDRESS@PORT". Empty: the name servers of `resolv_conf`; without any
  // there the service resolves from the root by itself.
  std::vector<std::string> forwarders;
  std::string resolv_conf = "/etc/resolv.conf";  // Search lists are not used.
  // Names in it are answered from it, with no DNS at all: MX of such a name is no data.
  std::string hosts = "/etc/hosts";
  // DNSSEC validates from here on; a bogus answer is then an error. Used if it exists.
  std::string trust_anchor = "/usr/share/dns/root.key";
  // Questions of all shards in flight. More are refused at once.
  size_t outstanding_max = 1024;
};

enum class RecordType { kA = 1, kAaaa = 28, kMx = 15 };

struct DnsReply {
  // OK with empty `rdata`: the name exists, but has no such record. NotFound: no such
  // name. Unavailable: temporary, with the reason.
  absl::Status status;
  std::vector<std::string> rdata;  // As on the wire, at most 128.
  bool secure = false;             // DNSSEC-validated, absence too.
};

class DnsService {
 public:
  // Errors: InvalidArgument names the forwarder. An unreadable resolv.conf, hosts or trust
  // anchor is only a warning: mail to relays that it does not concern goes on.
  static absl::StatusOr<std::shared_ptr<DnsService>> Start(const DnsOptions& options);
  // Waits for the threads' end.
  virtual ~DnsService() = default;

  // What Start passed over, one line each.
  virtual const std::vector<std::string>& warnings() const = 0;

  // A number for the asker, so that Forget can name it.
  virtual uint64_t NewClient() = 0;
  // `answer` is posted to `post` once, unless Cancel or Forget come first. `post` is
  // borrowed until Forget(client). Returns a number for Cancel.
  using Answer = std::function<void(DnsReply)>;
  virtual uint64_t Ask(uint64_t client, ShardPost* post, std::string name, RecordType type,
                       Answer answer) = 0;
  // The answer is not wanted any more; it may have been posted already.
  virtual void Cancel(uint64_t question) = 0;
  // When this returns, nothing more is posted for the client.
  virtual void Forget(uint64_t client) = 0;
};

}  // namespace mailrace::transport::dns

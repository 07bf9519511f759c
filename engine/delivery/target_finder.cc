#include "engine/delivery/target_finder.h"

#include <string>
#include <utility>

#include "engine/delivery/dead_addresses.h"
#include "fmt/format.h"

namespace mailrace::engine {
namespace {

using config::Nexthop;
using transport::MxRecord;

// A name cannot be resolved for ever; the resolver has its own retries within this.
constexpr absl::Duration kLookupTimeout = absl::Seconds(60);

// What a domain's own records can make us look up and keep.
constexpr size_t kHostsMax = 50;
constexpr size_t kTargetsMax = 100;

Trouble LookupTrouble(const std::string& name, std::string_view type, const absl::Status& status) {
  const bool temporary = !absl::IsNotFound(status);
  return {EnhancedStatus{4, 4, static_cast<uint16_t>(temporary ? 3 : 4)},
          fmt::format("Host or domain name not found. Name service error for name={} type={}: {}",
                      name, type, temporary ? "Host not found, try again" : "Host not found")};
}

struct Hosts {
  std::vector<MxRecord> records;
  bool by_mx = false;
};

// The mail exchangers of a nexthop, best first. Empty: why is in *found.
Task<Hosts> FindHosts(ShardContext* context, std::shared_ptr<const Settings> settings,
                      Nexthop nexthop, FoundTargets* found) {
  Hosts hosts;
  if (!nexthop.lookup_mx || nexthop.address_literal || !settings->use_mx) {
    hosts.records.push_back({0, nexthop.host});
    co_return hosts;
  }
  const MonoTime deadline = context->loop->now() + kLookupTimeout;
  const absl::StatusOr<transport::MxAnswer> answer =
      co_await context->resolver->Mx(nexthop.host, deadline);
  if (!answer.ok()) {
    if (settings->targets.ignore_mx_lookup_error && !absl::IsCancelled(answer.status())) {
      hosts.records.push_back({0, nexthop.host});
      co_return hosts;
    }
    found->trouble = LookupTrouble(nexthop.host, "MX", answer.status());
    found->permanent = absl::IsNotFound(answer.status());
    co_return hosts;
  }
  if (answer->records.size() == 1 && answer->records[0].host.empty()) {
    found->trouble =
        Trouble{{4, 1, 10}, fmt::format("Domain {} does not accept mail (nullMX)", nexthop.host)};
    found->permanent = true;
    co_return hosts;
  }
  for (const MxRecord& record : answer->records) {
    if (hosts.records.size() < kHostsMax) hosts.records.push_back(record);
  }
  hosts.by_mx = !hosts.records.empty();
  if (hosts.records.empty()) hosts.records.push_back({0, nexthop.host});  // The implicit MX.
  co_return hosts;
}

// The addresses of all hosts. As long as one has an address, the others' failures do not
// matter; if none has, a temporary failure counts more than a permanent one.
Task<void> FindAddresses(ShardContext* context, std::shared_ptr<const Settings> settings,
                         std::vector<MxRecord> hosts, FoundTargets* found) {
  for (const MxRecord& host : hosts) {
    if (context->cancelled || found->targets.size() >= kTargetsMax) co_return;
    if (const absl::StatusOr<IpAddress> literal = IpAddress::Parse(host.host); literal.ok()) {
      found->targets.push_back({host.host, *literal, host.preference});
      continue;
    }
    const MonoTime deadline = context->loop->now() + kLookupTimeout;
    const absl::StatusOr<transport::AddressAnswer> answer =
        co_await context->resolver->Addresses(host.host, settings->family, deadline);
    if (!answer.ok()) {
      const bool permanent = absl::IsNotFound(answer.status());
      if (!found->trouble || found->permanent) {
        found->trouble = LookupTrouble(host.host, "A", answer.status());
        found->permanent = permanent;
      }
      continue;
    }
    for (const IpAddress& ip : answer->addresses) {
      if (found->targets.size() < kTargetsMax) {
        found->targets.push_back({host.host, ip, host.preference});
      }
    }
  }
}

}  // namespace

Task<FoundTargets> FindTargets(ShardContext* context, std::shared_ptr<const Settings> settings,
                               Nexthop nexthop) {
  FoundTargets found;
  const Hosts hosts = co_await FindHosts(context, settings, nexthop, &found);
  if (hosts.records.empty()) co_return found;
  const int best = hosts.records.front().preference;
  co_await FindAddresses(context, settings, hosts.records, &found);
  const TargetRules& rules = settings->targets;
  if (found.targets.empty()) {
    if (hosts.by_mx && rules.smtp_defer_if_no_mx_address_found) found.permanent = false;
    co_return found;
  }
  const int best_found = found.targets.front().preference;
  found.self = TruncateAtSelf(rules, nexthop.port, &found.targets);
  if (found.targets.empty()) {
    // The primary may only be out of sight: then it is no loop (yet).
    found.permanent = best == best_found;
    found.trouble =
        found.permanent
            ? Trouble{{4, 4, 6}, fmt::format("mail for {} loops back to myself", nexthop.host)}
            : Trouble{{4, 4, 4}, fmt::format("unable to find primary relay for {}", nexthop.host)};
    co_return found;
  }
  found.trouble.reset();
  found.permanent = false;
  const MonoTime now = context->loop->now();
  OrderTargets(
      rules, context->random,
      [&](const Target& target) {
        return context->dead_addresses->Dead({target.ip, nexthop.port}, now);
      },
      &found.targets);
  co_return found;
}

}  // namespace mailrace::engine

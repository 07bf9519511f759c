#include "engine/delivery/target_list.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace mailrace::engine {
namespace {

// Of both versions at least half the limit, if there are so many: a destination with five
// IPv6 addresses and a broken IPv6 route is still reached.
void Balance(size_t limit, std::vector<Target>* targets) {
  const auto v6 = static_cast<size_t>(
      std::count_if(targets->begin(), targets->end(), [](const Target& t) { return t.ip.v6; }));
  const size_t v4 = targets->size() - v6;
  if (v4 == 0 || v6 == 0 || targets->size() <= limit) return;
  size_t v4_room = 0;
  if (v6 <= limit / 2) {
    v4_room = limit - v6;
  } else if (v4 <= limit / 2) {
    v4_room = v4;
  } else {
    v4_room = (limit + (targets->front().ip.v6 ? 0 : 1)) / 2;
  }
  size_t v6_room = limit - v4_room;
  std::erase_if(*targets, [&](const Target& target) {
    size_t& room = target.ip.v6 ? v6_room : v4_room;
    if (room == 0) return true;
    --room;
    return false;
  });
}

// Within a preference the other IP version comes first.
bool LaterVersion(const TargetRules& rules, const Target& target) {
  using Prefer = TargetRules::Prefer;
  return rules.smtp_address_preference != Prefer::kAny &&
         target.ip.v6 != (rules.smtp_address_preference == Prefer::kIpv6);
}

}  // namespace

bool TruncateAtSelf(const TargetRules& rules, uint16_t port, std::vector<Target>* targets) {
  const auto self = std::find_if(targets->begin(), targets->end(), [&](const Target& target) {
    return rules.own.Contain({target.ip, port});
  });
  if (self == targets->end()) return false;
  const int preference = self->preference;
  std::erase_if(*targets,
                [preference](const Target& target) { return target.preference >= preference; });
  return true;
}

void OrderTargets(const TargetRules& rules, Random* random,
                  const std::function<bool(const Target&)>& dead, std::vector<Target>* targets) {
  if (rules.smtp_randomize_addresses) {
    for (size_t i = targets->size(); i > 1; --i) {
      std::swap((*targets)[i - 1], (*targets)[random->Below(i)]);
    }
  }
  std::vector<std::tuple<bool, int, bool, size_t>> ranks;
  for (size_t i = 0; i < targets->size(); ++i) {
    const Target& target = (*targets)[i];
    ranks.emplace_back(dead(target), target.preference, LaterVersion(rules, target), i);
  }
  std::sort(ranks.begin(), ranks.end());
  std::vector<Target> sorted;
  for (const auto& rank : ranks) sorted.push_back(std::move((*targets)[std::get<size_t>(rank)]));
  *targets = std::move(sorted);
  const size_t limit = rules.smtp_mx_address_limit;
  if (limit == 0) return;
  if (rules.smtp_balance_inet_protocols) Balance(limit, targets);
  if (targets->size() > limit) targets->resize(limit);
}

}  // namespace mailrace::engine

#include "engine/bounces/bounce_rules.h"

#include "base/text.h"
#include "queue/message.h"

namespace mailrace::engine {

namespace {

std::string_view LocalPart(std::string_view address) {
  return address.substr(0, address.rfind('@'));
}

}  // namespace

bool MayNotify(std::string_view reverse_path, const BouncePolicy& policy) {
  if (reverse_path.empty()) return false;
  const std::string_view double_bounce = policy.double_bounce_sender;
  if (double_bounce.empty()) return true;
  // A name without a domain stands for it at any of our host names.
  const bool qualified = double_bounce.find('@') != std::string_view::npos;
  return !EqualsIgnoreCase(qualified ? reverse_path : LocalPart(reverse_path), double_bounce);
}

bool WantsDsn(const BounceFacts& facts, const BouncePolicy& policy) {
  if (!MayNotify(facts.reverse_path, policy)) return false;
  if ((facts.notify & queue::kNotifyNever) != 0) return false;
  const bool success_asked = policy.success_notices && (facts.notify & queue::kNotifySuccess) != 0;
  switch (facts.action) {
    case DsnAction::kFailed:
      // Silence asks for failures, RFC 3461 4.1; SUCCESS alone does not.
      return facts.notify == 0 || (facts.notify & queue::kNotifyFailure) != 0;
    case DsnAction::kDelayed:
      return policy.delay_warning_time > absl::ZeroDuration() &&
             (facts.notify == 0 || (facts.notify & queue::kNotifyDelay) != 0);
    case DsnAction::kRelayed:
      // A server that does DSN sends its own: RFC 3461 5.2.3.
      return success_asked && !facts.upstream_offers_dsn;
    case DsnAction::kDelivered:
    case DsnAction::kExpanded:
      return success_asked;
  }
  return false;
}

bool DelayNoticeDue(absl::Time arrival, absl::Time now, bool already_sent,
                    const BouncePolicy& policy) {
  return !already_sent && policy.delay_warning_time > absl::ZeroDuration() &&
         now - arrival >= policy.delay_warning_time;
}

}  // namespace mailrace::engine

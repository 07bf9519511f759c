#include "engine/recovered_job.h"

#include <algorithm>
#include <span>
#include <utility>

#include "engine/routing/router.h"

namespace mailrace::engine {

namespace {

void Append(const queue::Envelope& envelope, std::span<const uint32_t> done_indices,
            const queue::RetryState* retry, const Settings& settings,
            std::vector<RecoveredJob>* jobs) {
  const auto first = static_cast<std::ptrdiff_t>(jobs->size());
  size_t done = 0;
  for (uint32_t i = 0; i < envelope.recipients.size(); ++i) {
    if (done < done_indices.size() && done_indices[done] == i) {
      ++done;
      continue;
    }
    std::string nexthop = NexthopOf(envelope, i, settings);
    const auto known =
        std::find_if(jobs->begin() + first, jobs->end(),
                     [&nexthop](const RecoveredJob& job) { return job.nexthop == nexthop; });
    if (known != jobs->end()) {
      ++known->recipients;
      continue;
    }
    RecoveredJob& job = jobs->emplace_back();
    job.id = envelope.id;
    job.nexthop = std::move(nexthop);
    job.recipients = 1;
    job.priority = envelope.priority;
    job.tenant = envelope.tenant;
    job.held = retry != nullptr && retry->held;
    job.tried = retry != nullptr;
    job.next_attempt = retry != nullptr ? retry->next_attempt : absl::InfinitePast();
  }
}

}  // namespace

void AppendJobs(const queue::RecoveredMessage& message, const Settings& settings,
                std::vector<RecoveredJob>* jobs) {
  Append(message.envelope, message.done_indices, message.has_retry ? &message.retry : nullptr,
         settings, jobs);
}

void AppendJobs(const queue::Envelope& envelope, const Settings& settings,
                std::vector<RecoveredJob>* jobs) {
  Append(envelope, {}, nullptr, settings, jobs);
}

}  // namespace mailrace::engine

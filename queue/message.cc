#include "queue/message.h"

#include <utility>

#include "base/text.h"

namespace mailrace::queue {

void RetryState::Note(Attempt attempt) {
  attempt.relay = Printable(attempt.relay, kAttemptRelayOctetsMax);
  attempt.text = Printable(attempt.text, kAttemptTextOctetsMax);
  history.push_back(std::move(attempt));
  const auto cost = [this](size_t i) {
    size_t octets = 16;
    if (i == 0 || history[i].relay != history[i - 1].relay) octets += history[i].relay.size();
    if (i == 0 || history[i].text != history[i - 1].text) octets += history[i].text.size();
    return octets;
  };
  size_t first = history.size() - 1;
  for (size_t octets = cost(first); first > 0 && history.size() - first < kAttemptsKept; --first) {
    octets += cost(first - 1);
    if (octets > kHistoryOctetsMax) break;
  }
  history.erase(history.begin(), history.begin() + static_cast<std::ptrdiff_t>(first));
}

}  // namespace mailrace::queue

// How many messages a stream of BDAT may have unanswered on one session: as many as fit into
// one round trip at the rate at which the server takes them, and no more.
//
// A message that is said alone is answered after the round trip and its own service. Of `n`
// messages that are under way, one is answered after the same time if the way is the limit;
// if the server is, they stand in line there: n (1 - alone / now) of them, which gains nothing
// and makes whatever comes behind wait (TCP Vegas reckons so). The window opens while nobody
// stands in line, twice as far each round trip until somebody does, and closes by what is more than
// one. What a message alone takes is measured again now and then, with nothing else under way,
// since routes and servers change.
//
// Shared by all sessions with a server: measured while each has one message at most, so that
// the line that the sessions make by their number counts as the server's own slowness.
//
// Pure; one shard.
#pragma once

#include <cstddef>

#include "absl/time/time.h"
#include "base/clock.h"

namespace mailrace::transport::smtp {

class StreamWindow {
 public:
  // How long it is believed what a message alone takes.
  static constexpr absl::Duration kBelieved = absl::Seconds(30);

  explicit StreamWindow(size_t max) : max_(max) {}

  // Messages that one session may have unanswered, 1 at least. 1 while a message alone is
  // being measured.
  size_t Now(MonoTime now);

  // A message was accepted. It was the `under_way`th that its session had unanswered when it
  // was said, at `said`.
  void Answered(size_t under_way, MonoTime said, MonoTime now);

  // The server's manners are in doubt: opens from the start.
  void StartAgain() {
    window_ = kLeast;
    doubling_ = true;
  }

 private:
  // Two, since else the server would be idle while a reply travels.
  static constexpr size_t kLeast = 2;
  // Messages in line of one session: below, the window opens; above, it closes.
  static constexpr double kLineShort = 0.5;
  static constexpr double kLineLong = 1.0;

  void RoundOver(MonoTime now);

  const size_t max_;
  size_t window_ = kLeast;
  bool doubling_ = true;
  absl::Duration alone_ = absl::InfiniteDuration();  // What a message alone takes.
  MonoTime measured_;                                // When that was last found.
  bool measuring_ = true;
  MonoTime measurable_;       // From then on nothing from before is under way.
  absl::Duration latest_;     // What the latest took.
  MonoTime changed_;          // When window_ did; what was said before tells nothing of it.
  size_t round_ = 0;          // Messages of a full window that were answered.
  double shortest_line_ = 0;  // Among them: what always stands in line, not what jitters.
};

}  // namespace mailrace::transport::smtp

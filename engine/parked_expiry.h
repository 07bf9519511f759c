// Gives up mail whose lifetime ends while it is parked (engine/parking) for a dead
// destination: engine/expiry_sweep for what is in the store alone. After each probe that
// failed the oldest of the store are walked, those whose ids may be that old, a slice at a
// time; what is too old comes into memory and goes back to its sender, at most
// ExpirySweep::kGiveUpsAtOnce messages each kPause. Lives on one shard.
#pragma once

#include <memory>

#include "engine/expiry_sweep.h"
#include "engine/message_memory.h"
#include "engine/shard_context.h"

namespace mailrace::engine {

class ParkedExpiry {
 public:
  // Borrowed; outlive it.
  ParkedExpiry(ShardContext* context, MessageMemory* memory, ExpirySweep* sweep)
      : context_(context), memory_(memory), sweep_(sweep) {}
  ParkedExpiry(const ParkedExpiry&) = delete;
  ParkedExpiry& operator=(const ParkedExpiry&) = delete;

  // A destination was found dead (again). If a round is under way it goes on.
  void Start();
  // No further mail is given up.
  void Stop() { stopped_ = true; }

 private:
  struct Slice;
  Task<void> Round();
  Task<void> GiveUp(QueueId id);
  bool IsOver(const queue::RecoveredMessage& message) const;

  ShardContext* const context_;
  MessageMemory* const memory_;
  ExpirySweep* const sweep_;
  bool under_way_ = false;
  bool stopped_ = false;
};

}  // namespace mailrace::engine

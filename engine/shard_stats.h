// What one shard counted and measured. Written by the shard, read by `mailrace stats`.
#pragma once

#include "base/metrics.h"
#include "engine/stages.h"
#include "queue/job.h"

namespace mailrace::engine {

struct ShardStats {
  // Intake.
  Counter accepted_messages;
  Counter accepted_recipients;
  Counter accepted_octets;
  Counter intake_refused;  // Commits that failed: the client got a 4xx.

  // Outcomes, in recipients.
  Counter delivered;
  Counter deferred;
  Counter failed;
  Counter expired;
  Counter discarded;  // By the discard transport.
  Counter uncertain;
  Counter dsn_sent;
  Counter delay_notices_left_out;  // Their senders had had enough.
  Counter removed_messages;

  // Of one class: what its mail waited, and how long it took.
  struct Class {
    Counter accepted_messages;
    Counter delivered;        // Recipients.
    Histogram queue_time;     // As below.
    Histogram delivery_time;  // As below.
  };
  Class of_class[queue::kPriorities];
  Class& OfClass(uint8_t priority) {
    return of_class[priority < queue::kPriorities ? priority : queue::kPriorities - 1];
  }

  // Sessions with relays.
  Counter connects;
  Counter connect_failures;
  Counter sessions_open;  // Now.
  Counter sessions_reused;
  Counter tls_handshakes;
  Counter tls_resumed;
  Counter auth_successes;
  Counter auth_failures;

  // The queue now.
  Counter memory_octets;         // Contents and envelopes held.
  Counter uncommitted_outcomes;  // Recipients whose outcome is not durable: the bound K.

  // Where a message's time goes.
  Histogram commit_time;       // Submission to durable.
  Histogram queue_time;        // Ready to taken.
  Histogram connect_time;      // To a session that may send: all of it,
  Histogram tls_time;          // of which for TLS, if there was any,
  Histogram auth_time;         // and for the login.
  Histogram transaction_time;  // Taken to its last reply.
  Histogram delivery_time;     // Accepted to delivered.
  StageTimes stages;           // The same in parts, and the record.
};

}  // namespace mailrace::engine

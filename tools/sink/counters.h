// What a sink counts. One set a thread, bumped there and summed up by the main thread.
#pragma once

#include <cstdint>
#include <utility>

#include "base/metrics.h"
#include "tools/common/json_object.h"

namespace mailrace::sink {

struct SinkCounters {
  Counter connections;
  Counter connections_closed;
  Counter quits;  // Sessions that ended by QUIT.
  Counter messages;
  Counter messages_refused;  // After their content: faults, limits, full disks.
  Counter recipients;        // Of accepted messages.
  Counter octets;            // Of accepted messages' content.
  // When the first and the last of them were accepted: microseconds since 1970; 0: none was.
  Counter first_message;
  Counter last_message;
  Counter auth_successes;
  Counter auth_failures;
  Counter tls_handshakes;
  Counter tls_resumed;
  Counter tls_failures;
  Counter command_groups;      // Reads that brought at least one whole command.
  Counter commands;            // AUTH responses and content are none.
  Counter pipelined_commands;  // Came in one read with a command before them.
  Counter largest_group;
  Counter envelopes_behind_content;  // MAIL came in one read with the end of a message.
  Counter protocol_errors;           // 500, 501, 503 and the like.
  Counter faults;                    // Injected.
};

using SinkCounterField = std::pair<const char*, Counter SinkCounters::*>;
inline constexpr SinkCounterField kSinkCounterFields[] = {
    {"connections", &SinkCounters::connections},
    {"connections_closed", &SinkCounters::connections_closed},
    {"quits", &SinkCounters::quits},
    {"messages", &SinkCounters::messages},
    {"messages_refused", &SinkCounters::messages_refused},
    {"recipients", &SinkCounters::recipients},
    {"octets", &SinkCounters::octets},
    {"auth_successes", &SinkCounters::auth_successes},
    {"auth_failures", &SinkCounters::auth_failures},
    {"tls_handshakes", &SinkCounters::tls_handshakes},
    {"tls_resumed", &SinkCounters::tls_resumed},
    {"tls_failures", &SinkCounters::tls_failures},
    {"command_groups", &SinkCounters::command_groups},
    {"commands", &SinkCounters::commands},
    {"pipelined_commands", &SinkCounters::pipelined_commands},
    {"largest_group", &SinkCounters::largest_group},
    {"envelopes_behind_content", &SinkCounters::envelopes_behind_content},
    {"protocol_errors", &SinkCounters::protocol_errors},
    {"faults", &SinkCounters::faults},
};

}  // namespace mailrace::sink

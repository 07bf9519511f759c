// Takes one exported message into the queue:
//
//   {"command": "import", "envelope": ExportJson, "octets": N} LF, then N octets of content
//
// answered by {"imported": QUEUE-ID} once it is durable, or {"error": WHY} and nothing is
// queued. It is a new message with a new id; its arrival stays what it was, so that its
// lifetime goes on. Runs on the first shard, which delivers it.
#pragma once

#include <string_view>

#include "base/logger.h"
#include "base/loop.h"
#include "base/task.h"
#include "engine/intake/acceptor.h"
#include "nlohmann/json_fwd.hpp"
#include "transport/stream.h"

namespace mailrace::engine {

struct ImportParts {
  Loop* loop = nullptr;
  Acceptor* acceptor = nullptr;
  Logger* logger = nullptr;
  uint64_t octets_max = 0;  // message_size_limit; our own trace fields come on top.
};

// `request` is the parsed first line; content is taken from stream->input(). Borrows the
// stream until it ends.
Task<void> ImportMessage(ImportParts parts, nlohmann::json request, transport::Stream* stream);

}  // namespace mailrace::engine

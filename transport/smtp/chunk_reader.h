// A message's content cut into the chunks of BDAT (RFC 3030), each checked before any of it
// goes out. Borrowed: the message; used by one coroutine.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "base/buffer.h"
#include "base/task.h"
#include "transport/smtp/dot_stuffer.h"
#include "transport/smtp/transaction.h"

namespace mailrace::transport::smtp {

class ChunkReader {
 public:
  // Rewinds the message.
  ChunkReader(OutgoingMessage* message, bool eight_bit_allowed);

  // Appends up to `octets_max` to *chunk, or somewhat more to end a line; last() says whether
  // that was the end. A failure is of the content: unreadable, or unfit for sending; what was
  // appended must not be sent.
  Task<std::optional<Failure>> Read(size_t octets_max, Buffer* chunk);
  bool last() const { return ended_; }
  const OutgoingMessage* message() const { return message_; }

 private:
  OutgoingMessage* const message_;
  DotStuffer gate_;
  std::string_view rest_;  // Of what the message gave last.
  bool ended_ = false;
};

}  // namespace mailrace::transport::smtp

// The client's commands as octets (RFC 5321 4.1.1): one line each, ended by CRLF,
// parameters only where the server offered them (4.1.1.3). Pure; appends to *out.
#pragma once

#include <optional>
#include <string_view>

#include "base/buffer.h"
#include "transport/smtp/capabilities.h"
#include "transport/smtp/transaction.h"

namespace mailrace::transport::smtp {

// "EHLO name", "AUTH CRAM-MD5"; `argument` may be empty.
void WriteCommand(std::string_view verb, std::string_view argument, Buffer* out);
// "MAIL FROM:<path> SIZE= BODY= SMTPUTF8 RET= ENVID=".
void WriteMail(const OutgoingMessage& message, const Capabilities& capabilities, Buffer* out);
// "RCPT TO:<path> NOTIFY= ORCPT=".
void WriteRcpt(const OutgoingRecipient& recipient, const Capabilities& capabilities, Buffer* out);

// Why the server that offered `capabilities` cannot be asked to take `message`: our own
// reply, as the server would give it, or nothing. Also refuses an envelope whose octets
// would break out of the command line; intake lets none in (5321-15, O-08).
std::optional<Reply> RefuseMessage(const OutgoingMessage& message,
                                   const Capabilities& capabilities);
std::optional<Reply> RefuseRecipient(const OutgoingRecipient& recipient, bool smtputf8);

}  // namespace mailrace::transport::smtp

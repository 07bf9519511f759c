#include "transport/smtp/command_writer.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "base/address.h"
#include "fmt/format.h"

namespace mailrace::transport::smtp {

namespace {

// What may stand between "<" and ">": no controls, and 8-bit only as valid UTF-8 of a
// message that asks for SMTPUTF8.
bool IsSafePath(std::string_view path, bool smtputf8) {
  const bool controls = std::any_of(path.begin(), path.end(), [](char c) {
    const auto octet = static_cast<unsigned char>(c);
    return octet < 0x20 || octet == 0x7f;
  });
  return !controls && (smtputf8 ? IsValidUtf8(path) : IsAscii(path));
}

// A parameter's value (RFC 5321 4.1.2, esmtp-value) is a path without spaces.
bool IsSafeValue(std::string_view value, bool smtputf8) {
  return IsSafePath(value, smtputf8) && value.find(' ') == std::string_view::npos;
}

Reply OwnReply(int code, std::string text) {
  Reply reply;
  reply.code = code;
  reply.lines.push_back(std::move(text));
  return reply;
}

void WriteParameter(std::string_view name, std::string_view value, Buffer* out) {
  if (value.empty()) return;
  out->Append(name);
  out->Append(value);
}

}  // namespace

void WriteCommand(std::string_view verb, std::string_view argument, Buffer* out) {
  out->Append(verb);
  WriteParameter(" ", argument, out);
  out->Append("\r\n");
}

void WriteMail(const OutgoingMessage& message, const Capabilities& capabilities, Buffer* out) {
  out->Append("MAIL FROM:<");
  out->Append(message.reverse_path);
  out->Append(">");
  if (capabilities.size_offered) {
    const fmt::format_int octets(message.octets);
    WriteParameter(" SIZE=", {octets.data(), octets.size()}, out);
  }
  if (message.eight_bit && capabilities.eight_bit_mime) out->Append(" BODY=8BITMIME");
  if (message.smtputf8 && capabilities.smtputf8) out->Append(" SMTPUTF8");
  if (capabilities.dsn) {
    WriteParameter(" RET=", message.ret, out);
    WriteParameter(" ENVID=", message.envid, out);
  }
  out->Append("\r\n");
}

void WriteRcpt(const OutgoingRecipient& recipient, const Capabilities& capabilities, Buffer* out) {
  out->Append("RCPT TO:<");
  out->Append(recipient.forward_path);
  out->Append(">");
  if (capabilities.dsn) {
    WriteParameter(" NOTIFY=", recipient.notify, out);
    WriteParameter(" ORCPT=", recipient.orcpt, out);
  }
  out->Append("\r\n");
}

std::optional<Reply> RefuseMessage(const OutgoingMessage& message,
                                   const Capabilities& capabilities) {
  if (message.smtputf8 && !capabilities.smtputf8) {
    return OwnReply(550, "5.6.7 SMTPUTF8 is required, but was not offered by the server");
  }
  if (message.eight_bit && !capabilities.eight_bit_mime) {
    return OwnReply(550, "5.6.3 8-bit content, but 8BITMIME was not offered by the server");
  }
  if (capabilities.size_octets_max > 0 && message.octets > capabilities.size_octets_max) {
    return OwnReply(552, fmt::format("5.3.4 message size {} exceeds size limit {} of the server",
                                     message.octets, capabilities.size_octets_max));
  }
  if (!IsSafePath(message.reverse_path, message.smtputf8)) {
    return OwnReply(553, "5.1.7 reverse-path has octets that cannot be sent");
  }
  if (!IsSafeValue(message.ret, message.smtputf8) ||
      !IsSafeValue(message.envid, message.smtputf8)) {
    return OwnReply(501, "5.5.4 RET or ENVID has octets that cannot be sent");
  }
  return std::nullopt;
}

std::optional<Reply> RefuseRecipient(const OutgoingRecipient& recipient, bool smtputf8) {
  if (!IsSafePath(recipient.forward_path, smtputf8)) {
    return OwnReply(553, "5.1.3 forward-path has octets that cannot be sent");
  }
  if (!IsSafeValue(recipient.notify, smtputf8) || !IsSafeValue(recipient.orcpt, smtputf8)) {
    return OwnReply(501, "5.5.4 NOTIFY or ORCPT has octets that cannot be sent");
  }
  return std::nullopt;
}

}  // namespace mailrace::transport::smtp

// What a server said it can do in its reply to EHLO.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "transport/smtp/reply.h"

namespace mailrace::transport::smtp {

struct Capabilities {
  bool esmtp = false;  // EHLO was accepted. All else is false after HELO.
  bool pipelining = false;
  bool starttls = false;
  bool eight_bit_mime = false;
  bool smtputf8 = false;
  bool dsn = false;
  bool chunking = false;
  bool enhanced_status_codes = false;
  bool size_offered = false;
  uint64_t size_octets_max = 0;              // 0: no fixed limit.
  bool auth_offered = false;                 // An AUTH line was there, even an empty one.
  std::vector<std::string> auth_mechanisms;  // Upper case, in order, at most 64.
  uint32_t mail_max = 0;                     // LIMITS (RFC 9422), 0: none.
  uint32_t rcpt_max = 0;

  // Reads the lines of a 250 to EHLO (the first is the server's name). Keywords without
  // case; unknown or malformed ones are ignored; "AUTH=" is read like "AUTH " (P-15).
  // Lines of the keywords `discarded` (upper case) are passed over.
  static Capabilities Parse(const Reply& ehlo_reply,
                            const std::vector<std::string>& discarded = {});
};

}  // namespace mailrace::transport::smtp

// The first word of a session, for deliveries and for the probe that shows what they would meet:
// EHLO, or HELO to who is to be spoken to so (smtp_never_send_ehlo, smtp_always_send_ehlo) or does
// not know EHLO (RFC 5321 3.2).
#pragma once

#include <optional>
#include <string_view>

#include "base/task.h"
#include "engine/settings.h"
#include "transport/smtp/client_session.h"

namespace mailrace::engine {

struct HelloNeeds {
  bool encrypted = false;  // Behind a handshake by STARTTLS, which only who knows EHLO offers.
  bool starttls = false;   // Must be offered: without EHLO the session is of no use.
  bool login = false;      // Mail that is not logged in may be refused for good.
};

struct Hello {
  std::optional<transport::smtp::Failure> failure;  // What ended the greeting, if anything did.
  // HELO was said, and no extension is known: why. Empty: EHLO.
  std::string_view helo_because;
  // `failure` is the refusal of EHLO, and STARTTLS was needed. The session can say QUIT.
  bool starttls_unknown = false;
};

// REQUIRES: the greeting was read. Both are borrowed.
Task<Hello> SayHello(const Settings* settings, transport::smtp::ClientSession* session,
                     HelloNeeds needs);

}  // namespace mailrace::engine

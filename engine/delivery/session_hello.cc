#include "engine/delivery/session_hello.h"

namespace mailrace::engine {

using transport::smtp::ClientSession;
using transport::smtp::Failure;

namespace {

// 421 and 521 (RFC 7504) end the session.
bool IsGoodbye(int code) { return code == 421 || code == 521; }

}  // namespace

Task<Hello> SayHello(const Settings* settings, ClientSession* session, HelloNeeds needs) {
  Hello hello;
  if (!needs.encrypted && settings->never_send_ehlo) {
    hello.helo_because = "smtp_never_send_ehlo = yes";
  } else if (!needs.encrypted && !settings->always_send_ehlo && !session->greeted_with_esmtp()) {
    hello.helo_because = "smtp_always_send_ehlo = no, and it does not greet as ESMTP";
  } else {
    hello.failure = co_await session->Ehlo();
  }
  const bool refused = hello.failure && hello.failure->kind == Failure::Kind::kReply &&
                       !IsGoodbye(hello.failure->reply->code);
  if (refused && !needs.encrypted && needs.starttls) {
    hello.starttls_unknown = true;
    co_return hello;
  }
  if (refused && !needs.encrypted && !needs.login) hello.helo_because = "EHLO was refused";
  if (!hello.helo_because.empty()) {
    hello.failure = co_await session->Helo();
  }
  co_return hello;
}

}  // namespace mailrace::engine

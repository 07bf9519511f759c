#include "transport/smtp/transaction.h"

namespace mailrace::transport::smtp {

std::string_view StepCommand(Step step) {
  switch (step) {
    case Step::kConnect:
      return "connect";
    case Step::kGreeting:
      return "initial server greeting";
    case Step::kEhlo:
      return "EHLO";
    case Step::kHelo:
      return "HELO";
    case Step::kStartTls:
    case Step::kTlsHandshake:
      return "STARTTLS";
    case Step::kAuth:
      return "AUTH";
    case Step::kMail:
      return "MAIL FROM";
    case Step::kRcpt:
      return "RCPT TO";
    case Step::kData:
      return "DATA";
    case Step::kBody:
    case Step::kEndOfData:
      return "end of DATA";
    case Step::kRset:
      return "RSET";
    case Step::kQuit:
      return "QUIT";
  }
  return "";
}

std::string_view StepStage(Step step) {
  switch (step) {
    case Step::kConnect:
      return "connecting";
    case Step::kGreeting:
      return "receiving the initial server greeting";
    case Step::kEhlo:
      return "performing the EHLO handshake";
    case Step::kHelo:
      return "performing the HELO handshake";
    case Step::kStartTls:
      return "performing the STARTTLS handshake";
    case Step::kTlsHandshake:
      return "performing the TLS handshake";
    case Step::kAuth:
      return "performing SASL authentication";
    case Step::kMail:
      return "sending MAIL FROM";
    case Step::kRcpt:
      return "sending RCPT TO";
    case Step::kData:
      return "sending DATA command";
    case Step::kBody:
      return "sending message body";
    case Step::kEndOfData:
      return "sending end of data -- message may be sent more than once";
    case Step::kRset:
      return "sending RSET";
    case Step::kQuit:
      return "sending QUIT";
  }
  return "";
}

}  // namespace mailrace::transport::smtp

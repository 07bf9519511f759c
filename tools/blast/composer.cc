#include "tools/blast/composer.h"

#include <utility>

#include "fmt/format.h"

namespace mailrace::blast {

namespace {

constexpr std::string_view kLine =
    "Mailrace sends this line again and again until the message is long enough.\r\n";

// Whole lines, at least `octets` of them.
std::string MakeBody(uint64_t octets) {
  std::string body;
  body.reserve(octets + kLine.size());
  while (body.size() < octets) body += kLine;
  return body;
}

}  // namespace

absl::StatusOr<Composer> Composer::Make(const BlastOptions& options, absl::Time started) {
  absl::StatusOr<Pattern> sender = Pattern::Parse(options.sender);
  if (!sender.ok()) return sender.status();
  absl::StatusOr<Pattern> recipient = Pattern::Parse(options.recipient);
  if (!recipient.ok()) return recipient.status();
  return Composer(options, started, *std::move(sender), *std::move(recipient));
}

Composer::Composer(const BlastOptions& options, absl::Time started, Pattern sender,
                   Pattern recipient)
    : run_(options.run),
      date_(absl::FormatTime("%a, %d %b %Y %H:%M:%S +0000", started, absl::UTCTimeZone())),
      sender_(std::move(sender)),
      recipient_(std::move(recipient)),
      size_octets_(options.size_octets),
      body_(MakeBody(options.size_octets)) {}

std::string Composer::Id(uint64_t sequence) const { return fmt::format("{}-{}", run_, sequence); }

std::string Composer::Sender(uint64_t sequence) const {
  std::string address;
  sender_.AppendTo(sequence, 0, &address);
  return address;
}

std::string Composer::Recipient(uint64_t sequence, uint32_t index) const {
  std::string address;
  recipient_.AppendTo(sequence, index, &address);
  return address;
}

size_t Composer::AppendContent(uint64_t sequence, Buffer* out) const {
  const std::string sender = Sender(sequence);
  const std::string header = fmt::format(
      "From: <{}>\r\nTo: <{}>\r\nSubject: Notification {}\r\nDate: {}\r\n"
      "Message-ID: <{}-{}@mailrace-blast.invalid>\r\nX-Mailrace-Id: {}-{}\r\n"
      "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n",
      sender, Recipient(sequence, 0), sequence, date_, run_, sequence, run_, sequence);
  constexpr std::string_view kLineEnd = "\r\n";
  const size_t before = out->size();
  out->Append(header);
  if (header.size() + kLineEnd.size() < size_octets_) {
    // Cut where the size wants it; a CRLF that the cut splits or leaves is not doubled.
    std::string_view body =
        std::string_view(body_).substr(0, size_octets_ - header.size() - kLineEnd.size());
    while (body.ends_with('\r') || body.ends_with('\n')) body.remove_suffix(1);
    out->Append(body);
    for (size_t i = header.size() + body.size() + kLineEnd.size(); i < size_octets_; ++i) {
      out->Append("=");
    }
    out->Append(kLineEnd);
  }
  const size_t octets = out->size() - before;
  out->Append(".\r\n");
  return octets;
}

}  // namespace mailrace::blast

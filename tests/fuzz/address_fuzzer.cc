// Paths, addresses, xtext, status codes and IP addresses, as peers write them.
#include "base/address.h"

#include "base/enhanced_status.h"
#include "base/socket_address.h"
#include "base/text.h"
#include "fuzz_input.h"

namespace mailrace {
namespace {

// What is accepted may be put into a command line, and says the same when read again.
void CheckAddress(const MailAddress& address, const AddressRules& rules, const std::string& input) {
  const std::string text = address.ToString();
  FUZZ_CHECK(!fuzz::HasControls(text), input);
  FUZZ_CHECK(rules.allow_utf8 ? IsValidUtf8(text) : IsAscii(text), input);
  FUZZ_CHECK(address.local_part.size() <= 64 && address.domain.size() <= 255, input);
  FUZZ_CHECK(text.size() <= 254, input);
  FUZZ_CHECK(!rules.require_domain || !address.domain.empty() || text.empty(), input);
  const absl::StatusOr<MailAddress> bare = ParseAddress(text, rules);
  const absl::StatusOr<MailAddress> path = ParsePath("<" + text + ">", rules);
  for (const absl::StatusOr<MailAddress>* again : {&bare, &path}) {
    FUZZ_CHECK(again->ok(), input);
    FUZZ_CHECK((*again)->local_part == address.local_part, input);
    FUZZ_CHECK((*again)->domain == address.domain, input);
  }
}

void CheckAddresses(const std::string& input) {
  for (int bits = 0; bits < 8; ++bits) {
    const AddressRules rules{.allow_utf8 = (bits & 1) != 0,
                             .require_domain = (bits & 2) != 0,
                             .allow_null_reverse_path = (bits & 4) != 0};
    for (const auto& address : {ParsePath(input, rules), ParseAddress(input, rules)}) {
      if (address.ok()) {
        CheckAddress(*address, rules, input);
        FUZZ_CHECK(!address->ToString().empty() || rules.allow_null_reverse_path, input);
      } else {
        const std::string why(address.status().message());
        FUZZ_CHECK(!why.empty() && !fuzz::HasControls(why), input);
      }
    }
  }
}

void CheckXtext(const std::string& input) {
  const std::string encoded = EncodeXtext(input);
  for (const char c : encoded) FUZZ_CHECK(c > 0x20 && c < 0x7f && c != '=', input);
  const absl::StatusOr<std::string> back = DecodeXtext(encoded);
  FUZZ_CHECK(back.ok() == !fuzz::HasControls(input), input);
  if (back.ok()) FUZZ_CHECK(*back == input, input);

  const absl::StatusOr<std::string> decoded = DecodeXtext(input);
  if (!decoded.ok()) return;
  FUZZ_CHECK(!fuzz::HasControls(*decoded), input);
  const absl::StatusOr<std::string> again = DecodeXtext(EncodeXtext(*decoded));
  FUZZ_CHECK(again.ok() && *again == *decoded, input);
}

void CheckText(const std::string& input) {
  const std::string shown = Printable(input, 40);
  FUZZ_CHECK(shown.size() <= 40, input);
  FUZZ_CHECK(!fuzz::HasControls(shown) && IsValidUtf8(shown), input);
  FUZZ_CHECK(Printable(shown, 40) == shown, input);
  size_t octets = 0;
  for (std::string_view rest = input; !rest.empty();) {
    const size_t sequence = Utf8SequenceOctets(rest);
    if (sequence == 0) break;
    octets += sequence;
    FUZZ_CHECK(octets <= input.size(), input);
    rest.remove_prefix(sequence);
  }
  FUZZ_CHECK((octets == input.size()) == IsValidUtf8(input), input);
}

void CheckCodesAndAddresses(const std::string& input) {
  if (const auto status = EnhancedStatus::ParsePrefix(input)) {
    FUZZ_CHECK(input.starts_with(status->ToString()), input);
    FUZZ_CHECK(EnhancedStatus::ParsePrefix(status->ToString()) == status, input);
  }
  for (const int code : {250, 354, 450, 550}) {
    FUZZ_CHECK(EnhancedStatus::ForReply(code, input).klass == code / 100, input);
  }
  if (const auto ip = IpAddress::Parse(input); ip.ok()) {
    const auto again = IpAddress::Parse(ip->ToString());
    FUZZ_CHECK(again.ok() && *again == *ip, input);
  }
  if (const auto address = SocketAddress::Parse(input); address.ok()) {
    const auto again = SocketAddress::Parse(address->ToString());
    FUZZ_CHECK(again.ok() && *again == *address, input);
  }
}

}  // namespace
}  // namespace mailrace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  mailrace::CheckAddresses(input);
  mailrace::CheckXtext(input);
  mailrace::CheckText(input);
  mailrace::CheckCodesAndAddresses(input);
  return 0;
}

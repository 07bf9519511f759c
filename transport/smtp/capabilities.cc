#include "transport/smtp/capabilities.h"

#include <algorithm>
#include <limits>
#include <string_view>

#include "base/text.h"

namespace mailrace::transport::smtp {

namespace {

constexpr size_t kMechanismsMax = 64;

// The next word of *text, which loses it. Empty at the end.
std::string_view TakeWord(std::string_view* text) {
  const size_t begin = text->find_first_not_of(" \t");
  if (begin == std::string_view::npos) {
    *text = {};
    return {};
  }
  const size_t end = std::min(text->find_first_of(" \t", begin), text->size());
  const std::string_view word = text->substr(begin, end - begin);
  text->remove_prefix(end);
  return word;
}

void ParseAuth(std::string_view words, Capabilities* capabilities) {
  capabilities->auth_offered = true;
  std::vector<std::string>& mechanisms = capabilities->auth_mechanisms;
  for (std::string_view word = TakeWord(&words); !word.empty(); word = TakeWord(&words)) {
    if (mechanisms.size() == kMechanismsMax) return;
    std::string name = AsciiUppered(word);
    // Servers that announce both "AUTH " and the older "AUTH=" repeat themselves.
    if (std::find(mechanisms.begin(), mechanisms.end(), name) == mechanisms.end()) {
      mechanisms.push_back(std::move(name));
    }
  }
}

// RFC 1870 5: no number and 0 both mean that there is no fixed limit. A number that is
// none, or too large for us, is no limit that we could keep either.
void ParseSize(std::string_view words, Capabilities* capabilities) {
  capabilities->size_offered = true;
  capabilities->size_octets_max = ParseUint(TakeWord(&words)).value_or(0);
}

// RFC 9422 3: "LIMITS MAILMAX=20 RCPTMAX=100". Zero is not a limit there.
void ParseLimits(std::string_view words, Capabilities* capabilities) {
  for (std::string_view word = TakeWord(&words); !word.empty(); word = TakeWord(&words)) {
    const size_t equals = word.find('=');
    if (equals == std::string_view::npos) continue;
    const auto value = ParseUint(word.substr(equals + 1));
    if (!value || *value == 0 || *value > std::numeric_limits<uint32_t>::max()) continue;
    const std::string_view name = word.substr(0, equals);
    if (EqualsIgnoreCase(name, "MAILMAX")) capabilities->mail_max = static_cast<uint32_t>(*value);
    if (EqualsIgnoreCase(name, "RCPTMAX")) capabilities->rcpt_max = static_cast<uint32_t>(*value);
  }
}

void ParseLine(std::string_view line, Capabilities* capabilities) {
  std::string_view words = line;
  const std::string_view keyword = TakeWord(&words);
  if (EqualsIgnoreCase(keyword, "PIPELINING")) capabilities->pipelining = true;
  if (EqualsIgnoreCase(keyword, "STARTTLS")) capabilities->starttls = true;
  if (EqualsIgnoreCase(keyword, "8BITMIME")) capabilities->eight_bit_mime = true;
  if (EqualsIgnoreCase(keyword, "SMTPUTF8")) capabilities->smtputf8 = true;
  if (EqualsIgnoreCase(keyword, "DSN")) capabilities->dsn = true;
  if (EqualsIgnoreCase(keyword, "CHUNKING")) capabilities->chunking = true;
  if (EqualsIgnoreCase(keyword, "ENHANCEDSTATUSCODES")) capabilities->enhanced_status_codes = true;
  if (EqualsIgnoreCase(keyword, "SIZE")) ParseSize(words, capabilities);
  if (EqualsIgnoreCase(keyword, "LIMITS")) ParseLimits(words, capabilities);
  if (EqualsIgnoreCase(keyword, "AUTH")) ParseAuth(words, capabilities);
  constexpr std::string_view kOldAuth = "AUTH=";
  if (StartsWithIgnoreCase(Trim(line), kOldAuth)) {
    ParseAuth(Trim(line).substr(kOldAuth.size()), capabilities);
  }
}

}  // namespace

Capabilities Capabilities::Parse(const Reply& ehlo_reply,
                                 const std::vector<std::string>& discarded) {
  Capabilities capabilities;
  capabilities.esmtp = true;
  for (size_t i = 1; i < ehlo_reply.lines.size(); ++i) {
    const std::string_view line = Trim(ehlo_reply.lines[i]);
    // Up to the first blank or, in "AUTH=", the sign.
    const std::string keyword = AsciiUppered(line.substr(0, line.find_first_of(" \t=")));
    if (std::find(discarded.begin(), discarded.end(), keyword) != discarded.end()) continue;
    ParseLine(ehlo_reply.lines[i], &capabilities);
  }
  return capabilities;
}

}  // namespace mailrace::transport::smtp

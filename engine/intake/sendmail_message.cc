#include "engine/intake/sendmail_message.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::engine {

namespace {

// Comments within comments: deeper ones are somebody's experiment.
constexpr int kCommentDepthMax = 32;

// One address list (RFC 5322 3.4): reads tokens, keeps what is an address.
class AddressListParser {
 public:
  AddressListParser(std::string_view text, size_t addresses_max, std::vector<std::string>* out)
      : text_(text), addresses_max_(addresses_max), out_(out) {}

  absl::Status Parse() {
    while (at_ < text_.size()) {
      const absl::Status status = Token();
      if (!status.ok()) return status;
    }
    return EndAddress();
  }

 private:
  absl::Status Bad(std::string_view why) const {
    return absl::InvalidArgumentError(
        fmt::format("{} in address list: {}", why, Printable(text_, 200)));
  }

  absl::Status Token() {
    const char c = text_[at_];
    switch (c) {
      case '(':
        return Comment();
      case '"':
        return Quoted();
      case '<':
        return Route();
      case ',':
      case ';':  // Ends a group.
        ++at_;
        return EndAddress();
      case ':':
        // What came before was a group's name; within an address literal it is no token.
        ++at_;
        words_.clear();
        return absl::OkStatus();
      case '[':
        return Literal();
      case ' ':
      case '\t':
      case '\r':
      case '\n':
        ++at_;
        blank_ = true;
        return absl::OkStatus();
      default:
        Word(text_.substr(at_++, 1));
        return absl::OkStatus();
    }
  }

  // "a @ b" is one address, "Fred b" are two words of a phrase.
  void Word(std::string_view octets) {
    if (blank_ && !words_.empty() && octets.front() != '@' && octets.front() != '.' &&
        words_.back() != '@' && words_.back() != '.') {
      words_ += ' ';
    }
    blank_ = false;
    words_ += octets;
  }

  absl::Status Comment() {
    int depth = 0;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '\\') {
        ++at_;
      } else if (c == '(') {
        if (++depth > kCommentDepthMax) return Bad("too deep a comment");
      } else if (c == ')' && --depth == 0) {
        ++at_;
        blank_ = true;
        return absl::OkStatus();
      }
    }
    return Bad("unclosed comment");
  }

  absl::Status Quoted() {
    const size_t begin = at_++;
    while (at_ < text_.size() && text_[at_] != '"') at_ += text_[at_] == '\\' ? 2 : 1;
    if (at_ >= text_.size()) return Bad("unclosed quote");
    ++at_;
    Word(text_.substr(begin, at_ - begin));
    return absl::OkStatus();
  }

  absl::Status Literal() {
    const size_t end = text_.find(']', at_);
    if (end == std::string_view::npos) return Bad("unclosed address literal");
    Word(text_.substr(at_, end + 1 - at_));
    at_ = end + 1;
    return absl::OkStatus();
  }

  // "<address>": the words before were a display name.
  absl::Status Route() {
    bool quoted = false;
    size_t end = at_ + 1;
    for (; end < text_.size() && (quoted || text_[end] != '>'); ++end) {
      if (text_[end] == '\\')
        ++end;
      else if (text_[end] == '"')
        quoted = !quoted;
    }
    if (end >= text_.size()) return Bad("unclosed <");
    std::string address(Trim(text_.substr(at_ + 1, end - at_ - 1)));
    at_ = end + 1;
    words_.clear();
    if (route_seen_) return Bad("two addresses without a comma");
    route_seen_ = true;
    if (address.empty()) return Bad("empty <>");
    return Keep(std::move(address));
  }

  absl::Status EndAddress() {
    const std::string words = std::exchange(words_, {});
    const bool route_seen = std::exchange(route_seen_, false);
    blank_ = false;
    if (route_seen || words.empty()) return absl::OkStatus();
    // Blanks outside quotes part recipients, as they always did for sendmail(1).
    if (words.find('"') == std::string::npos && words.find(' ') != std::string::npos) {
      return Bad("missing comma");
    }
    return Keep(words);
  }

  absl::Status Keep(std::string address) {
    if (out_->size() >= addresses_max_) {
      return absl::ResourceExhaustedError(fmt::format("more than {} recipients", addresses_max_));
    }
    out_->push_back(std::move(address));
    return absl::OkStatus();
  }

  const std::string_view text_;
  const size_t addresses_max_;
  std::vector<std::string>* const out_;
  size_t at_ = 0;
  std::string words_;
  bool blank_ = false;
  bool route_seen_ = false;
};

bool IsFieldName(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(),
                                      [](unsigned char c) { return c > 0x20 && c < 0x7f; });
}

// How much of a line that has more than `room` octets stays in front. The octet behind it is a
// blank, or not in the middle of a character of UTF-8.
size_t FoldAt(std::string_view line, size_t room) {
  constexpr size_t kUtf8OctetsMax = 4;
  const size_t at = line.substr(0, room + 1).find_last_of(" \t,");
  if (at != std::string_view::npos && at > 0 && at >= room / 2) {
    if (line[at] != ',') return at;
    if (at < room) return at + 1;
  }
  size_t cut = room;
  const size_t least = room > kUtf8OctetsMax ? room - kUtf8OctetsMax : room;
  while (cut > least && (line[cut] & 0xC0) == 0x80) --cut;
  return cut;
}

void AppendFolded(std::string_view line, size_t line_octets_max, std::string* out) {
  size_t room = line_octets_max;
  while (room != 0 && line.size() > room) {
    const size_t cut = FoldAt(line, room);
    out->append(line.substr(0, cut));
    out->append("\r\n");
    line.remove_prefix(cut);
    const bool blank = line.front() == ' ' || line.front() == '\t';
    if (!blank) out->append(" ");
    room = blank ? line_octets_max : line_octets_max - 1;
  }
  out->append(line);
}

}  // namespace

absl::StatusOr<bool> SendmailInput::Feed(std::string_view octets) {
  while (!octets.empty()) {
    const size_t end = octets.find('\n');
    line_.append(octets.substr(0, end));
    if (octets_max_ != 0 && content_.size() + line_.size() > octets_max_) {
      return absl::ResourceExhaustedError(
          fmt::format("message is larger than {} octets", octets_max_));
    }
    if (end == std::string_view::npos) return true;
    octets.remove_prefix(end + 1);
    const absl::StatusOr<bool> more = EndLine();
    if (!more.ok() || !*more) return more;
  }
  return true;
}

absl::StatusOr<bool> SendmailInput::EndLine() {
  if (line_.ends_with('\r')) line_.pop_back();
  if (dot_ends_input_ && line_ == ".") {
    line_.clear();
    return false;
  }
  if (line_.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError("NUL octet in the message");
  }
  std::replace(line_.begin(), line_.end(), '\r', ' ');
  content_ += line_;
  content_ += "\r\n";
  line_.clear();
  return true;
}

absl::Status SendmailInput::Finish() {
  if (line_.empty()) return absl::OkStatus();
  return EndLine().status();
}

std::string FoldLongLines(std::string content, size_t line_octets_max) {
  std::string out;
  for (std::string_view rest = content; !rest.empty();) {
    const size_t end = std::min(rest.find("\r\n"), rest.size());
    AppendFolded(rest.substr(0, end), line_octets_max, &out);
    if (end < rest.size()) out += "\r\n";
    rest.remove_prefix(std::min(end + 2, rest.size()));
  }
  return out;
}

absl::Status ParseAddressList(std::string_view value, size_t addresses_max,
                              std::vector<std::string>* addresses) {
  return AddressListParser(value, addresses_max, addresses).Parse();
}

absl::StatusOr<HeaderFields> ReadHeader(std::string_view content,
                                        std::optional<size_t> recipients_max) {
  constexpr std::array<std::string_view, 3> kNames = {"To", "Cc", "Bcc"};
  HeaderFields header;
  std::vector<std::string_view> plain;
  std::vector<std::string_view> resent;
  while (header.body_at < content.size()) {
    // A field is a line and the folded ones behind it.
    const std::string_view rest = content.substr(header.body_at);
    size_t end = rest.find("\r\n");
    const std::string_view line = rest.substr(0, end);
    end = end == std::string_view::npos ? rest.size() : end + 2;
    const bool separator = header.body_at == 0 && line.starts_with("From ");
    const size_t colon = line.find(':');
    const std::string_view name =
        colon == std::string_view::npos ? std::string_view() : Trim(line.substr(0, colon));
    if (!separator && (!IsFieldName(name) || line.front() == ' ' || line.front() == '\t')) break;
    while (end < rest.size() && (rest[end] == ' ' || rest[end] == '\t')) {
      const size_t next = rest.find("\r\n", end);
      end = next == std::string_view::npos ? rest.size() : next + 2;
    }
    const std::string_view field = rest.substr(0, end);
    header.body_at += end;
    if (separator) continue;
    const bool is_resent = StartsWithIgnoreCase(name, "Resent-");
    const std::string_view base = is_resent ? name.substr(7) : name;
    header.resent = header.resent || is_resent;
    if (EqualsIgnoreCase(base, "From")) {
      (is_resent ? header.has_resent_from : header.has_from) = true;
    }
    for (const std::string_view recipients : kNames) {
      if (EqualsIgnoreCase(base, recipients)) {
        (is_resent ? resent : plain).push_back(field.substr(colon + 1));
      }
    }
    if (!EqualsIgnoreCase(base, "Bcc")) header.section += field;
  }
  if (!recipients_max) return header;
  for (const std::string_view value : header.resent ? resent : plain) {
    const absl::Status parsed = ParseAddressList(value, *recipients_max, &header.recipients);
    if (!parsed.ok()) return parsed;
  }
  return header;
}

}  // namespace mailrace::engine

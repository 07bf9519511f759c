#include "engine/intake/header_scan.h"

#include <algorithm>
#include <utility>

#include "base/text.h"

namespace mailrace::engine {

namespace {
constexpr size_t kMessageIdOctetsMax = 998;
constexpr size_t kLabelOctetsMax = 256;

// RFC 5322 2.2: printable ASCII without the colon; blanks before it are an obsolete form.
bool IsFieldName(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(),
                                      [](unsigned char c) { return c > 0x20 && c < 0x7f; });
}
}  // namespace

void HeaderScan::LookFor(std::string class_field, std::string tenant_field) {
  labels_[0].name = std::move(class_field);
  labels_[1].name = std::move(tenant_field);
  labelled_ = !labels_[0].name.empty() || !labels_[1].name.empty();
}

HeaderScan::Label* HeaderScan::LabelNamed(std::string_view name) {
  if (!labelled_) return nullptr;
  for (Label& label : labels_) {
    if (!label.name.empty() && EqualsIgnoreCase(name, label.name)) return &label;
  }
  return nullptr;
}

void HeaderScan::Scan(std::string_view content, bool complete) {
  while (!done_) {
    const size_t end = content.find("\r\n", at_);
    const bool cut = end == std::string_view::npos;
    if ((cut ? content.size() : end) > octets_max_) {
      too_large_ = true;
      done_ = true;
      return;
    }
    if (cut && !complete) return;
    if (cut && at_ == content.size()) {
      done_ = true;
      return;
    }
    if (!Line(content.substr(at_, cut ? std::string_view::npos : end - at_))) {
      done_ = true;
      return;
    }
    at_ = cut ? content.size() : end + 2;
    if (in_label_) label_ranges_.back().end = at_;
  }
}

// False: the line does not belong to the header section.
bool HeaderScan::Line(std::string_view line) {
  if (line.empty()) return false;
  if (line.front() == ' ' || line.front() == '\t') {
    begins_folded_ = at_ == 0;
    if (in_message_id_ && message_id_.empty()) Field("Message-ID", line);
    if (open_label_ != nullptr) AddToLabel(line);
    return !begins_folded_;
  }
  const size_t colon = line.find(':');
  const std::string_view name =
      colon == std::string_view::npos ? std::string_view() : Trim(line.substr(0, colon));
  if (!IsFieldName(name)) {
    // A mailbox's separator, left in front of a message that was taken out of it.
    return at_ == 0 && (line.starts_with("From ") || line.starts_with(">From "));
  }
  Field(name, line.substr(colon + 1));
  return true;
}

void HeaderScan::AddToLabel(std::string_view line) {
  std::string& value = open_label_->value;
  const std::string_view text = Trim(line);
  if (!value.empty() && !text.empty()) value += ' ';
  value += text.substr(0, kLabelOctetsMax - std::min(value.size(), kLabelOctetsMax));
}

void HeaderScan::Field(std::string_view name, std::string_view value) {
  Label* const label = LabelNamed(name);
  in_label_ = label != nullptr;
  open_label_ = nullptr;
  if (in_label_) {
    in_message_id_ = false;
    label_ranges_.push_back({at_, at_});
    // Of several the first counts, as the uppermost is the one that came last.
    if (!std::exchange(label->seen, true)) {
      open_label_ = label;
      AddToLabel(value);
    }
    return;
  }
  in_message_id_ = EqualsIgnoreCase(name, "Message-ID");
  if (in_message_id_) {
    has_message_id_ = true;
    if (message_id_.empty()) message_id_ = Trim(value).substr(0, kMessageIdOctetsMax);
  } else if (EqualsIgnoreCase(name, "Date")) {
    has_date_ = true;
  } else if (EqualsIgnoreCase(name, "Received")) {
    ++received_fields_;
  }
}

}  // namespace mailrace::engine

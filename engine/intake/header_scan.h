// Looks once over the header section of a message that is just coming in: which fields
// are missing, how many hops it made, what its labels say. Never over the body. Pure,
// bounded.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace mailrace::engine {

class HeaderScan {
 public:
  // A field that is looked for: its first value, and where all fields of that name are.
  struct Label {
    std::string name;   // Empty: not looked for.
    std::string value;  // Unfolded, without blanks at its ends; cut after 256 octets.
    bool seen = false;
  };
  struct Range {
    size_t begin = 0;  // Of the field's name.
    size_t end = 0;    // Behind the CRLF of its last line.
  };

  explicit HeaderScan(size_t octets_max) : octets_max_(octets_max) {}
  // Before the first Scan().
  void LookFor(std::string class_field, std::string tenant_field);

  // `content` is the message from its first octet, as far as it has come; what an
  // earlier call saw has not changed. `complete`: nothing more will come.
  void Scan(std::string_view content, bool complete);

  // The section's end, its limit or the end of the message was reached.
  bool done() const { return done_; }
  bool too_large() const { return too_large_; }
  bool has_date() const { return has_date_; }
  bool has_message_id() const { return has_message_id_; }
  // The field's value on one line, at most 998 octets; empty if there is none.
  const std::string& message_id() const { return message_id_; }
  size_t received_fields() const { return received_fields_; }
  const std::string& message_class() const { return labels_[0].value; }
  const std::string& tenant() const { return labels_[1].value; }
  // Where the labels stand, in their order, disjoint.
  const std::vector<Range>& label_ranges() const { return label_ranges_; }
  // Up to the empty line, or to the first line that is no header field.
  size_t section_octets() const { return at_; }
  // The message begins with a blank or tab: a field in front of it would swallow that line.
  bool begins_folded() const { return begins_folded_; }

 private:
  bool Line(std::string_view line);
  void Field(std::string_view name, std::string_view value);
  void AddToLabel(std::string_view line);
  Label* LabelNamed(std::string_view name);

  size_t octets_max_;
  size_t at_ = 0;  // Start of the first line not looked at.
  bool done_ = false;
  bool too_large_ = false;
  bool has_date_ = false;
  bool has_message_id_ = false;
  bool in_message_id_ = false;
  bool begins_folded_ = false;
  size_t received_fields_ = 0;
  std::string message_id_;
  Label labels_[2];              // Class, tenant.
  bool labelled_ = false;        // One of them is looked for.
  bool in_label_ = false;        // This line's field is a label,
  Label* open_label_ = nullptr;  // and the first of its name.
  std::vector<Range> label_ranges_;
};

}  // namespace mailrace::engine

#include "engine/admin/exported_message.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/address.h"
#include "engine/admin/message_view.h"
#include "engine/config/message_class.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace mailrace::engine {

namespace {

using Json = nlohmann::json;

constexpr size_t kTextOctetsMax = 1024;
constexpr std::pair<std::string_view, uint8_t> kNotifyWords[] = {
    {"never", queue::kNotifyNever},
    {"success", queue::kNotifySuccess},
    {"failure", queue::kNotifyFailure},
    {"delay", queue::kNotifyDelay},
};

// Reads members; the first that is wrong is told.
class Fields {
 public:
  explicit Fields(const Json& json) : json_(json) {}

  std::string Text(const char* name, bool needed = false) {
    const auto found = json_.find(name);
    if (found == json_.end()) {
      if (needed) Fail(name, "is missing");
      return {};
    }
    if (!found->is_string() || found->get_ref<const std::string&>().size() > kTextOctetsMax) {
      Fail(name, "is not a text of at most 1024 octets");
      return {};
    }
    const std::string& text = found->get_ref<const std::string&>();
    // Every one of them ends up in a line of SMTP, of a header or of the log.
    const bool control = std::any_of(text.begin(), text.end(), [](char c) {
      return static_cast<unsigned char>(c) < ' ' || c == '\x7f';
    });
    if (control) Fail(name, "has control characters");
    return text;
  }
  bool Flag(const char* name) {
    const auto found = json_.find(name);
    if (found == json_.end()) return false;
    if (!found->is_boolean()) Fail(name, "is not true or false");
    return found->is_boolean() && found->get<bool>();
  }
  void Fail(std::string_view name, std::string_view what) {
    if (status_.ok()) {
      status_ = absl::InvalidArgumentError(fmt::format("the envelope's \"{}\" {}", name, what));
    }
  }
  const absl::Status& status() const { return status_; }

 private:
  const Json& json_;
  absl::Status status_;
};

uint8_t NotifyOf(const Json& recipient, Fields* fields) {
  const auto found = recipient.find("notify");
  if (found == recipient.end()) return 0;
  uint8_t notify = 0;
  if (!found->is_array()) fields->Fail("notify", "is not a list");
  for (const Json& each : found->is_array() ? *found : Json::array()) {
    const auto* const word =
        std::find_if(std::begin(kNotifyWords), std::end(kNotifyWords), [&](const auto& entry) {
          return each.is_string() && each.get_ref<const std::string&>() == entry.first;
        });
    if (word == std::end(kNotifyWords)) {
      fields->Fail("notify", "has an unknown word");
    } else {
      notify |= word->second;
    }
  }
  if ((notify & queue::kNotifyNever) != 0 && notify != queue::kNotifyNever) {
    fields->Fail("notify", "has never together with others");
  }
  return notify;
}

void TakeRecipients(const Json& json, const AddressRules& rules, queue::Envelope* envelope,
                    Fields* fields) {
  const auto list = json.find("recipients");
  if (list == json.end() || !list->is_array() || list->empty()) {
    fields->Fail("recipients", "is not a list of some");
    return;
  }
  if (list->size() > kImportRecipientsMax) {
    fields->Fail("recipients", "has too many");
    return;
  }
  for (const Json& each : *list) {
    if (!each.is_object()) {
      fields->Fail("recipients", "has one that is no object");
      return;
    }
    Fields members(each);
    queue::Recipient recipient;
    recipient.address = members.Text("address", /*needed=*/true);
    recipient.orcpt = members.Text("orcpt");
    recipient.notify = NotifyOf(each, &members);
    const std::string state = members.Text("state");
    if (!members.status().ok()) {
      fields->Fail("recipients", members.status().ToString());
      return;
    }
    const auto address = ParseAddress(recipient.address, rules);
    if (!address.ok()) {
      fields->Fail("recipients", fmt::format("has a malformed address: {}", recipient.address));
      return;
    }
    if (state.empty() || state == "pending") envelope->recipients.push_back(std::move(recipient));
  }
}

}  // namespace

Json ExportJson(const queue::RecoveredMessage& message) {
  const queue::Envelope& envelope = message.envelope;
  Json json = {
      {"mailrace_export", kExportVersion},
      {"queue_id", envelope.id.ToString()},
      {"arrival", absl::FormatTime(absl::RFC3339_full, envelope.arrival, absl::UTCTimeZone())},
      {"sender", envelope.reverse_path},
      {"size", envelope.octets},
      {"message_id", envelope.message_id},
      {"smtputf8", envelope.smtputf8},
      {"eight_bit", envelope.eight_bit},
      {"class", config::MessageClassName(envelope.priority)}};
  if (!envelope.envid.empty()) json["envelope_id"] = envelope.envid;
  if (envelope.ret == queue::Ret::kFull) json["ret"] = "full";
  if (envelope.ret == queue::Ret::kHeaders) json["ret"] = "headers";
  if (!envelope.submitter.empty()) json["submitter"] = envelope.submitter;
  if (!envelope.tenant.empty()) json["tenant"] = envelope.tenant;
  Json recipients = Json::array();
  for (uint32_t i = 0; i < envelope.recipients.size(); ++i) {
    const queue::Recipient& recipient = envelope.recipients[i];
    Json each = {{"address", recipient.address}, {"state", RecipientState(message, i)}};
    if (!recipient.orcpt.empty()) each["orcpt"] = recipient.orcpt;
    for (const auto& [word, bit] : kNotifyWords) {
      if ((recipient.notify & bit) != 0) each["notify"].push_back(word);
    }
    recipients.push_back(std::move(each));
  }
  json["recipients"] = std::move(recipients);
  return json;
}

absl::StatusOr<queue::Envelope> ParseExport(const Json& json) {
  if (!json.is_object() || !json.contains("mailrace_export")) {
    return absl::InvalidArgumentError(
        "this is no exported envelope: \"mailrace_export\" is missing");
  }
  if (json["mailrace_export"] != kExportVersion) {
    return absl::InvalidArgumentError(
        fmt::format("the export has version {}, this program knows {}",
                    json["mailrace_export"].dump(-1, ' ', true, Json::error_handler_t::replace),
                    kExportVersion));
  }
  Fields fields(json);
  queue::Envelope envelope;
  envelope.smtputf8 = fields.Flag("smtputf8");
  envelope.eight_bit = fields.Flag("eight_bit");
  envelope.message_id = fields.Text("message_id");
  envelope.envid = fields.Text("envelope_id");
  envelope.submitter = fields.Text("submitter");
  if (const std::string name = fields.Text("tenant"); !name.empty()) {
    const std::optional<std::string> tenant = config::ParseTenant(name);
    if (!tenant) fields.Fail("tenant", "is no tenant's name");
    envelope.tenant = tenant.value_or("");
  }
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, fields.Text("arrival", true), &envelope.arrival,
                       &error)) {
    fields.Fail("arrival", "is not a time as RFC 3339 has it");
  }
  const std::string ret = fields.Text("ret");
  if (ret == "full") envelope.ret = queue::Ret::kFull;
  if (ret == "headers") envelope.ret = queue::Ret::kHeaders;
  if (!ret.empty() && envelope.ret == queue::Ret::kUnset) fields.Fail("ret", "is not known");
  if (const std::string name = fields.Text("class"); !name.empty()) {
    const std::optional<uint8_t> priority = config::ParseMessageClass(name);
    if (!priority) fields.Fail("class", "is not urgent, normal or bulk");
    envelope.priority = priority.value_or(1);
  }
  AddressRules rules;
  rules.allow_utf8 = envelope.smtputf8;
  rules.allow_null_reverse_path = true;
  envelope.reverse_path = fields.Text("sender", true);
  if (!envelope.reverse_path.empty() && !ParseAddress(envelope.reverse_path, rules).ok()) {
    fields.Fail("sender", "is malformed");
  }
  rules.allow_null_reverse_path = false;
  TakeRecipients(json, rules, &envelope, &fields);
  if (!fields.status().ok()) return fields.status();
  if (envelope.recipients.empty()) {
    return absl::NotFoundError("nothing of this message is owed any more");
  }
  return envelope;
}

bool ContentCheck::Feed(std::string_view piece) {
  fed_ = fed_ || !piece.empty();
  for (const char c : piece) {
    if ((c == '\n') != (last_ == '\r')) refused_ = true;
    if (static_cast<unsigned char>(c) > 127) eight_bit_ = true;
    last_ = c;
  }
  return !refused_;
}

}  // namespace mailrace::engine

// The registry's chapter on classes and tenants: which mail goes first.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "engine/config/parameter_builders.h"

namespace mailrace::engine::config {
namespace {

constexpr size_t kFieldNameOctetsMax = 76;

// What a message needs must not be taken for a label and out of it.
constexpr std::array<std::string_view, 17> kMessagesOwn = {
    "From",          "To",           "Cc",           "Bcc",
    "Subject",       "Date",         "Sender",       "Reply-To",
    "Received",      "Message-ID",   "References",   "In-Reply-To",
    "Return-Path",   "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
    "DKIM-Signature"};

absl::Status SetHeader(std::string_view text, std::string* out) {
  const bool name =
      text.size() <= kFieldNameOctetsMax &&
      std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~' && c != ':'; });
  if (!name) {
    return absl::InvalidArgumentError(fmt::format(
        "\"{}\" is not the name of a header field, such as X-Mailrace-Class", Printable(text, 80)));
  }
  for (const std::string_view own : kMessagesOwn) {
    if (EqualsIgnoreCase(text, own)) {
      return absl::InvalidArgumentError(
          fmt::format("{} belongs to the message; take a name of your own, such as "
                      "X-Mailrace-Class",
                      own));
    }
  }
  *out = std::string(text);
  return absl::OkStatus();
}

absl::Status SetClassHeader(std::string_view text, Options& o) {
  return SetHeader(text, &o.classes.message_class_header);
}
absl::Status SetTenantHeader(std::string_view text, Options& o) {
  return SetHeader(text, &o.classes.message_tenant_header);
}

constexpr std::string_view kHeaderForm = "the name of a header field; empty: none";

}  // namespace

ParameterGroup ClassParameters() {
  return {
      "Classes and tenants",
      "Which mail goes first (docs/SCHEDULING.md). At each next-hop urgent mail goes before normal "
      "before bulk mail, and within a class the tenants share by weight. A message's class and "
      "tenant are told by the first of these that says something: its header field; the table, "
      "asked for the submission user, the sender address, its \"@domain\" (\"<>\" for the null "
      "sender), and then the listener as \"address:port\" and as \":port\"; the default. It keeps "
      "them while it is queued.",
      {
          Word("default_message_class", "normal", "urgent normal bulk",
               MAILRACE_FIELD(classes.default_message_class),
               "The class of mail that nothing else gives one.",
               "bulk where campaigns are the rule and what is urgent says so."),
          Text("submission_class_maps", "", MAILRACE_FIELD(classes.submission_class_maps),
               "lookup tables",
               "The class (urgent, normal or bulk) by user, sender, @domain or listener.",
               "When applications cannot set a header field: a listener of its own for each "
               "class (submission_listen takes several), or by sender address."),
          Text("submission_tenant_maps", "", MAILRACE_FIELD(classes.submission_tenant_maps),
               "lookup tables",
               "The tenant by user, sender, @domain or listener: 1 to 64 printable characters "
               "without blanks, compared without case. Mail without a tenant counts as one "
               "tenant.",
               "When several customers or applications share one relay account."),
          Text("tenant_weights", "", MAILRACE_FIELD(classes.tenant_weights), "lookup tables",
               "A tenant's weight, 1 to 1000; 1 if it has none. Of two tenants that both have "
               "mail waiting, one with weight 3 sends three recipients for one of the other.",
               "When tenants pay for different shares."),
          Custom("message_class_header", "", &SetClassHeader, kHeaderForm,
                 "A header field whose value is the message's class. An unknown value counts as "
                 "none and is logged.",
                 "X-Mailrace-Class, when applications can be trusted to say what is urgent."),
          Custom("message_tenant_header", "", &SetTenantHeader, kHeaderForm,
                 "A header field whose value is the message's tenant.",
                 "X-Mailrace-Tenant, when one application submits for several."),
          YesNo("steering_headers_keep", "no", MAILRACE_FIELD(classes.steering_headers_keep),
                "Leave these two header fields in the message; else they are taken out, since "
                "they are meant for this host.",
                "yes when the relay reads them too, or when a DKIM signature of the application "
                "covers them."),
      }};
}

}  // namespace mailrace::engine::config

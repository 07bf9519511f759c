#include "engine/intake/message_rules.h"

#include <optional>

#include "base/text.h"
#include "engine/config/message_class.h"
#include "fmt/format.h"

namespace mailrace::engine {

namespace {

// The value for the first key that the tables have, from the most particular on.
std::optional<std::string> Find(const tables::TableList& tables, const queue::Envelope& envelope,
                                const SocketAddress& listener) {
  const auto ask = [&tables](std::string_view key) -> std::optional<std::string> {
    if (key.empty()) return std::nullopt;
    absl::StatusOr<std::optional<tables::TableHit>> hit = tables.Lookup(key);
    if (!hit.ok() || !hit->has_value()) return std::nullopt;
    return std::move((*hit)->value);
  };
  const std::string& sender = envelope.reverse_path;
  if (auto found = ask(envelope.submitter)) return found;
  if (auto found = ask(sender.empty() ? "<>" : std::string_view(sender))) return found;
  const size_t at = sender.rfind('@');
  if (at != std::string::npos) {
    if (auto found = ask(std::string_view(sender).substr(at))) return found;
  }
  if (auto found = ask(listener.ToString())) return found;
  return ask(fmt::format(":{}", listener.port));
}

bool Used(const std::shared_ptr<const tables::TableList>& tables) {
  return tables != nullptr && !tables->empty();
}

}  // namespace

std::string MessageRules::Apply(const Labels& labels, const SocketAddress& listener,
                                queue::Envelope* envelope) const {
  std::string problem;
  std::optional<uint8_t> priority;
  if (!labels.message_class.empty()) {
    priority = config::ParseMessageClass(labels.message_class);
    if (!priority) {
      problem = fmt::format("{}: unknown class \"{}\"", class_header,
                            Printable(labels.message_class, 80));
    }
  }
  if (!priority && Used(classes)) {
    if (const auto found = Find(*classes, *envelope, listener)) {
      priority = config::ParseMessageClass(*found);
    }
  }
  envelope->priority = priority.value_or(default_priority);

  std::optional<std::string> tenant;
  if (!labels.tenant.empty()) {
    tenant = config::ParseTenant(labels.tenant);
    if (!tenant) {
      problem += fmt::format("{}{}: bad tenant \"{}\"", problem.empty() ? "" : "; ", tenant_header,
                             Printable(labels.tenant, 80));
    }
  }
  if (!tenant && Used(tenants)) {
    if (const auto found = Find(*tenants, *envelope, listener)) {
      tenant = config::ParseTenant(*found);
    }
  }
  envelope->tenant = tenant.value_or(std::string());
  return problem;
}

}  // namespace mailrace::engine

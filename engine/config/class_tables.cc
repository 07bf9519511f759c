#include "engine/config/class_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/text.h"
#include "engine/config/message_class.h"
#include "engine/config/table_values.h"

namespace mailrace::engine::config {

namespace {

using tables::TableList;
using tables::TableLoadOptions;

// A check for CheckTableValues: `good` is what a value must be, `expected` its words.
template <typename Good>
auto Problem(Good good, std::string expected) {
  return [good, expected = std::move(expected)](std::string_view value) {
    return good(value) ? std::string() : fmt::format("expected {}", expected);
  };
}

}  // namespace

void CheckClassTable(const TableList& tables, const TableLoadOptions& options,
                     Diagnostics* diagnostics) {
  CheckTableValues(
      tables, options,
      Problem([](std::string_view value) { return ParseMessageClass(value).has_value(); },
              "urgent, normal or bulk"),
      diagnostics);
}

void CheckTenantTable(const TableList& tables, const TableLoadOptions& options,
                      Diagnostics* diagnostics) {
  CheckTableValues(
      tables, options,
      Problem([](std::string_view value) { return ParseTenant(value).has_value(); },
              fmt::format("a tenant's name: 1 to {} printable characters without blanks",
                          kTenantOctetsMax)),
      diagnostics);
}

void CheckListenerKeys(const TableList& tables, const TableLoadOptions& options,
                       const SubmissionOptions& submission, Diagnostics* diagnostics) {
  const auto any = [](const IpAddress& ip) { return ip.octets == IpAddress().octets; };
  const auto listens = [any](const std::vector<SocketAddress>& all, const SocketAddress& wanted) {
    return std::any_of(all.begin(), all.end(), [&](const SocketAddress& address) {
      // Port 0: whichever the system chooses. A wildcard: any address of this host.
      const bool port = address.port == wanted.port || address.port == 0;
      return port && (address.ip == wanted.ip || any(address.ip) || any(wanted.ip));
    });
  };
  for (const auto& table : tables.tables()) {
    table->ForEach([&](std::string_view key, std::string_view) {
      const absl::StatusOr<SocketAddress> address = SocketAddress::Parse(key);
      if (!address.ok() || listens(submission.submission_listen, *address) ||
          listens(submission.submission_tls_listen, *address)) {
        return;
      }
      diagnostics->Warning(
          options.place, options.parameter,
          fmt::format("{} is no address of submission_listen or submission_tls_listen", key));
    });
  }
}

void CheckWeightTable(const TableList& tables, const TableLoadOptions& options,
                      Diagnostics* diagnostics) {
  CheckTableValues(
      tables, options,
      Problem([](std::string_view value) { return ParseTenantWeight(value).has_value(); },
              "a weight from 1 to 1000"),
      diagnostics);
}

}  // namespace mailrace::engine::config

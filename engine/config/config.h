// A configuration as loaded: typed options, tables, and where each value came from.
// Immutable; shards share it. To reload is to load another one and swap the pointer: if
// that fails, the old one stays in use whole (no partial tables, no lost credentials).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/config/diagnostics.h"
#include "engine/config/options.h"
#include "engine/tables/lookup_table.h"

namespace mailrace::engine::config {

// One parameter's value and its source.
struct Setting {
  std::string value;  // Expanded.
  Place place;        // Empty file: the default.
};

struct Config {
  Options options;
  // Empty lists where the parameter is empty; never null.
  std::shared_ptr<const tables::TableList> sasl_passwords;  // smtp_sasl_password_maps
  std::shared_ptr<const tables::TableList> sasl_tokens;     // sasl_token_maps, checked
  // smtpd_sasl_password_maps: the password alone.
  std::shared_ptr<const tables::TableList> submission_passwords;
  std::shared_ptr<const tables::TableList> tls_per_site;  // smtp_tls_per_site
  std::shared_ptr<const tables::TableList> tls_policies;  // smtp_tls_policy_maps
  // Their values have been checked (engine/config/routing_tables.h).
  std::shared_ptr<const tables::TableList> transports;          // transport_maps
  std::shared_ptr<const tables::TableList> sender_relayhosts;   // sender_dependent_relayhost_maps
  std::shared_ptr<const tables::TableList> default_transports;  // sender_dependent_default_…
  // Their values have been checked (engine/config/class_tables.h).
  std::shared_ptr<const tables::TableList> message_classes;  // submission_class_maps
  std::shared_ptr<const tables::TableList> message_tenants;  // submission_tenant_maps
  std::shared_ptr<const tables::TableList> tenant_weights;   // tenant_weights
  // By parameter, all of the registry: what `explain` shows. A value may hold a secret
  // only where an inline: or static: table is written into main.cf; print with
  // PrintableValue.
  std::map<std::string, Setting, std::less<>> settings;

  // "FILE:LINE" of where `parameter` is set, or "built-in default".
  std::string Origin(std::string_view parameter) const;
  // For output: the value, with the insides of inline: and static: tables of credentials
  // left out.
  std::string PrintableValue(std::string_view parameter) const;
};

// What loading takes from the machine; a test sets it.
struct LoadEnvironment {
  std::string hostname;                // Empty: gethostname(2).
  unsigned processors = 0;             // 0: as many as the process may use.
  std::vector<std::string> overrides;  // "name=value" of -o, later ones over earlier.
  // Look at the files that parameters name (certificates). Off for unit tests of syntax.
  bool check_files = true;
};

// Reads DIRECTORY/main.cf and the tables it names. All errors and warnings of all
// parameters are in *diagnostics; null if there was an error. Blocks on files.
std::shared_ptr<const Config> LoadConfig(const std::string& directory,
                                         const LoadEnvironment& environment,
                                         Diagnostics* diagnostics);
// The same from a main.cf in memory; `file` is its name in messages.
std::shared_ptr<const Config> LoadConfigText(std::string_view file, std::string_view text,
                                             const std::string& directory,
                                             const LoadEnvironment& environment,
                                             Diagnostics* diagnostics);

// Those parameters alone, whatever else is wrong in main.cf or its tables, or not this user's to
// read: for asking a running engine, which may work by a configuration from before the mistake,
// and for sendmail(1). The others have their type's value, tables are null.
// InvalidArgument, NotFound or Unavailable: a value is bad, main.cf cannot be read.
absl::StatusOr<std::shared_ptr<const Config>> LoadSettings(
    const std::string& directory, const std::vector<std::string_view>& parameters,
    const LoadEnvironment& environment);
// The expanded value of one.
absl::StatusOr<std::string> LoadSetting(const std::string& directory, std::string_view parameter,
                                        const LoadEnvironment& environment);

}  // namespace mailrace::engine::config

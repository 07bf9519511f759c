#include <fmt/format.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>
#include <utility>

#include "base/text.h"
#include "engine/config/class_tables.h"
#include "engine/config/config.h"
#include "engine/config/known_names.h"
#include "engine/config/line_mistakes.h"
#include "engine/config/logical_lines.h"
#include "engine/config/macros.h"
#include "engine/config/main_cf.h"
#include "engine/config/parameter.h"
#include "engine/config/routing_tables.h"
#include "engine/config/validate.h"
#include "engine/config/values.h"

namespace mailrace::engine::config {
namespace {

constexpr std::string_view kPasswordParameter = "smtp_sasl_password_maps";
constexpr std::string_view kSubmissionPasswordParameter = "smtpd_sasl_password_maps";

bool HoldsPasswords(std::string_view parameter) {
  return parameter == kPasswordParameter || parameter == kSubmissionPasswordParameter;
}

std::string SystemHostname() {
  char name[256] = "";
  if (gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') return "localhost";
  return name;
}

unsigned SystemProcessors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<unsigned>(CPU_COUNT(&set));
}

class Loader {
 public:
  Loader(MainCf main_cf, std::string directory, const LoadEnvironment& environment,
         Diagnostics* diagnostics)
      : main_cf_(std::move(main_cf)),
        directory_(std::move(directory)),
        environment_(environment),
        diagnostics_(diagnostics),
        config_(std::make_shared<Config>()) {}

  std::shared_ptr<const Config> Load() {
    const size_t errors_before = diagnostics_->errors();
    ReportNames();
    ReportLineMistakes(main_cf_, diagnostics_);
    DefineHost();
    for (const ParameterGroup& group : ParameterGroups()) {
      for (const Parameter& parameter : group.parameters) Set(parameter);
    }
    Derive();
    ValidateOptions(*config_, environment_.check_files, diagnostics_);
    config_->tls_per_site = Table("smtp_tls_per_site", false);
    config_->tls_policies = Table("smtp_tls_policy_maps", false);
    config_->transports = RoutingTable("transport_maps", CheckTransportTable);
    config_->sender_relayhosts =
        RoutingTable("sender_dependent_relayhost_maps", CheckRelayhostTable);
    config_->default_transports =
        RoutingTable("sender_dependent_default_transport_maps", CheckDefaultTransportTable);
    config_->sasl_passwords = Table(std::string(kPasswordParameter), true);
    config_->submission_passwords = Table(std::string(kSubmissionPasswordParameter), true);
    config_->sasl_tokens = CheckedTable("sasl_token_maps", CheckTokenTable);
    config_->message_classes = CheckedTable("submission_class_maps", CheckClassTable);
    config_->message_tenants = CheckedTable("submission_tenant_maps", CheckTenantTable);
    config_->tenant_weights = CheckedTable("tenant_weights", CheckWeightTable);
    WarnOfListenerKeys("submission_class_maps", config_->message_classes.get());
    WarnOfListenerKeys("submission_tenant_maps", config_->message_tenants.get());
    if (diagnostics_->errors() != errors_before) return nullptr;
    return config_;
  }

  // REQUIRES: the registry has them.
  absl::StatusOr<std::shared_ptr<const Config>> LoadSome(
      const std::vector<std::string_view>& names) {
    DefineHost();
    for (const std::string_view name : names) Set(*FindParameter(name));
    if (config_->options.general.myorigin.starts_with('/')) DeriveOriginFromFile();
    if (diagnostics_->has_errors()) {
      return absl::InvalidArgumentError(diagnostics_->ToString(false));
    }
    return config_;
  }

 private:
  const Assignment* Assigned(const Parameter& parameter) const {
    const Assignment* assignment = main_cf_.Find(parameter.name);
    if (assignment == nullptr && !parameter.old_name.empty()) {
      assignment = main_cf_.Find(parameter.old_name);
    }
    return assignment;
  }

  // Names that nothing knows; old names; names of Postfix without meaning here.
  void ReportNames() {
    std::set<std::string, std::less<>> referenced;
    for (const auto& [name, assignment] : main_cf_.all()) {
      VisitMacroNames(assignment.value, [&](std::string_view used) { referenced.emplace(used); });
    }
    for (const auto& [name, assignment] : main_cf_.all()) {
      const Parameter* parameter = FindParameter(name);
      if (parameter != nullptr) {
        if (name != parameter->name) {
          diagnostics_->Warning(assignment.place, name,
                                fmt::format("this parameter's name is {}; {}", parameter->name,
                                            main_cf_.Find(parameter->name) == nullptr
                                                ? "taken as that"
                                                : "ignored, since that is set too"));
        }
        continue;
      }
      if (IsPostfixName(name)) {
        const std::string_view missing = MissingEffect(name);
        if (missing.empty() || assignment.value.empty()) {
          diagnostics_->Note(assignment.place, name, "has no meaning here");
        } else {
          diagnostics_->Warning(assignment.place, name,
                                fmt::format("is not supported: {}", missing));
        }
        continue;
      }
      if (referenced.contains(name)) continue;
      const std::string suggestion = SuggestName(name);
      diagnostics_->Warning(
          assignment.place, name,
          suggestion.empty()
              ? "unknown parameter, ignored"
              : fmt::format("unknown parameter, ignored; did you mean {}?", suggestion));
    }
  }

  // myhostname, mydomain and config_directory depend on the machine, and the first two
  // on each other, as in Postfix.
  void DefineHost() {
    const auto assigned = [&](std::string_view name) {
      const Assignment* assignment = main_cf_.Find(name);
      return assignment == nullptr ? std::string() : assignment->value;
    };
    std::string host = environment_.hostname.empty() ? SystemHostname() : environment_.hostname;
    if (host.find('.') == std::string::npos) {
      const std::string domain = assigned("mydomain");
      host += "." + (domain.empty() ? std::string("localdomain") : domain);
    }
    built_in_["myhostname"] = host;
    const std::string full = assigned("myhostname").empty() ? host : assigned("myhostname");
    const size_t dot = full.find('.');
    built_in_["mydomain"] = dot == std::string::npos ? "localdomain" : full.substr(dot + 1);
    built_in_["config_directory"] = directory_;
  }

  // What `name` stands for in an expansion.
  std::optional<std::string> Value(std::string_view name) const {
    if (name == "config_directory") return directory_;
    const Parameter* parameter = FindParameter(name);
    const Assignment* assignment =
        parameter == nullptr ? main_cf_.Find(name) : Assigned(*parameter);
    const auto built_in = built_in_.find(name);
    if (built_in != built_in_.end() && (assignment == nullptr || assignment->value.empty())) {
      return built_in->second;
    }
    if (assignment != nullptr) return assignment->value;
    if (parameter != nullptr) return std::string(parameter->default_text);
    return std::nullopt;
  }

  void Set(const Parameter& parameter) {
    const Assignment* assignment = Assigned(parameter);
    const Place place = assignment == nullptr ? Place{} : assignment->place;
    std::set<std::string> undefined;
    const MacroLookup lookup = [&](std::string_view name, bool used) {
      std::optional<std::string> value = Value(name);
      if (!value && used) undefined.emplace(name);
      return value;
    };
    absl::StatusOr<std::string> text = ExpandMacros(Value(parameter.name).value_or(""), lookup);
    absl::Status status = text.status();
    if (status.ok()) {
      const std::string_view trimmed = Trim(*text);
      status = parameter.Set(trimmed, &config_->options);
      config_->settings[std::string(parameter.name)] = {std::string(trimmed), place};
    } else {
      // So that whatever follows finds something valid.
      config_->settings[std::string(parameter.name)] = {"", place};
    }
    // What is wrong with a table of passwords is not quoted.
    const bool secret = HoldsPasswords(parameter.name);
    if (!status.ok()) {
      diagnostics_->Error(place, parameter.name,
                          secret ? "bad $name expression; \"$\" itself is written \"$$\""
                                 : std::string(status.message()));
    }
    for (const std::string& name : undefined) {
      diagnostics_->Warning(place, parameter.name,
                            secret ? "an undefined $name is empty; \"$\" itself is written \"$$\""
                                   : fmt::format("undefined parameter ${} is empty", name));
    }
  }

  void Derive() {
    Options& o = config_->options;
    if (o.general.engine_shards == 0) {
      const unsigned processors =
          environment_.processors == 0 ? SystemProcessors() : environment_.processors;
      // The commit thread keeps most of a core busy when there is much to do; a shard in its way
      // makes both switch and wait.
      o.general.engine_shards = std::max<int64_t>(1, static_cast<int64_t>(processors) - 1);
    }
    if (o.general.myorigin.starts_with('/')) DeriveOriginFromFile();
    if (o.submission.smtpd_forbid_bare_newline == "yes") {
      o.submission.smtpd_forbid_bare_newline = "normalize";
    }
    if (o.submission.smtpd_forbid_bare_newline == "note") {
      o.submission.smtpd_forbid_bare_newline = "no";
    }
    const Assignment* directory = main_cf_.Find("config_directory");
    if (directory != nullptr && directory->value != directory_) {
      diagnostics_->Warning(directory->place, "config_directory",
                            fmt::format("has no effect; it is {}", directory_));
    }
  }

  // Debian's "myorigin = /etc/mailname": the first word of the file.
  void DeriveOriginFromFile() {
    std::string& origin = config_->options.general.myorigin;
    const Place place = config_->settings["myorigin"].place;
    const absl::StatusOr<std::string> text = ReadTextFile(origin, 4096);
    if (!text.ok()) {
      diagnostics_->Error(place, "myorigin", std::string(text.status().message()));
      return;
    }
    const std::string_view line = Trim(std::string_view(*text).substr(0, text->find('\n')));
    if (line.empty() || line.find_first_of(" \t") != std::string_view::npos) {
      diagnostics_->Error(place, "myorigin", fmt::format("{} does not hold one name", origin));
      return;
    }
    origin = std::string(line);
  }

  std::shared_ptr<const tables::TableList> Table(const std::string& parameter, bool credentials) {
    const Setting& setting = config_->settings[parameter];
    tables::TableLoadOptions options{.parameter = parameter,
                                     .place = setting.place,
                                     .directory = directory_,
                                     .credentials = credentials};
    options.check_file_safety = config_->options.sasl.sasl_password_file_check;
    options.delimiter = config_->options.sasl.smtp_sasl_password_result_delimiter;
    if (options.delimiter.empty()) options.delimiter = ":";
    if (parameter == kSubmissionPasswordParameter) options.delimiter.clear();
    if (credentials) WarnOfOpenMainCf(setting, parameter);
    return tables::TableList::Load(setting.value, options, diagnostics_);
  }

  std::shared_ptr<const tables::TableList> CheckedTable(
      const std::string& parameter,
      void (*check)(const tables::TableList&, const tables::TableLoadOptions&, Diagnostics*)) {
    std::shared_ptr<const tables::TableList> list = Table(parameter, false);
    const tables::TableLoadOptions options{.parameter = parameter,
                                           .place = config_->settings[parameter].place};
    if (list != nullptr) check(*list, options, diagnostics_);
    return list;
  }

  std::shared_ptr<const tables::TableList> RoutingTable(
      const std::string& parameter,
      void (*check)(const tables::TableList&, const tables::TableLoadOptions&, uint16_t port,
                    Diagnostics*)) {
    std::shared_ptr<const tables::TableList> list = Table(parameter, false);
    const tables::TableLoadOptions options{.parameter = parameter,
                                           .place = config_->settings[parameter].place};
    if (list != nullptr) {
      check(*list, options, config_->options.smtp.smtp_tcp_port_number, diagnostics_);
    }
    return list;
  }

  void WarnOfListenerKeys(const std::string& parameter, const tables::TableList* list) {
    if (list == nullptr) return;
    CheckListenerKeys(*list, {.parameter = parameter, .place = config_->settings[parameter].place},
                      config_->options.submission, diagnostics_);
  }

  // Passwords in main.cf itself are as open as main.cf is.
  void WarnOfOpenMainCf(const Setting& setting, const std::string& parameter) {
    const bool inside = setting.value.find("inline:") != std::string::npos ||
                        setting.value.find("static:") != std::string::npos;
    struct stat st;
    if (!inside || !environment_.check_files || stat(setting.place.file.c_str(), &st) != 0) return;
    if ((st.st_mode & (S_IRWXG | S_IRWXO)) == 0) return;
    diagnostics_->Warning(setting.place, parameter,
                          "passwords in a main.cf that others can read: use a hash: file with "
                          "mode 0600");
  }

  MainCf main_cf_;
  std::string directory_;
  const LoadEnvironment& environment_;
  Diagnostics* diagnostics_;
  std::map<std::string, std::string, std::less<>> built_in_;
  std::shared_ptr<Config> config_;
};

}  // namespace

std::string Config::Origin(std::string_view parameter) const {
  const auto it = settings.find(parameter);
  return it == settings.end() ? Place{}.ToString() : it->second.place.ToString();
}

std::string Config::PrintableValue(std::string_view parameter) const {
  const auto it = settings.find(parameter);
  if (it == settings.end()) return "";
  const auto& passwords = parameter == kPasswordParameter ? sasl_passwords : submission_passwords;
  if (!HoldsPasswords(parameter) || passwords == nullptr) return it->second.value;
  std::string out;
  for (const auto& table : passwords->tables()) {
    out += (out.empty() ? "" : ", ") + table->name();
  }
  return out;
}

std::shared_ptr<const Config> LoadConfigText(std::string_view file, std::string_view text,
                                             const std::string& directory,
                                             const LoadEnvironment& environment,
                                             Diagnostics* diagnostics) {
  // Errors of lines count too: a parameter on a bad line would silently be its default.
  Diagnostics found;
  MainCf main_cf = MainCf::Parse(file, text, &found);
  for (const std::string& assignment : environment.overrides) {
    main_cf.Override(assignment, &found);
  }
  std::shared_ptr<const Config> config =
      Loader(std::move(main_cf), directory, environment, &found).Load();
  diagnostics->Append(found);
  return found.has_errors() ? nullptr : config;
}

absl::StatusOr<std::shared_ptr<const Config>> LoadSettings(
    const std::string& directory, const std::vector<std::string_view>& parameters,
    const LoadEnvironment& environment) {
  const std::string file = directory + "/main.cf";
  const absl::StatusOr<std::string> text = ReadTextFile(file, MainCf::kFileOctetsMax);
  if (!text.ok()) return text.status();
  Diagnostics elsewhere;
  Diagnostics here;
  return Loader(MainCf::Parse(file, *text, &elsewhere), directory, environment, &here)
      .LoadSome(parameters);
}

absl::StatusOr<std::string> LoadSetting(const std::string& directory, std::string_view parameter,
                                        const LoadEnvironment& environment) {
  const auto config = LoadSettings(directory, {parameter}, environment);
  if (!config.ok()) return config.status();
  return (*config)->settings.find(parameter)->second.value;
}

std::shared_ptr<const Config> LoadConfig(const std::string& directory,
                                         const LoadEnvironment& environment,
                                         Diagnostics* diagnostics) {
  const std::string file = directory + "/main.cf";
  const absl::StatusOr<std::string> text = ReadTextFile(file, MainCf::kFileOctetsMax);
  if (!text.ok()) {
    diagnostics->Error({file, 0}, "", std::string(text.status().message()));
    return nullptr;
  }
  return LoadConfigText(file, *text, directory, environment, diagnostics);
}

}  // namespace mailrace::engine::config

// main.cf to Settings: which parameter means what to the engine.
#pragma once

#include <memory>

#include "engine/config/config.h"
#include "engine/settings.h"

namespace mailrace::engine {

// Null after errors, which are added to *diagnostics. Blocks on files (certificates).
std::shared_ptr<const Settings> SettingsFromConfig(std::shared_ptr<const config::Config> config,
                                                   uint64_t generation,
                                                   config::Diagnostics* diagnostics);

// syslog_facility's word ("mail", "local0") as syslog(3) wants it.
int SyslogFacility(const std::string& word);

}  // namespace mailrace::engine

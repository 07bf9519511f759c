// docs/CONFIGURATION.md, made from the registry.
#pragma once

#include <string>

namespace mailrace::engine::config {

// The whole file. A test holds the one in docs/ to it; print this over it to renew it.
std::string ConfigurationReference();

}  // namespace mailrace::engine::config

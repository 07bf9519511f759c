// Which mail goes first, and who shares with whom. Each member is the parameter of its
// name; meaning, unit, default and range: docs/CONFIGURATION.md.
#pragma once

#include <string>

namespace mailrace::engine::config {

struct ClassOptions {
  std::string default_message_class;
  std::string submission_class_maps;
  std::string submission_tenant_maps;
  std::string tenant_weights;
  std::string message_class_header;   // Empty: none.
  std::string message_tenant_header;  // Empty: none.
  bool steering_headers_keep = false;
};

}  // namespace mailrace::engine::config

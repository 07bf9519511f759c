// Postfix's parameters that mean nothing here: a main.cf that serves Postfix too must
// not be called wrong for having them.
#pragma once

#include <string>
#include <string_view>

namespace mailrace::engine::config {

// A parameter of Postfix that the registry does not have.
bool IsPostfixName(std::string_view name);

// What does not happen although the parameter asks for it, for those of them that change what
// becomes of mail; empty for others.
std::string_view MissingEffect(std::string_view name);

// The name that was probably meant, ours before Postfix's others; empty if nothing is near.
std::string SuggestName(std::string_view name);

}  // namespace mailrace::engine::config

// What an operator may write acts, or the reference says that it does not.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "engine/config/parameter.h"
#include "gtest/gtest.h"

namespace mailrace::engine::config {
namespace {

namespace fs = std::filesystem;

// Custom parameters whose value goes under another name.
constexpr std::string_view kElsewhere[] = {
    "2bounce_notice_recipient",  // QueueOptions::double_bounce_notice_recipient
    "smtp_tcp_port",             // SmtpOptions::smtp_tcp_port_number
};

// The registry, its fields and checks of values: to be there is not to be used.
bool OnlyHoldsValues(const fs::path& file) {
  const std::string name = file.filename().string();
  return name.starts_with("parameters_") || name.ends_with("options.h") || name == "validate.cc" ||
         name == "known_names.cc";
}

// Every word of the engine's and the tools' sources that is not in a comment.
std::set<std::string> WordsOfTheSources() {
  std::set<std::string> words;
  static const std::regex word("[A-Za-z0-9_]+");
  for (const char* folder : {"/engine", "/tools"}) {
    for (const auto& entry :
         fs::recursive_directory_iterator(std::string(MAILRACE_SOURCE_DIR) + folder)) {
      const std::string type = entry.path().extension().string();
      if ((type != ".cc" && type != ".h") || OnlyHoldsValues(entry.path())) continue;
      std::ifstream in(entry.path());
      for (std::string line; std::getline(in, line);) {
        line.resize(std::min(line.find("//"), line.size()));
        for (std::sregex_iterator it(line.begin(), line.end(), word), end; it != end; ++it) {
          words.insert(it->str());
        }
      }
    }
  }
  return words;
}

bool SaysThatItHasNoEffect(const Parameter& parameter) {
  return parameter.meaning.find("ithout effect") != std::string_view::npos ||
         parameter.meaning.find("Accepted for compatibility") != std::string_view::npos;
}

// Its value is another's default.
bool IsADefault(std::string_view name) {
  for (const ParameterGroup& group : ParameterGroups()) {
    for (const Parameter& other : group.parameters) {
      if (other.default_text == "$" + std::string(name)) return true;
    }
  }
  return false;
}

TEST(ConsumedTest, EveryParameterActsOrSaysThatItDoesNot) {
  const std::set<std::string> words = WordsOfTheSources();
  ASSERT_TRUE(words.contains("relayhost"));
  for (const ParameterGroup& group : ParameterGroups()) {
    for (const Parameter& parameter : group.parameters) {
      const bool acts = words.contains(std::string(parameter.name)) || IsADefault(parameter.name) ||
                        std::ranges::find(kElsewhere, parameter.name) != std::end(kElsewhere);
      EXPECT_TRUE(acts || SaysThatItHasNoEffect(parameter))
          << parameter.name << " is read, and nothing looks at it";
    }
  }
}

TEST(ConsumedTest, WhatSaysThatItHasNoEffectHasNone) {
  const std::set<std::string> words = WordsOfTheSources();
  for (const ParameterGroup& group : ParameterGroups()) {
    for (const Parameter& parameter : group.parameters) {
      if (!parameter.meaning.starts_with("Accepted for compatibility, without effect")) continue;
      EXPECT_FALSE(words.contains(std::string(parameter.name))) << parameter.name;
    }
  }
}

}  // namespace
}  // namespace mailrace::engine::config

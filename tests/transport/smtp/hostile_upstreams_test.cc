// hostile_upstreams.table is whole: each row of the tables of attacks and faults is there, and
// what it points to exists.
#include <fnmatch.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "gtest/gtest.h"

namespace mailrace::transport::smtp {
namespace {

namespace fs = std::filesystem;

const fs::path kTests = fs::path(MAILRACE_SOURCE_DIR) / "tests";

std::vector<std::string> Rows() {
  std::vector<std::string> rows;
  const auto add = [&rows](char letter, int last) {
    for (int n = 1; n <= last; ++n) rows.push_back(fmt::format("{}-{:02}", letter, n));
  };
  add('C', 15);
  add('O', 8);
  add('P', 15);
  add('U', 6);
  add('A', 14);
  add('T', 23);
  add('K', 6);
  const std::map<std::string, std::string> cells = {
      {"connect", "refuse reset silent"},
      {"greeting", "reset silent dribble 421 4xx 5xx garbage"},
      {"ehlo", "reset silent dribble 421 4xx 5xx garbage"},
      {"starttls", "reset silent dribble 421 4xx 5xx garbage"},
      {"handshake", "reset silent dribble garbage"},
      {"auth", "reset silent dribble 421 4xx 5xx garbage"},
      {"mail", "reset silent dribble 421 4xx 5xx garbage"},
      {"rcpt", "reset silent dribble 421 4xx 5xx garbage"},
      {"data", "reset silent dribble 421 4xx 5xx garbage"},
      {"body", "reset silent dribble 421 4xx 5xx garbage"},
      {"dot", "reset silent dribble 421 4xx 5xx garbage"},
      {"idle", "reset silent dribble 421 4xx 5xx garbage"},
      {"quit", "silent"},
  };
  for (const auto& [step, faults] : cells) {
    std::istringstream words(faults);
    for (std::string fault; words >> fault;) rows.push_back(fmt::format("{}/{}", step, fault));
  }
  return rows;
}

std::string Text(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::map<std::string, std::vector<std::string>> Table() {
  std::map<std::string, std::vector<std::string>> table;
  std::ifstream file(kTests / "transport/smtp/hostile_upstreams.table");
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string row;
    words >> row;
    EXPECT_FALSE(table.contains(row)) << row << " twice";
    std::vector<std::string>& evidence = table[row];
    for (std::string one; words >> one;) evidence.push_back(one);
  }
  return table;
}

bool HasDialogue(const fs::path& directory, const std::string& pattern) {
  const fs::directory_iterator files(directory);
  return std::any_of(begin(files), end(files), [&](const fs::directory_entry& entry) {
    return entry.path().extension() == ".dialogue" &&
           fnmatch(pattern.c_str(), entry.path().stem().c_str(), 0) == 0;
  });
}

bool Exists(const std::string& evidence) {
  const size_t colon = evidence.find(':');
  if (colon != std::string::npos) {
    const std::string text = Text(kTests / evidence.substr(0, colon));
    const std::string test = evidence.substr(colon + 1);
    return !text.empty() && (test == "*" || text.find(test + "(") != std::string::npos ||
                             text.find(test + ")") != std::string::npos);
  }
  if (evidence.starts_with("smtp/")) {
    return HasDialogue(kTests / "transport/smtp/dialogue", evidence.substr(5));
  }
  return evidence.starts_with("engine/") &&
         HasDialogue(kTests / "engine/delivery/dialogue", evidence.substr(7));
}

TEST(HostileUpstreams, EachRowHasItsEvidence) {
  const auto table = Table();
  for (const std::string& row : Rows()) {
    const auto found = table.find(row);
    if (found == table.end() || found->second.empty()) {
      ADD_FAILURE() << row << " is shown by nothing";
      continue;
    }
    for (const std::string& evidence : found->second) {
      EXPECT_TRUE(Exists(evidence)) << row << ": there is no " << evidence;
    }
  }
}

TEST(HostileUpstreams, EachLineIsARow) {
  const std::vector<std::string> rows = Rows();
  for (const auto& [row, evidence] : Table()) {
    EXPECT_NE(std::find(rows.begin(), rows.end(), row), rows.end()) << row;
  }
}

// Each dialogue begins by saying where it comes from.
TEST(HostileUpstreams, EachDialogueNamesItsReason) {
  for (const char* directory : {"transport/smtp/dialogue", "engine/delivery/dialogue"}) {
    for (const auto& entry : fs::directory_iterator(kTests / directory)) {
      if (entry.path().extension() != ".dialogue") continue;
      EXPECT_TRUE(Text(entry.path()).starts_with("# ")) << entry.path();
    }
  }
}

}  // namespace
}  // namespace mailrace::transport::smtp

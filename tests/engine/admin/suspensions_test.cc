// Suspended destinations survive on disk, and a file that cannot be understood is never
// taken for an empty one.
#include "engine/admin/suspensions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace mailrace::engine {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

class SuspensionsTest : public testing::Test {
 protected:
  SuspensionsTest() {
    std::string name = (std::filesystem::temp_directory_path() / "mailrace-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    directory_ = name;
  }
  ~SuspensionsTest() override { std::filesystem::remove_all(directory_); }

  const std::vector<Suspension> two_{
      {"[relay.test]:587", "maintenance \"tonight\"", absl::FromUnixSeconds(1'800'000'000)},
      {"example.com", "", absl::FromUnixSeconds(0)}};
  std::string directory_;
};

TEST_F(SuspensionsTest, WhatWasSavedIsLoaded) {
  EXPECT_THAT(LoadSuspensions(directory_).value(), IsEmpty());
  ASSERT_TRUE(SaveSuspensions(directory_, two_).ok());
  EXPECT_EQ(LoadSuspensions(directory_).value(), two_);
  ASSERT_TRUE(SaveSuspensions(directory_, {}).ok());
  EXPECT_THAT(LoadSuspensions(directory_).value(), IsEmpty());
}

TEST_F(SuspensionsTest, AFileThatIsDamagedStopsTheStartByName) {
  for (const std::string text :
       {"", "{", "[]", R"({"version":1})", R"({"version":1,"destinations":[7]})",
        R"({"version":1,"destinations":[{"nexthop":"a","reason":"b"}]})"}) {
    std::ofstream(SuspensionsPath(directory_)) << text;
    const auto loaded = LoadSuspensions(directory_);
    ASSERT_FALSE(loaded.ok()) << text;
    EXPECT_THAT(std::string(loaded.status().message()), HasSubstr(SuspensionsPath(directory_)));
  }
}

TEST_F(SuspensionsTest, ANewerVersionIsRefusedByName) {
  std::ofstream(SuspensionsPath(directory_)) << R"({"version":2,"destinations":[]})";
  EXPECT_THAT(std::string(LoadSuspensions(directory_).status().message()),
              HasSubstr("version 2, this program knows 1"));
}

TEST_F(SuspensionsTest, ADirectoryThatCannotBeWrittenIsSaid) {
  EXPECT_FALSE(SaveSuspensions(directory_ + "/missing", two_).ok());
}

}  // namespace
}  // namespace mailrace::engine

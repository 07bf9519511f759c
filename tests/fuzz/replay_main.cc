// Runs a fuzz target over its corpus without libFuzzer: every file in the directories or
// files given, whole and cut short at every octet. A broken promise ends the process.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

// Larger files are cut at this many places rather than at every octet.
constexpr size_t kCutsMax = 2000;

bool Replay(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return false;
  std::vector<char> octets{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const size_t step = octets.size() / kCutsMax + 1;
  // A copy of exactly that size, so that AddressSanitizer sees a read beyond the cut.
  const auto run = [&octets](size_t size) {
    const std::vector<uint8_t> cut(octets.begin(),
                                   octets.begin() + static_cast<std::ptrdiff_t>(size));
    LLVMFuzzerTestOneInput(cut.data(), cut.size());
  };
  std::printf("%s\n", path.c_str());
  std::fflush(stdout);
  for (size_t size = 0; size < octets.size(); size += step) run(size);
  run(octets.size());
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  size_t files = 0;
  for (int i = 1; i < argc; ++i) {
    std::vector<std::filesystem::path> paths = {argv[i]};
    if (std::filesystem::is_directory(argv[i])) {
      paths.clear();
      for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
        if (entry.is_regular_file()) paths.push_back(entry.path());
      }
    }
    for (const std::filesystem::path& path : paths) {
      if (!Replay(path)) {
        std::fprintf(stderr, "cannot read %s\n", path.c_str());
        return 1;
      }
      ++files;
    }
  }
  // An empty corpus would pass whatever the target does.
  if (files == 0) {
    std::fprintf(stderr, "no corpus: %s DIRECTORY-OR-FILE...\n", argc > 0 ? argv[0] : "replay");
    return 1;
  }
  std::printf("%zu files\n", files);
  return 0;
}

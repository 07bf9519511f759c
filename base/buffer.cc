#include "base/buffer.h"

#include <algorithm>

namespace mailrace {

void Buffer::MakeRoom(size_t octets) {
  const size_t used = size();
  // Moved down only when at least as much was consumed as is moved: appending stays
  // linear, and the memory within four times what the buffer held at most.
  if (begin_ >= used && data_.size() - used >= octets) {
    std::memmove(data_.data(), data_.data() + begin_, used);
  } else {
    std::vector<char> larger(std::max(data_.size() * 2, used + octets));
    if (used > 0) std::memcpy(larger.data(), data_.data() + begin_, used);
    data_.swap(larger);
  }
  begin_ = 0;
  end_ = used;
}

void Buffer::Shrink(size_t keep_octets) {
  if (empty() && data_.size() > keep_octets) {
    data_ = std::vector<char>(keep_octets);
    begin_ = end_ = 0;
  }
}

}  // namespace mailrace

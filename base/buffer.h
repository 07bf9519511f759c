// Octets in a row: appended at the end, consumed from the front. What a connection
// reads into and writes from.
#pragma once

#include <cstddef>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

namespace mailrace {

class Buffer {
 public:
  Buffer() = default;
  // The source is empty afterwards.
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, {})),
        begin_(std::exchange(other.begin_, 0)),
        end_(std::exchange(other.end_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    data_ = std::exchange(other.data_, {});
    begin_ = std::exchange(other.begin_, 0);
    end_ = std::exchange(other.end_, 0);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  size_t size() const { return end_ - begin_; }
  bool empty() const { return begin_ == end_; }
  // Valid until the next call that is not const.
  std::string_view view() const { return {data_.data() + begin_, size()}; }

  void Append(std::string_view octets) {
    char* out = Prepare(octets.size());
    if (!octets.empty()) std::memcpy(out, octets.data(), octets.size());
    Commit(octets.size());
  }
  // Room for `octets` more behind the end; write there, then Commit what was written.
  char* Prepare(size_t octets) {
    if (data_.size() - end_ < octets) MakeRoom(octets);
    return data_.data() + end_;
  }
  void Commit(size_t octets) { end_ += octets; }
  // REQUIRES: octets <= size().
  void Consume(size_t octets) {
    begin_ += octets;
    if (begin_ == end_) begin_ = end_ = 0;
  }
  void Clear() { begin_ = end_ = 0; }
  // Gives memory back when the buffer grew beyond `keep_octets` and is empty.
  void Shrink(size_t keep_octets);

 private:
  void MakeRoom(size_t octets);
  std::vector<char> data_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace mailrace

// CRC-32C (Castagnoli): tells a damaged record or marker from a whole one.
#pragma once

#include <cstdint>
#include <string_view>

namespace mailrace::queue {

// Of `octets`; "123456789" gives 0xE3069283. `before`: that of what stands before them.
uint32_t Crc32c(std::string_view octets, uint32_t before = 0);

}  // namespace mailrace::queue

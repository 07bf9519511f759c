// CRC-32C (Castagnoli): tells a damaged record or marker from a whole one.
#pragma once

#include <cstdint>
#include <string_view>

namespace mailrace::queue {

// Of `octets`; "123456789" gives 0xE3069283.
uint32_t Crc32c(std::string_view octets);

}  // namespace mailrace::queue

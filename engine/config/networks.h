// Lists of networks: mynetworks.
//
//   list    = *( pattern [","] )
//   pattern = ["!"] address [ "/" bits ]     IPv6 addresses stand in brackets: [fe80::]/10
//
// The first pattern that contains the address decides; "!" makes it a no.
#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/socket_address.h"

namespace mailrace::engine::config {

class NetworkList {
 public:
  // Errors name the pattern: bad address, too many bits, host bits set (as Postfix).
  static absl::StatusOr<NetworkList> Parse(std::string_view list);
  bool Contains(const IpAddress& ip) const;
  bool empty() const { return networks_.empty(); }

 private:
  struct Network {
    IpAddress address;
    int bits = 0;
    bool negated = false;
  };
  static absl::StatusOr<Network> ParseOne(std::string_view pattern);
  std::vector<Network> networks_;
};

}  // namespace mailrace::engine::config

// The way of a recipient's mail by configuration: transport_maps, sender-dependent and
// general relayhost, the recipient's domain; and whose login it uses (Postfix's
// trivial-rewrite(8), docs/CONFIGURATION.md "Routing"). Immutable, any thread; tables are
// in memory, so that asking costs some lookups and never waits.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/config/config.h"
#include "engine/routing/hop_name.h"

namespace mailrace::engine {

class Routes {
 public:
  explicit Routes(std::shared_ptr<const config::Config> config);

  // `sender` is empty for bounces. `steps`, if given, is told each thing that decided,
  // with its file and line. A table that cannot answer defers: the hop is a retry.
  HopName Resolve(std::string_view sender, std::string_view recipient,
                  std::vector<std::string>* steps = nullptr) const;

 private:
  struct Way;
  using Table = std::shared_ptr<const tables::TableList>;
  // The first key that `table` has. False if it cannot answer.
  bool Find(const Table& table, const std::vector<std::string>& keys,
            std::optional<tables::TableHit>* hit) const;
  bool ByDefaultTransport(std::string_view sender, std::string_view domain, Way* way) const;
  bool ByRelayhost(std::string_view sender, std::string_view domain, Way* way) const;
  bool ByTransportMaps(std::string_view recipient, std::string_view domain, Way* way) const;
  void AddLogin(std::string_view sender, HopName* hop, std::vector<std::string>* steps) const;

  const std::shared_ptr<const config::Config> config_;
  std::string relayhost_;  // As it is called in the queue.
  bool parents_match_ = false;
  bool by_relayhost_alone_ = false;  // The usual case: nothing else is configured.
};

// relayhost as the queue calls it: several between ", ". Empty if there is none.
std::string RelayhostName(const std::vector<config::Nexthop>& relayhost);

}  // namespace mailrace::engine

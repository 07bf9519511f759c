#include "engine/routing/tls_policy.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "engine/config/relayhost.h"
#include "engine/config/values.h"
#include "engine/routing/tls_policy_entry.h"

namespace mailrace::engine {
namespace {

using config::TlsOptions;
using tables::TableHit;
using tables::TableList;

constexpr EnhancedStatus kConfigurationProblem{4, 7, 5};
constexpr EnhancedStatus kLookupProblem{4, 3, 0};

// A next-hop without brackets and port, lower case.
std::string NexthopDomain(std::string_view nexthop) {
  const absl::StatusOr<config::Nexthop> parsed = config::ParseNexthop(nexthop, 25);
  return parsed.ok() ? parsed->host : AsciiLowered(nexthop);
}

// Hex digits with or without colons, to upper case with colons; empty if it is neither.
std::string NormalFingerprint(std::string_view text) {
  std::string hex;
  for (const char c : text) {
    if (c == ':') continue;
    const bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    if (!digit) return "";
    hex.push_back(c);
  }
  if (hex.size() != 64) return "";
  std::string out;
  for (size_t i = 0; i < hex.size(); i += 2) {
    if (i > 0) out.push_back(':');
    out += AsciiUppered(std::string_view(hex).substr(i, 2));
  }
  return out;
}

class Resolver {
 public:
  Resolver(const TlsOptions& options, const TableList& per_site, const TableList& policies,
           std::string_view nexthop, std::string_view host)
      : options_(options),
        per_site_(per_site),
        policies_(policies),
        nexthop_(nexthop),
        host_(host),
        level_(options.GlobalLevel()) {}

  TlsPolicyResult Run() {
    result_.decided_by = std::string(options_.GlobalLevelParameter());
    Step(fmt::format("{}: level {}", result_.decided_by, config::TlsLevelName(level_)));
    const bool found =
        !policies_.empty() ? LookUpPolicies() : (per_site_.empty() || LookUpPerSite());
    if (found) Complete();
    return std::move(result_);
  }

 private:
  void Step(std::string step) { result_.steps.push_back(std::move(step)); }
  void Warn(std::string warning) { result_.warnings.push_back(std::move(warning)); }
  bool Invalid() { return Fail(kConfigurationProblem, "client TLS configuration problem"); }
  bool Fail(EnhancedStatus status, std::string_view reason) {
    result_.status = status;
    result_.reason = std::string(reason);
    Step(fmt::format("deferred: {} {}", status.ToString(), reason));
    return false;
  }

  // --- smtp_tls_per_site ---

  bool LookUpPerSite() {
    SiteLevel by_nexthop;
    SiteLevel by_host;
    if (!LookUpSite(nexthop_, "next-hop destination", &by_nexthop)) return false;
    if (!EqualsIgnoreCase(nexthop_, host_) && !LookUpSite(host_, "server hostname", &by_host)) {
      return false;
    }
    const SiteLevel site = CombinePerSite(by_nexthop, by_host);
    if (!site) {
      Step(fmt::format("smtp_tls_per_site: no entry for {} or {}", nexthop_, host_));
      return true;
    }
    const TlsLevel level = ApplyPerSite(level_, site);
    // MAY that yields leaves the decision where it was.
    const bool decided = *site != TlsLevel::kMay || level_ <= TlsLevel::kMay;
    if (decided) result_.decided_by = site == by_nexthop ? nexthop_origin_ : host_origin_;
    Step(fmt::format(
        "smtp_tls_per_site: {}: level {}{}", site == by_nexthop ? nexthop_origin_ : host_origin_,
        config::TlsLevelName(level), decided ? "" : " (MAY yields to the stronger global level)"));
    level_ = level;
    return true;
  }

  bool LookUpSite(std::string_view name, std::string_view site_class, SiteLevel* level) {
    const absl::StatusOr<std::optional<TableHit>> hit = per_site_.Lookup(name);
    if (!hit.ok()) {
      Warn(fmt::format("smtp_tls_per_site: {} \"{}\": per-site table lookup error", site_class,
                       name));
      return Fail(kLookupProblem, "Temporary lookup error");
    }
    if (!hit->has_value()) return true;
    *level = ParsePerSiteWord((*hit)->value);
    if (!*level) {
      Warn(fmt::format("smtp_tls_per_site: unknown TLS policy '{}' for {} {}",
                       Printable((*hit)->value, 100), site_class, name));
      Step(fmt::format("{}: unknown word", (*hit)->origin));
      return Invalid();
    }
    (name.data() == nexthop_.data() ? nexthop_origin_ : host_origin_) = (*hit)->origin;
    return true;
  }

  // --- smtp_tls_policy_maps ---

  bool LookUpPolicies() {
    // Only a plain domain has parents to look up; "[host]" and "host:port" are next-hops
    // that somebody wrote, not parts of an address.
    const bool plain = nexthop_.find_first_of("[]:") == std::string_view::npos;
    for (std::string_view key = nexthop_;;) {
      const absl::StatusOr<std::optional<TableHit>> hit = policies_.Lookup(key);
      const std::string where =
          fmt::format("smtp_tls_policy_maps, next-hop destination \"{}\"", key);
      if (!hit.ok()) {
        Warn(fmt::format("{}: policy table lookup error", where));
        return Invalid();
      }
      if (hit->has_value()) return UsePolicy(**hit, where);
      const size_t dot = plain ? key.find('.', 1) : std::string_view::npos;
      if (key.empty() || dot == std::string_view::npos) break;
      key = key.substr(dot);
    }
    Step(fmt::format("smtp_tls_policy_maps: no entry for {}", nexthop_));
    return true;
  }

  bool UsePolicy(const TableHit& hit, std::string_view where) {
    entry_ = TlsPolicyEntry::Parse(hit.value, where, &result_.warnings);
    if (!entry_) {
      Step(fmt::format("{}: bad entry", hit.origin));
      return Invalid();
    }
    level_ = entry_->level;
    result_.decided_by = hit.origin;
    Step(fmt::format("smtp_tls_policy_maps: {}: level {}", hit.origin,
                     config::TlsLevelName(level_)));
    return true;
  }

  // --- What follows from the level ---

  void Complete() {
    TlsPolicy policy;
    policy.level = level_;
    if (level_ != TlsLevel::kNone) {
      SetHandshake(&policy);
      if (level_ == TlsLevel::kFingerprint && !SetFingerprints(&policy)) return;
      if (level_ >= TlsLevel::kVerify) SetNames(&policy);
    }
    Step(std::string(DescribeTlsLevel(level_)));
    result_.policy = std::move(policy);
  }

  void SetHandshake(TlsPolicy* policy) {
    const bool may = level_ == TlsLevel::kMay;
    const TlsPolicyEntry entry = entry_.value_or(TlsPolicyEntry{});
    policy->protocols = entry.protocols.value_or(may ? options_.smtp_tls_protocols
                                                     : options_.smtp_tls_mandatory_protocols);
    policy->cipher_grade = entry.ciphers.value_or(may ? options_.smtp_tls_ciphers
                                                      : options_.smtp_tls_mandatory_ciphers);
    if (entry.exclude) {
      // Braces were balanced when the entry was split.
      policy->exclude_ciphers =
          config::SplitList(*entry.exclude).value_or(std::vector<std::string>{});
    } else {
      policy->exclude_ciphers = options_.smtp_tls_exclude_ciphers;
      if (!may) {
        policy->exclude_ciphers.insert(policy->exclude_ciphers.end(),
                                       options_.smtp_tls_mandatory_exclude_ciphers.begin(),
                                       options_.smtp_tls_mandatory_exclude_ciphers.end());
      }
    }
    if (!may) {
      policy->exclude_ciphers.emplace_back(level_ == TlsLevel::kEncrypt ? "eNULL" : "aNULL");
    }
    const std::string name = entry.server_name.value_or(options_.smtp_tls_servername);
    policy->server_name = EqualsIgnoreCase(name, "hostname")  ? AsciiLowered(host_)
                          : EqualsIgnoreCase(name, "nexthop") ? NexthopDomain(nexthop_)
                                                              : name;
    // An address is no server name (RFC 6066 3).
    if (IpAddress::Parse(policy->server_name).ok()) policy->server_name.clear();
  }

  bool SetFingerprints(TlsPolicy* policy) {
    const bool own = entry_ && entry_->match;
    const std::vector<std::string>& digests =
        own ? *entry_->match : options_.smtp_tls_fingerprint_cert_match;
    for (const std::string& digest : digests) {
      const std::string normal = NormalFingerprint(digest);
      if (normal.empty()) {
        Warn(fmt::format("\"{}\" is not a SHA-256 fingerprint: ignored", Printable(digest, 200)));
      } else {
        policy->fingerprints.push_back(normal);
      }
    }
    if (!policy->fingerprints.empty()) return true;
    Warn(
        fmt::format("nexthop domain {}: configured at fingerprint security level, but with no "
                    "fingerprints to match.",
                    nexthop_));
    return Invalid();
  }

  void SetNames(TlsPolicy* policy) {
    policy->trust_anchor_files = entry_ && !entry_->trust_anchor_files.empty()
                                     ? entry_->trust_anchor_files
                                     : options_.smtp_tls_trust_anchor_file;
    const bool own = entry_ && entry_->match;
    const std::vector<std::string>& words = own ? *entry_->match
                                            : level_ == TlsLevel::kVerify
                                                ? options_.smtp_tls_verify_cert_match
                                                : options_.smtp_tls_secure_cert_match;
    for (const std::string& list : words) {
      // main.cf's lists may use ':' too.
      for (std::string_view rest = list; !rest.empty();) {
        const size_t colon = std::min(rest.find(':'), rest.size());
        AddName(rest.substr(0, colon), policy);
        rest.remove_prefix(std::min(colon + 1, rest.size()));
      }
    }
  }

  void AddName(std::string_view word, TlsPolicy* policy) {
    std::string name;
    if (EqualsIgnoreCase(word, "nexthop")) {
      name = NexthopDomain(nexthop_);
    } else if (EqualsIgnoreCase(word, "dot-nexthop")) {
      name = NexthopDomain(nexthop_);
      if (IpAddress::Parse(name).ok()) return;
      name.insert(0, ".");
    } else if (EqualsIgnoreCase(word, "hostname")) {
      name = AsciiLowered(host_);
    } else {
      name = AsciiLowered(word);
    }
    if (name.empty()) return;
    if (const absl::StatusOr<IpAddress> ip = IpAddress::Parse(name); ip.ok()) {
      policy->match_ip = *ip;
      return;
    }
    auto& names = policy->match_names;
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }

  const TlsOptions& options_;
  const TableList& per_site_;
  const TableList& policies_;
  std::string_view nexthop_;
  std::string_view host_;
  TlsLevel level_;
  std::string nexthop_origin_;
  std::string host_origin_;
  std::optional<TlsPolicyEntry> entry_;
  TlsPolicyResult result_;
};

}  // namespace

std::optional<TlsLevel> ParsePerSiteWord(std::string_view word) {
  if (EqualsIgnoreCase(word, "NONE")) return TlsLevel::kNone;
  if (EqualsIgnoreCase(word, "MAY")) return TlsLevel::kMay;
  if (EqualsIgnoreCase(word, "MUST_NOPEERMATCH")) return TlsLevel::kEncrypt;
  if (EqualsIgnoreCase(word, "MUST")) return TlsLevel::kVerify;
  return std::nullopt;
}

SiteLevel CombinePerSite(SiteLevel nexthop, SiteLevel host) {
  if (!nexthop) return host;
  if (!host) return nexthop;
  // NONE is a specific word, MAY a wildcard: NONE wins between the two.
  if (*nexthop <= TlsLevel::kMay && *host <= TlsLevel::kMay) return std::min(*nexthop, *host);
  return std::max(*nexthop, *host);
}

TlsLevel ApplyPerSite(TlsLevel global, SiteLevel site) {
  if (!site) return global;
  return *site == TlsLevel::kMay && global > TlsLevel::kMay ? global : *site;
}

std::string_view DescribeTlsLevel(TlsLevel level) {
  switch (level) {
    case TlsLevel::kNone:
      return "clear text, TLS is not used";
    case TlsLevel::kMay:
      return "encrypted if the server offers it, certificate not checked";
    case TlsLevel::kEncrypt:
      return "encrypted, certificate not checked";
    case TlsLevel::kFingerprint:
      return "encrypted, certificate or its key known by fingerprint";
    case TlsLevel::kVerify:
      return "encrypted, certificate trusted and bears the server's name";
    case TlsLevel::kSecure:
      return "encrypted, certificate trusted and bears a name that DNS cannot forge";
  }
  return "";
}

TlsPolicyResult ResolveTlsPolicy(const TlsOptions& options, const TableList& per_site,
                                 const TableList& policies, std::string_view nexthop,
                                 std::string_view host) {
  return Resolver(options, per_site, policies, nexthop, host).Run();
}

}  // namespace mailrace::engine

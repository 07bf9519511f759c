#include "transport/dns/unbound_context.h"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "fmt/format.h"

namespace mailrace::transport::dns {
namespace {

// unbound answers some names by itself, for they mean nothing on the public Internet. We
// are a stub resolver of a site: its own servers know better. That can be said in a
// configuration file only, so here is one.
constexpr std::string_view kConfiguration =
    "server:\n"
    "  local-zone: \"test.\" nodefault\n"
    "  local-zone: \"home.arpa.\" nodefault\n";

constexpr std::array<std::pair<const char*, const char*>, 5> kSettings{{
    // systemd-resolved and dnsmasq live on loopback.
    {"do-not-query-localhost:", "no"},
    // A name server that was down is tried again soon: its absence defers all mail.
    {"infra-host-ttl:", "30"},
    {"infra-keep-probing:", "yes"},
    // A record that was missing is looked for again within the first retry of a message.
    {"cache-max-negative-ttl:", "60"},
    {"use-syslog:", "no"},
}};

absl::Status Failure(std::string_view doing, int code) {
  return absl::InvalidArgumentError(fmt::format("{}: {}", doing, ub_strerror(code)));
}

absl::Status ReadConfiguration(ub_ctx* context) {
  const int fd = memfd_create("unbound.conf", MFD_CLOEXEC);
  if (fd < 0) return absl::ResourceExhaustedError("DNS: no memory file");
  const bool written = write(fd, kConfiguration.data(), kConfiguration.size()) ==
                       static_cast<ssize_t>(kConfiguration.size());
  const int code =
      written ? ub_ctx_config(context, fmt::format("/proc/self/fd/{}", fd).c_str()) : UB_READFILE;
  close(fd);
  return code == 0 ? absl::OkStatus() : Failure("DNS: own configuration", code);
}

absl::Status Forward(ub_ctx* context, const DnsOptions& options,
                     std::vector<std::string>* warnings) {
  for (const std::string& forwarder : options.forwarders) {
    const int code = ub_ctx_set_fwd(context, forwarder.c_str());
    if (code != 0) return Failure(fmt::format("DNS: name server '{}'", forwarder), code);
  }
  if (!options.forwarders.empty()) return absl::OkStatus();
  const int code = ub_ctx_resolvconf(context, options.resolv_conf.c_str());
  if (code != 0) {
    warnings->push_back(fmt::format("cannot use {}: {}; names are resolved from the root servers",
                                    options.resolv_conf, ub_strerror(code)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ContextPtr> MakeContext(const DnsOptions& options,
                                       std::vector<std::string>* warnings) {
  ContextPtr context(ub_ctx_create());
  if (context == nullptr) return absl::ResourceExhaustedError("DNS: cannot make a context");
  // Its own log lines would go to stderr past our log.
  ub_ctx_debugout(context.get(), nullptr);
  absl::Status status = ReadConfiguration(context.get());
  if (!status.ok()) return status;
  for (const auto& [name, value] : kSettings) {
    const int code = ub_ctx_set_option(context.get(), name, value);
    if (code != 0) return Failure(fmt::format("DNS: option {} {}", name, value), code);
  }
  status = Forward(context.get(), options, warnings);
  if (!status.ok()) return status;
  if (!options.hosts.empty()) {
    const int code = ub_ctx_hosts(context.get(), options.hosts.c_str());
    if (code != 0) {
      warnings->push_back(fmt::format("cannot use {}: {}", options.hosts, ub_strerror(code)));
    }
  }
  if (!options.trust_anchor.empty() && access(options.trust_anchor.c_str(), R_OK) == 0) {
    const int code = ub_ctx_add_ta_file(context.get(), options.trust_anchor.c_str());
    if (code != 0) {
      warnings->push_back(
          fmt::format("cannot use {}: {}", options.trust_anchor, ub_strerror(code)));
    }
  }
  // A thread, not a child process: children of a server with threads are trouble.
  const int code = ub_ctx_async(context.get(), 1);
  if (code != 0) return Failure("DNS: asynchronous resolution", code);
  return context;
}

}  // namespace mailrace::transport::dns

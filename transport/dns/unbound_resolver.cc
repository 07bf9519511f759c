#include "transport/dns/unbound_resolver.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/sync.h"
#include "fmt/format.h"
#include "transport/dns/rdata.h"

namespace mailrace::transport::dns {

struct UnboundResolver::Shared {
  std::shared_ptr<DnsService> service;
  Loop* loop;
  ShardPost* post;
  uint64_t client;
  bool cancelled = false;
  uint64_t last_lookup = 0;
  absl::flat_hash_map<uint64_t, Lookup*> waiting;
};

// One question that a coroutine waits for; lives in its frame. Ends by the answer, the
// deadline or Cancel, whichever is first.
class UnboundResolver::Lookup final : private Timer {
 public:
  Lookup(std::shared_ptr<Shared> shared, std::string name, RecordType type, MonoTime deadline)
      : shared_(std::move(shared)), name_(name), reply_(shared_->loop) {
    if (shared_->cancelled) {
      reply_.Set({absl::CancelledError("DNS lookup cancelled"), {}, false});
      return;
    }
    number_ = ++shared_->last_lookup;
    shared_->waiting.emplace(number_, this);
    const std::weak_ptr<Shared> weak = shared_;
    question_ = shared_->service->Ask(
        shared_->client, shared_->post, std::move(name), type,
        [weak, number = number_](DnsReply reply) { Answered(weak, number, std::move(reply)); });
    shared_->loop->timers().Arm(this, deadline);
  }
  ~Lookup() override { shared_->waiting.erase(number_); }

  OneShot<DnsReply>& reply() { return reply_; }

  void Stop(absl::Status why) {
    Disarm();
    shared_->waiting.erase(number_);
    shared_->service->Cancel(question_);
    reply_.Set({std::move(why), {}, false});
  }

 private:
  static void Answered(const std::weak_ptr<Shared>& weak, uint64_t number, DnsReply reply) {
    const std::shared_ptr<Shared> shared = weak.lock();
    if (shared == nullptr) return;
    const auto it = shared->waiting.find(number);
    if (it == shared->waiting.end()) return;  // Too late.
    Lookup* lookup = it->second;
    shared->waiting.erase(it);
    lookup->Disarm();
    lookup->reply_.Set(std::move(reply));
  }

  void Fire() override {
    Stop(absl::UnavailableError(fmt::format("DNS lookup of {} timed out", name_)));
  }

  std::shared_ptr<Shared> shared_;
  std::string name_;
  uint64_t number_ = 0;
  uint64_t question_ = 0;
  OneShot<DnsReply> reply_;
};

namespace {

// The reason with the name it is about.
absl::Status Named(const absl::Status& status, std::string_view name) {
  const std::string reason(status.message());
  if (reason.find(name) != reason.npos) return status;
  return absl::Status(status.code(), fmt::format("{}: {}", name, reason));
}

std::vector<IpAddress> ParseAll(const DnsReply& reply) {
  std::vector<IpAddress> addresses;
  for (const std::string& rdata : reply.rdata) {
    if (const std::optional<IpAddress> ip = ParseAddress(rdata)) addresses.push_back(*ip);
  }
  return addresses;
}

// Behind the records of the same preference, which keep the order of the answer.
void AddByPreference(MxRecord record, std::vector<MxRecord>* records) {
  const auto at = std::upper_bound(
      records->begin(), records->end(), record,
      [](const MxRecord& a, const MxRecord& b) { return a.preference < b.preference; });
  records->insert(at, std::move(record));
}

// Without any address: a temporary failure of either question may hide one.
absl::Status NoAddress(const DnsReply& first, const DnsReply& second, std::string_view name) {
  for (const DnsReply* reply : {&first, &second}) {
    if (!reply->status.ok() && !absl::IsNotFound(reply->status)) return Named(reply->status, name);
  }
  for (const DnsReply* reply : {&first, &second}) {
    if (!reply->status.ok()) return Named(reply->status, name);
  }
  return absl::NotFoundError(fmt::format("{}: no address record", name));
}

}  // namespace

UnboundResolver::UnboundResolver(std::shared_ptr<DnsService> service, Loop* loop, ShardPost* post)
    : shared_(std::make_shared<Shared>()) {
  shared_->client = service->NewClient();
  shared_->service = std::move(service);
  shared_->loop = loop;
  shared_->post = post;
}

UnboundResolver::~UnboundResolver() {
  if (!shared_->waiting.empty()) {
    std::fprintf(stderr, "mailrace: resolver destroyed with %zu lookups awaited\n",
                 shared_->waiting.size());
    std::abort();
  }
  shared_->service->Forget(shared_->client);
}

void UnboundResolver::Cancel() {
  shared_->cancelled = true;
  while (!shared_->waiting.empty()) {
    shared_->waiting.begin()->second->Stop(absl::CancelledError("DNS lookup cancelled"));
  }
}

Task<absl::StatusOr<MxAnswer>> UnboundResolver::Mx(std::string name, MonoTime deadline) {
  if (IpAddress::Parse(name).ok()) co_return MxAnswer{};
  const absl::StatusOr<std::string> checked = CheckedName(name);
  if (!checked.ok()) co_return checked.status();
  Lookup lookup(shared_, *checked, RecordType::kMx, deadline);
  const DnsReply reply = co_await lookup.reply();
  if (!reply.status.ok()) co_return Named(reply.status, *checked);
  MxAnswer answer;
  answer.secure = reply.secure;
  for (const std::string& rdata : reply.rdata) {
    if (std::optional<MxRecord> record = ParseMx(rdata)) {
      AddByPreference(std::move(*record), &answer.records);
    }
  }
  if (answer.records.empty() && !reply.rdata.empty()) {
    // Not "no MX", which would send the mail to the domain's own address.
    co_return absl::UnavailableError(fmt::format("{}: malformed MX records", *checked));
  }
  co_return answer;
}

Task<absl::StatusOr<AddressAnswer>> UnboundResolver::Addresses(std::string name, Family family,
                                                               MonoTime deadline) {
  if (const absl::StatusOr<IpAddress> literal = IpAddress::Parse(name); literal.ok()) {
    const bool fits = family == Family::kAny || literal->v6 == (family == Family::kIpv6);
    if (!fits) {
      co_return absl::NotFoundError(fmt::format("{} is of the other address family", name));
    }
    co_return AddressAnswer{{*literal}, false};
  }
  const absl::StatusOr<std::string> checked = CheckedName(name);
  if (!checked.ok()) co_return checked.status();
  // Both are asked before either is awaited.
  std::optional<Lookup> v6_lookup;
  std::optional<Lookup> v4_lookup;
  if (family != Family::kIpv4) v6_lookup.emplace(shared_, *checked, RecordType::kAaaa, deadline);
  if (family != Family::kIpv6) v4_lookup.emplace(shared_, *checked, RecordType::kA, deadline);
  DnsReply v6;
  DnsReply v4;
  if (v6_lookup) v6 = co_await v6_lookup->reply();
  if (v4_lookup) v4 = co_await v4_lookup->reply();
  AddressAnswer answer;
  answer.addresses = Interleave(ParseAll(v6), ParseAll(v4));
  if (answer.addresses.empty()) co_return NoAddress(v6, v4, *checked);
  answer.secure = (!v6_lookup || v6.secure) && (!v4_lookup || v4.secure);
  co_return answer;
}

}  // namespace mailrace::transport::dns

#include "engine/admin/queue_request.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "engine/config/message_class.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace mailrace::engine {

namespace {

using Json = nlohmann::json;
using Verb = QueueRequest::Verb;

constexpr size_t kReasonOctetsMax = 512;
constexpr double kSecondsMax = 1e9;

constexpr std::pair<std::string_view, Verb> kVerbs[] = {
    {"list", Verb::kList},     {"show", Verb::kShow},       {"export", Verb::kExport},
    {"hold", Verb::kHold},     {"release", Verb::kRelease}, {"flush", Verb::kFlush},
    {"remove", Verb::kRemove}, {"bounce", Verb::kBounce},   {"suspend", Verb::kSuspend},
    {"resume", Verb::kResume},
};

absl::Status Wrong(std::string_view name, std::string_view expected) {
  return absl::InvalidArgumentError(fmt::format("\"{}\" is not {}", name, expected));
}

bool FitsAddress(std::string_view wanted, std::string_view address) {
  if (wanted == "<>") return address.empty();
  if (!wanted.starts_with('@')) return EqualsIgnoreCase(wanted, address);
  const size_t at = address.rfind('@');
  return at != address.npos && EqualsIgnoreCase(wanted, address.substr(at));
}

// Takes members out of the request; what is left at the end nobody knows.
class Members {
 public:
  explicit Members(Json json) : json_(std::move(json)) {}

  void Flag(const char* name, bool* to) {
    const Json value = Take(name);
    if (value.is_boolean()) *to = value.get<bool>();
    if (!value.is_null() && !value.is_boolean()) Fail(Wrong(name, "true or false"));
  }
  std::optional<std::string> Text(const char* name) {
    const Json value = Take(name);
    if (value.is_null()) return std::nullopt;
    if (value.is_string() && !value.get<std::string>().empty()) return value.get<std::string>();
    Fail(Wrong(name, "a text"));
    return std::nullopt;
  }
  std::optional<absl::Duration> Seconds(const char* name) {
    const Json value = Take(name);
    if (value.is_null()) return std::nullopt;
    if (value.is_number() && value.get<double>() >= 0 && value.get<double>() <= kSecondsMax) {
      return absl::Seconds(value.get<double>());
    }
    Fail(Wrong(name, "a number of seconds"));
    return std::nullopt;
  }
  std::vector<QueueId> Ids(const char* name) {
    std::vector<QueueId> ids;
    const Json value = Take(name);
    if (!value.is_null() && !value.is_array()) Fail(Wrong(name, "a list of queue ids"));
    if (!value.is_array()) return ids;
    for (const Json& each : value) {
      const std::optional<QueueId> id =
          each.is_string() ? QueueId::Parse(each.get<std::string>()) : std::nullopt;
      if (id) {
        ids.push_back(*id);
      } else {
        Fail(absl::InvalidArgumentError(fmt::format("{} is not a queue id", Shown(each))));
      }
    }
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    return ids;
  }
  void Fail(absl::Status status) {
    if (status_.ok()) status_ = std::move(status);
  }
  absl::Status Finish() {
    if (!json_.empty()) {
      Fail(absl::InvalidArgumentError(
          fmt::format("\"{}\" is not known", Printable(json_.begin().key(), 64))));
    }
    return status_;
  }

 private:
  static std::string Shown(const Json& value) {
    return Printable(value.is_string() ? "'" + value.get<std::string>() + "'"
                                       : value.dump(-1, ' ', true, Json::error_handler_t::replace),
                     64);
  }
  Json Take(const char* name) {
    const auto found = json_.find(name);
    if (found == json_.end()) return nullptr;
    Json value = std::move(*found);
    json_.erase(found);
    if (value.is_null()) Fail(Wrong(name, "anything"));
    return value;
  }
  Json json_;
  absl::Status status_;
};

void TakeSelector(Members* members, Selector* selector) {
  members->Flag("all", &selector->all);
  selector->ids = members->Ids("ids");
  selector->sender = members->Text("sender");
  selector->recipient = members->Text("recipient");
  selector->nexthop = members->Text("nexthop");
  selector->tenant = members->Text("tenant");
  selector->older_than = members->Seconds("older_than");
  selector->younger_than = members->Seconds("younger_than");
  if (const auto name = members->Text("class")) {
    selector->priority = config::ParseMessageClass(*name);
    if (!selector->priority) members->Fail(Wrong("class", "urgent, normal or bulk"));
  }
  if (const auto name = members->Text("state")) {
    if (*name == "active") selector->state = JobFacts::State::kActive;
    if (*name == "deferred") selector->state = JobFacts::State::kDeferred;
    if (*name == "hold") selector->state = JobFacts::State::kHeld;
    if (!selector->state) members->Fail(Wrong("state", "active, deferred or hold"));
  }
}

// What is asked for as a whole must be asked for in so many words.
absl::Status CheckScope(QueueRequest* request) {
  Selector& selector = request->selector;
  switch (request->verb) {
    case Verb::kList:
    case Verb::kFlush:
      if (selector.empty()) selector.all = true;
      return absl::OkStatus();
    case Verb::kSuspend:
    case Verb::kResume:
      if (selector.nexthop) return absl::OkStatus();
      return absl::InvalidArgumentError("which destination? \"nexthop\" is missing");
    case Verb::kShow:
      if (!selector.ids.empty()) return absl::OkStatus();
      return absl::InvalidArgumentError("which message? \"ids\" is missing");
    default:
      if (!selector.empty()) return absl::OkStatus();
      return absl::InvalidArgumentError("which messages? no selector is given, nor \"all\"");
  }
}

}  // namespace

bool Selector::empty() const { return !all && without_conditions(); }

bool Selector::without_conditions() const {
  return ids.empty() && !sender && !recipient && !nexthop && !priority && !tenant && !state &&
         !older_than && !younger_than;
}

bool Selector::FitsMessage(const queue::RecoveredMessage& message, absl::Time now) const {
  const queue::Envelope& envelope = message.envelope;
  if (!ids.empty() && !std::binary_search(ids.begin(), ids.end(), envelope.id)) return false;
  if (sender && !FitsAddress(*sender, envelope.reverse_path)) return false;
  if (priority && *priority != std::min<int>(envelope.priority, queue::kPriorities - 1))
    return false;
  if (tenant && !EqualsIgnoreCase(*tenant, envelope.tenant)) return false;
  const absl::Duration age = now - envelope.arrival;
  if (older_than && age < *older_than) return false;
  if (younger_than && age >= *younger_than) return false;
  if (!recipient) return true;
  for (uint32_t i = 0; i < envelope.recipients.size(); ++i) {
    if (!FitsAddress(*recipient, envelope.recipients[i].address)) continue;
    if (!std::binary_search(message.done_indices.begin(), message.done_indices.end(), i)) {
      return true;
    }
  }
  return false;
}

bool Selector::FitsJobs(const std::vector<JobFacts>& jobs) const {
  if (!nexthop && !state) return true;
  return std::any_of(jobs.begin(), jobs.end(), [this](const JobFacts& job) {
    return (!nexthop || EqualsIgnoreCase(*nexthop, job.nexthop)) && (!state || *state == job.state);
  });
}

std::optional<Operation::Kind> QueueRequest::operation() const {
  switch (verb) {
    case Verb::kHold:
      return Operation::Kind::kHold;
    case Verb::kRelease:
      return Operation::Kind::kRelease;
    case Verb::kFlush:
      return Operation::Kind::kFlush;
    case Verb::kRemove:
      return Operation::Kind::kRemove;
    case Verb::kBounce:
      return Operation::Kind::kBounce;
    default:
      return std::nullopt;
  }
}

absl::StatusOr<QueueRequest> ParseQueueRequest(std::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("command") || !json["command"].is_string()) {
    return absl::InvalidArgumentError("the request is not a JSON object with a \"command\"");
  }
  const std::string command = json["command"];
  const auto verb = std::find_if(std::begin(kVerbs), std::end(kVerbs),
                                 [&](const auto& entry) { return entry.first == command; });
  if (verb == std::end(kVerbs)) {
    return absl::UnimplementedError(fmt::format("unknown command '{}'", Printable(command, 64)));
  }
  json.erase("command");
  QueueRequest request;
  request.verb = verb->second;
  Members members(std::move(json));
  TakeSelector(&members, &request.selector);
  members.Flag("dry_run", &request.dry_run);
  members.Flag("verbose", &request.verbose);
  request.reason = Printable(members.Text("reason").value_or(""), kReasonOctetsMax);
  if (absl::Status status = members.Finish(); !status.ok()) return status;
  if (absl::Status status = CheckScope(&request); !status.ok()) return status;
  return request;
}

}  // namespace mailrace::engine

#include "tools/sink/fault_plan.h"

#include <charconv>
#include <optional>
#include <utility>

#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::sink {

namespace {

constexpr std::pair<std::string_view, SinkStep> kSteps[] = {
    {"greeting", SinkStep::kGreeting}, {"ehlo", SinkStep::kEhlo}, {"starttls", SinkStep::kStarttls},
    {"auth", SinkStep::kAuth},         {"mail", SinkStep::kMail}, {"rcpt", SinkStep::kRcpt},
    {"data", SinkStep::kData},         {"bdat", SinkStep::kBdat}, {"dot", SinkStep::kDot},
    {"rset", SinkStep::kRset},         {"quit", SinkStep::kQuit},
};

constexpr std::pair<std::string_view, Fault::Action> kActions[] = {
    {"drop", Fault::Action::kDrop},
    {"lost", Fault::Action::kLost},
    {"stall", Fault::Action::kStall},
    {"garbage", Fault::Action::kGarbage},
};

template <typename Table>
auto Find(const Table& table, std::string_view name)
    -> std::optional<decltype(std::begin(table)->second)> {
  for (const auto& [known, value] : table) {
    if (known == name) return value;
  }
  return std::nullopt;
}

// The text up to `separator`, which is removed with it; all if there is none.
std::string_view Cut(std::string_view* text, char separator) {
  const size_t at = text->find(separator);
  const std::string_view first = text->substr(0, at);
  text->remove_prefix(at == text->npos ? text->size() : at + 1);
  return first;
}

bool ParseFrequency(std::string_view text, Fault* fault) {
  if (text.starts_with("1/")) {
    const std::optional<uint64_t> every = ParseUint(text.substr(2));
    fault->every = every.value_or(0);
    return fault->every > 0;
  }
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), fault->probability);
  return error == std::errc() && end == text.data() + text.size() && fault->probability > 0 &&
         fault->probability <= 1;
}

absl::StatusOr<Fault> ParseFault(const std::string& spec) {
  const auto bad = [&](std::string_view why) {
    return absl::InvalidArgumentError(fmt::format("--fault '{}': {}", Printable(spec), why));
  };
  Fault fault;
  std::string_view rest = spec;
  const size_t at = rest.find('@');
  const size_t colon = rest.find(':');
  const bool is_action = at != rest.npos && at < colon && rest.find('=') > at;
  if (is_action) {
    const std::optional<Fault::Action> action = Find(kActions, Cut(&rest, '@'));
    if (!action) return bad("the action is none of drop, lost, stall, garbage");
    fault.action = *action;
  }
  std::string_view where = Cut(&rest, ':');
  const std::optional<SinkStep> step = Find(kSteps, Cut(&where, '='));
  if (!step) return bad("the step is none of greeting, ehlo, starttls, auth, mail, rcpt, …");
  fault.step = *step;
  fault.text = where;
  if (!is_action) {
    const std::optional<uint64_t> code = ParseUint(Cut(&rest, ':'));
    if (!code || *code < 400 || *code > 599) return bad("the reply code is not 400 to 599");
    fault.code = static_cast<int>(*code);
  }
  if (!rest.empty() && !ParseFrequency(rest, &fault)) {
    return bad("the frequency is neither a probability (0.1) nor every n-th (1/100)");
  }
  return fault;
}

}  // namespace

absl::StatusOr<std::unique_ptr<FaultPlan>> FaultPlan::Parse(const std::vector<std::string>& specs) {
  auto plan = std::make_unique<FaultPlan>();
  for (const std::string& spec : specs) {
    absl::StatusOr<Fault> fault = ParseFault(spec);
    if (!fault.ok()) return fault.status();
    auto entry = std::make_unique<Entry>();
    entry->fault = *std::move(fault);
    plan->entries_[static_cast<size_t>(entry->fault.step)].push_back(std::move(entry));
  }
  return plan;
}

const Fault* FaultPlan::Consult(SinkStep step, std::string_view argument, Random* random) const {
  constexpr uint64_t kGrain = uint64_t{1} << 32;
  for (const std::unique_ptr<Entry>& entry : entries_[static_cast<size_t>(step)]) {
    const Fault& fault = entry->fault;
    if (argument.find(fault.text) == argument.npos) continue;
    if (fault.every > 0) {
      if ((entry->seen.fetch_add(1, std::memory_order_relaxed) + 1) % fault.every == 0) {
        return &fault;
      }
    } else if (fault.probability >= 1 ||
               static_cast<double>(random->Below(kGrain)) < fault.probability * kGrain) {
      return &fault;
    }
  }
  return nullptr;
}

}  // namespace mailrace::sink

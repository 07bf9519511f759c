#include "tools/blast/tally.h"

#include "fmt/format.h"

namespace mailrace::blast {

namespace {

double Milliseconds(absl::Duration duration) { return absl::ToDoubleMilliseconds(duration); }

double PerSecond(uint64_t count, absl::Duration elapsed) {
  const double seconds = absl::ToDoubleSeconds(elapsed);
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

}  // namespace

void Tally::CountProblem(const std::string& text) {
  errors.Add();
  const auto found = problems.find(text);
  if (found != problems.end()) {
    ++found->second;
  } else if (problems.size() < kProblemsMax) {
    problems.emplace(text, 1);
  }
}

tools::JsonObject Tally::ToJson(absl::Duration elapsed) const {
  tools::JsonObject quantiles;
  quantiles.Number("p50", Milliseconds(latency.Quantile(0.50)), 3)
      .Number("p90", Milliseconds(latency.Quantile(0.90)), 3)
      .Number("p99", Milliseconds(latency.Quantile(0.99)), 3)
      .Number("max", Milliseconds(latency.max()), 3);
  tools::JsonObject texts;
  for (const auto& [text, count] : problems) texts.Number(text, count);
  tools::JsonObject json;
  json.Bool("complete", complete())
      .Number("messages", begun.value())
      .Number("acknowledged", acknowledged.value())
      .Number("recipients_acknowledged", recipients_acknowledged.value())
      .Number("refused", refused.value())
      .Number("failed", failed.value())
      .Number("repeated", repeated.value())
      .Number("errors", errors.value())
      .Number("octets", octets.value())
      .Number("sessions", sessions.value())
      .Number("tls_resumed", tls_resumed.value())
      .Text("tls_protocol", tls_protocol)
      .Text("tls_cipher", tls_cipher)
      .Text("mechanism", mechanism)
      .Number("seconds", absl::ToDoubleSeconds(elapsed), 6)
      .Number("rate", PerSecond(acknowledged.value(), elapsed), 1)
      .Object("latency_ms", quantiles)
      .Object("problems", texts);
  return json;
}

std::string Tally::ToText(absl::Duration elapsed) const {
  std::string text = fmt::format(
      "mailrace-blast: {} of {} messages acknowledged ({} recipients) in {:.2f} s: {:.0f} a "
      "second over {} sessions\n",
      acknowledged.value(), begun.value(), recipients_acknowledged.value(),
      absl::ToDoubleSeconds(elapsed), PerSecond(acknowledged.value(), elapsed), sessions.value());
  text += fmt::format("  until the 250: p50 {:.2f} ms, p90 {:.2f}, p99 {:.2f}, max {:.2f}\n",
                      Milliseconds(latency.Quantile(0.50)), Milliseconds(latency.Quantile(0.90)),
                      Milliseconds(latency.Quantile(0.99)), Milliseconds(latency.max()));
  if (!tls_protocol.empty()) {
    text += fmt::format("  {} {}, {} sessions resumed\n", tls_protocol, tls_cipher,
                        tls_resumed.value());
  }
  if (errors.value() > 0) {
    text += fmt::format("  {} refused, {} broken off, {} errors:\n", refused.value(),
                        failed.value(), errors.value());
  }
  for (const auto& [problem, count] : problems) {
    text += fmt::format("  {:>6} x {}\n", count, problem);
  }
  return text;
}

}  // namespace mailrace::blast

// Both halves of SASL with a peer that sends anything: nobody is let in without the
// password, no server is trusted that does not know it, and no text betrays it.
//
// Input: the mechanism; then messages, a form feed between them. "%n" in one stands for
// the client's nonce, which no peer can guess.
#include <algorithm>
#include <array>

#include "base/text.h"
#include "fuzz_input.h"
#include "transport/sasl/client.h"
#include "transport/sasl/scram_guard.h"

namespace mailrace::transport::sasl {
namespace {

constexpr std::array<std::string_view, 6> kMechanisms = {
    "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "DIGEST-MD5"};
constexpr std::string_view kPassword = "s3cret";
constexpr size_t kRoundsMax = 16;

// Derives keys at the least iteration count only: at the greatest one input would take
// as long as a thousand others.
bool IsCheap(std::string_view challenge, std::string_view nonce) {
  return !CheckScramServerFirst(challenge, nonce).ok() ||
         challenge.find(",i=4096") != std::string_view::npos;
}

std::string WithNonce(std::string message, std::string_view nonce) {
  const size_t at = message.find("%n");
  if (at != std::string::npos && !nonce.empty()) message.replace(at, 2, nonce);
  return message;
}

void CheckClient(std::string_view mechanism, fuzz::FuzzInput input) {
  // What the server said itself may be told of; then this text proves nothing.
  const bool said = input.Rest().find(kPassword) != std::string_view::npos;
  const auto client = Client::Start(mechanism, {"user", std::string(kPassword)}, "mx.example", "");
  FUZZ_CHECK(client.ok(), std::string(mechanism));
  const bool scram = mechanism.starts_with("SCRAM");
  const bool mutual = scram || mechanism == "DIGEST-MD5";
  std::string nonce;
  bool first = (*client)->client_first();
  for (size_t round = 0; round < kRoundsMax && (first || !input.empty()); ++round) {
    const std::string challenge = first ? "" : WithNonce(input.Field('\f'), nonce);
    if (scram && !IsCheap(challenge, nonce)) return;
    const absl::StatusOr<std::string> response = (*client)->Step(challenge);
    if (!response.ok()) {
      const std::string why(response.status().message());
      FUZZ_CHECK(said || why.find(kPassword) == std::string::npos, why);
      FUZZ_CHECK(!fuzz::HasControls(why), why);
      FUZZ_CHECK(!first, why);
      return;
    }
    FUZZ_CHECK(response->size() <= challenge.size() + 512, *response);
    // Only a server that knows the password can prove it.
    FUZZ_CHECK(!mutual || !(*client)->complete(), challenge);
    if (mutual && !said) FUZZ_CHECK(response->find(kPassword) == std::string::npos, *response);
    if (first) nonce = ScramClientNonce(*response);
    first = false;
  }
}

void CheckServer(std::string_view mechanism, fuzz::FuzzInput input) {
  const std::string all(input.Rest());
  const auto server = Server::Start(mechanism, "mx.example", [](std::string_view user) {
    return user == "user" ? std::optional<std::string>(kPassword) : std::nullopt;
  });
  FUZZ_CHECK(server.ok(), std::string(mechanism));
  for (size_t round = 0; round < kRoundsMax; ++round) {
    const Server::Outcome outcome = (*server)->Step(input.Field('\f'));
    if (outcome.state == Server::Outcome::State::kFailure) return;
    // Challenges repeat what the client said, and nothing that it did not say.
    const bool said = all.find(kPassword) != std::string::npos;
    FUZZ_CHECK(said || outcome.challenge.find(kPassword) == std::string::npos, all);
    if (outcome.state == Server::Outcome::State::kChallenge) continue;
    FUZZ_CHECK((*server)->user() == "user", all);
    FUZZ_CHECK(said, all);
    return;
  }
}

// The order, our nonce with more behind it, a salt, a number within bounds, no "m=".
void CheckScramGuard(const std::string& text) {
  constexpr std::string_view kNonce = "abc";
  const absl::Status status = CheckScramServerFirst(text, kNonce);
  const std::string why(status.message());
  FUZZ_CHECK(!fuzz::HasControls(why), text);
  FUZZ_CHECK(!CheckScramServerFirst(text, "").ok(), text);
  if (!status.ok()) return;
  const size_t salt = text.find(",s=");
  FUZZ_CHECK(text.starts_with("r=abc") && salt > 5 && salt != std::string::npos, text);
  const size_t count = text.find(",i=", salt + 4);
  FUZZ_CHECK(count != std::string::npos, text);
  FUZZ_CHECK(text.find(',') == salt && text.find(',', salt + 1) == count, text);
  const std::string_view behind = std::string_view(text).substr(count + 3);
  const auto iterations = ParseUint(behind.substr(0, behind.find(',')));
  FUZZ_CHECK(iterations && *iterations >= kScramIterationsMin, text);
  FUZZ_CHECK(*iterations <= kScramIterationsMax, text);
  FUZZ_CHECK(text.find(",m=") == std::string::npos, text);
}

void CheckChoice(uint8_t bits, fuzz::FuzzInput input) {
  std::vector<std::string> offered;
  while (!input.empty() && offered.size() < 16) offered.push_back(input.Field('\f'));
  SecurityOptions options;
  options.noplaintext = (bits & 1) != 0;
  options.noactive = (bits & 2) != 0;
  options.mutual_auth = (bits & 4) != 0;
  const std::string chosen = ChooseMechanism(offered, options, (bits & 8) != 0);
  if (chosen.empty()) return;
  FUZZ_CHECK(std::any_of(offered.begin(), offered.end(),
                         [&](const std::string& name) { return EqualsIgnoreCase(name, chosen); }),
             chosen);
  for (const char* in_clear : {"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"}) {
    FUZZ_CHECK(!options.noplaintext || chosen != in_clear, chosen);
  }
  const bool scram = chosen.starts_with("SCRAM");
  FUZZ_CHECK(!options.noactive || scram, chosen);
  FUZZ_CHECK(!options.mutual_auth || scram || chosen == "DIGEST-MD5", chosen);
  FUZZ_CHECK((bits & 8) != 0 || !chosen.ends_with("-PLUS"), chosen);
}

}  // namespace
}  // namespace mailrace::transport::sasl

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mailrace::transport::sasl;  // NOLINT: one function.
  mailrace::fuzz::FuzzInput input(data, size);
  const uint8_t bits = input.Octet();
  const std::string_view mechanism = kMechanisms[bits / 16 % kMechanisms.size()];
  CheckClient(mechanism, input);
  CheckServer(mechanism, input);
  CheckScramGuard(std::string(input.Rest()));
  CheckChoice(bits, input);
  return 0;
}

#include "transport/sasl/oauth_client.h"

#include "fmt/format.h"
#include "transport/sasl/gsasl_session.h"

namespace mailrace::transport::sasl {
namespace {

// RFC 5801 4: what may not stand in a GS2 header's name.
std::string Gs2Name(std::string_view name) {
  std::string escaped;
  for (const char c : name) {
    if (c == ',') {
      escaped += "=2C";
    } else if (c == '=') {
      escaped += "=3D";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

class OauthClient final : public Client {
 public:
  OauthClient(bool xoauth2, std::string first) : xoauth2_(xoauth2), first_(std::move(first)) {}
  ~OauthClient() override { Cleanse(&first_); }

  bool client_first() const override { return true; }
  // An answered error ends in a refusal; a success after it would be a lie.
  bool complete() const override { return steps_ == 1; }

  absl::StatusOr<std::string> Step(std::string_view challenge) override {
    ++steps_;
    if (steps_ == 1) return first_;
    if (steps_ > 2 || challenge.size() > kMessageOctetsMax) {
      steps_ = 3;
      return absl::InvalidArgumentError("challenge after the end of the exchange");
    }
    // The challenge says why the token is refused. It wants an answer without content: RFC
    // 7628 3.2.3 has an octet 0x01 for it, XOAUTH2 nothing at all. Then comes the refusal.
    return xoauth2_ ? std::string() : std::string(1, '\x01');
  }

 private:
  const bool xoauth2_;
  std::string first_;
  int steps_ = 0;
};

}  // namespace

std::unique_ptr<Client> StartOauthClient(std::string_view mechanism, const Credentials& credentials,
                                         std::string_view service_host) {
  const bool xoauth2 = mechanism == kXoauth2;
  std::string first = xoauth2 ? fmt::format(
                                    "user={}\x01"
                                    "auth=Bearer {}\x01\x01",
                                    credentials.user, credentials.password)
                              : fmt::format(
                                    "n,a={},\x01"
                                    "host={}\x01"
                                    "auth=Bearer {}\x01\x01",
                                    Gs2Name(credentials.user), service_host, credentials.password);
  return std::make_unique<OauthClient>(xoauth2, std::move(first));
}

}  // namespace mailrace::transport::sasl

// XOAUTH2 (Google's and Microsoft's) and OAUTHBEARER (RFC 7628): a bearer token instead
// of a password. GNU SASL has neither. Inside transport/sasl/ only.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "transport/sasl/client.h"

namespace mailrace::transport::sasl {

inline constexpr std::string_view kOauthBearer = "OAUTHBEARER";
inline constexpr std::string_view kXoauth2 = "XOAUTH2";

// `mechanism` is one of the two. What is in `credentials` has been checked.
std::unique_ptr<Client> StartOauthClient(std::string_view mechanism, const Credentials& credentials,
                                         std::string_view service_host);

}  // namespace mailrace::transport::sasl

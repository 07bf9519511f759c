#include "fake_dns.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "base/socket_address.h"
#include "base/text.h"

namespace mailrace::transport::dns {
namespace {

std::string Number(unsigned value, int octets) {
  std::string text;
  for (int i = octets - 1; i >= 0; --i) text += static_cast<char>(value >> (8 * i));
  return text;
}

}  // namespace

FakeDns::FakeDns() : socket_(socket(AF_INET, SOCK_DGRAM, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (bind(socket_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    std::abort();
  }
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { Run(); });
}

FakeDns::~FakeDns() {
  // An empty datagram to itself ends the thread.
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port_);
  sendto(socket_, "", 0, 0, reinterpret_cast<sockaddr*>(&address), sizeof address);
  thread_.join();
  close(socket_);
}

std::string FakeDns::address() const { return "127.0.0.1@" + std::to_string(port_); }

void FakeDns::Say(const std::string& name, int type, FakeAnswer answer) {
  const std::lock_guard lock(mutex_);
  answers_[{name, type}] = std::move(answer);
}

int FakeDns::asked(const std::string& name, int type) {
  const std::lock_guard lock(mutex_);
  return asked_[{name, type}];
}

void FakeDns::Run() {
  char query[4096];
  while (true) {
    sockaddr_in peer{};
    socklen_t size = sizeof peer;
    const ssize_t octets =
        recvfrom(socket_, query, sizeof query, 0, reinterpret_cast<sockaddr*>(&peer), &size);
    if (octets <= 0) return;
    const std::string response = Respond(std::string(query, static_cast<size_t>(octets)));
    if (response.empty()) continue;
    sendto(socket_, response.data(), response.size(), 0, reinterpret_cast<sockaddr*>(&peer), size);
  }
}

// Header, the question as it came, the records; compression points at the question.
std::string FakeDns::Respond(const std::string& query) {
  if (query.size() < 17) return "";
  std::string name;
  size_t at = 12;
  while (at < query.size() && query[at] != 0) {
    const size_t label = static_cast<unsigned char>(query[at]);
    if (!name.empty()) name += '.';
    name += query.substr(at + 1, label);
    at += label + 1;
  }
  if (at + 5 > query.size()) return "";
  const std::string question = query.substr(12, at + 5 - 12);
  const int type =
      static_cast<unsigned char>(query[at + 1]) << 8 | static_cast<unsigned char>(query[at + 2]);
  FakeAnswer answer{.rcode = 3};
  {
    const std::lock_guard lock(mutex_);
    const std::pair key(AsciiLowered(name), type);
    ++asked_[key];
    const auto it = answers_.find(key);
    if (it != answers_.end()) answer = it->second;
  }
  if (answer.silent) return "";
  std::string response = query.substr(0, 2);                             // Id.
  response += Number(0x8180U | static_cast<unsigned>(answer.rcode), 2);  // QR RD RA.
  response += Number(1, 2) + Number(static_cast<unsigned>(answer.rdata.size()), 2) + Number(0, 4);
  response += question;
  for (const std::string& rdata : answer.rdata) {
    response += Number(0xc00c, 2) + Number(static_cast<unsigned>(type), 2) + Number(1, 2) +
                Number(300, 4) + Number(static_cast<unsigned>(rdata.size()), 2) + rdata;
  }
  return response;
}

std::string WireName(const std::string& name) {
  std::string wire;
  size_t begin = 0;
  while (begin < name.size()) {
    const size_t dot = std::min(name.find('.', begin), name.size());
    wire += static_cast<char>(dot - begin);
    wire += name.substr(begin, dot - begin);
    begin = dot + 1;
  }
  return wire + '\0';
}

std::string MxRdata(int preference, const std::string& host) {
  return Number(static_cast<unsigned>(preference), 2) + WireName(host);
}

std::string AddressRdata(const std::string& text) {
  const IpAddress ip = *IpAddress::Parse(text);
  return std::string(reinterpret_cast<const char*>(ip.octets.data()), ip.v6 ? 16 : 4);
}

}  // namespace mailrace::transport::dns

// A name server on loopback that says what a test tells it: UDP, one thread.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace mailrace::transport::dns {

struct FakeAnswer {
  int rcode = 0;                   // 0 no error, 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED.
  std::vector<std::string> rdata;  // None with rcode 0: no data.
  bool silent = false;             // Never answers.
};

class FakeDns {
 public:
  FakeDns();
  ~FakeDns();
  // For DnsOptions::forwarders.
  std::string address() const;
  // What is not told is NXDOMAIN.
  void Say(const std::string& name, int type, FakeAnswer answer);
  int asked(const std::string& name, int type);

 private:
  void Run();
  std::string Respond(const std::string& query);

  int socket_;
  uint16_t port_ = 0;
  std::mutex mutex_;
  std::map<std::pair<std::string, int>, FakeAnswer> answers_;
  std::map<std::pair<std::string, int>, int> asked_;
  std::thread thread_;
};

std::string WireName(const std::string& name);
std::string MxRdata(int preference, const std::string& host);
std::string AddressRdata(const std::string& ip);

}  // namespace mailrace::transport::dns

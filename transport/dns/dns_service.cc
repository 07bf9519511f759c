#include "transport/dns/dns_service.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "fmt/format.h"
#include "transport/dns/unbound_context.h"

namespace mailrace::transport::dns {
namespace {

constexpr size_t kRecordsMax = 128;
constexpr int kRcodeOk = 0;
constexpr int kRcodeNxdomain = 3;

std::string_view RcodeText(int rcode) {
  constexpr std::array<std::string_view, 6> kTexts{"no error",        "format error",
                                                   "server failure",  "no such name",
                                                   "not implemented", "query refused"};
  return rcode >= 0 && static_cast<size_t>(rcode) < kTexts.size() ? kTexts[rcode] : "DNS error";
}

DnsReply ToReply(int error, const ub_result* result) {
  DnsReply reply;
  if (error != 0 || result == nullptr) {
    reply.status = absl::UnavailableError(fmt::format("DNS: {}", ub_strerror(error)));
    return reply;
  }
  if (result->bogus != 0) {
    reply.status = absl::UnavailableError(fmt::format(
        "DNSSEC validation failed: {}", result->why_bogus == nullptr ? "" : result->why_bogus));
    return reply;
  }
  reply.secure = result->secure != 0;
  if (result->nxdomain != 0 || result->rcode == kRcodeNxdomain) {
    reply.status = absl::NotFoundError("no such name");
  } else if (result->rcode != kRcodeOk) {
    reply.status = absl::UnavailableError(std::string(RcodeText(result->rcode)));
  } else if (result->havedata != 0) {
    for (size_t i = 0; result->data[i] != nullptr && i < kRecordsMax; ++i) {
      reply.rdata.emplace_back(result->data[i], static_cast<size_t>(result->len[i]));
    }
  }
  return reply;
}

class UnboundService final : public DnsService {
 public:
  UnboundService(ContextPtr context, std::vector<std::string> warnings, size_t outstanding_max,
                 int wake)
      : warnings_(std::move(warnings)),
        outstanding_max_(outstanding_max),
        wake_(wake),
        context_(std::move(context)),
        thread_([this] { Run(); }) {}

  ~UnboundService() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    Wake();
    thread_.join();
    context_.reset();
    close(wake_);
  }

  const std::vector<std::string>& warnings() const override { return warnings_; }

  uint64_t NewClient() override {
    const std::lock_guard lock(mutex_);
    return ++last_number_;
  }

  uint64_t Ask(uint64_t client, ShardPost* post, std::string name, RecordType type,
               Answer answer) override;
  void Cancel(uint64_t question) override;
  void Forget(uint64_t client) override;

 private:
  // From Ask until its answer, Cancel or Forget.
  struct Question {
    uint64_t client;
    ShardPost* post;
    Answer answer;
  };
  // For the thread, in order.
  struct Command {
    uint64_t question;
    std::string name;  // Empty: cancel.
    RecordType type;
  };
  // What libunbound holds a pointer to; owned by running_, the thread's.
  struct Running {
    UnboundService* service;
    uint64_t question;
    int async_id;
  };

  static void OnAnswer(void* data, int error, ub_result* result);
  void Run();
  void Obey(Command command);
  void Deliver(uint64_t question, DnsReply reply);
  void Wake() {
    const uint64_t one = 1;
    // Fails only when the counter is full, and then the thread is awake anyway.
    [[maybe_unused]] const ssize_t written = write(wake_, &one, sizeof one);
  }

  // Constant after construction.
  const std::vector<std::string> warnings_;
  const size_t outstanding_max_;
  const int wake_;

  // The thread's own.
  ContextPtr context_;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Running>> running_;

  // Guarded by mutex_.
  std::mutex mutex_;
  bool stopping_ = false;
  uint64_t last_number_ = 0;
  absl::flat_hash_map<uint64_t, Question> questions_;
  std::deque<Command> commands_;

  std::thread thread_;  // Last: it uses all of the above.
};

uint64_t UnboundService::Ask(uint64_t client, ShardPost* post, std::string name, RecordType type,
                             Answer answer) {
  const std::lock_guard lock(mutex_);
  const uint64_t number = ++last_number_;
  if (questions_.size() >= outstanding_max_) {
    post->Post([answer = std::move(answer)] {
      answer({absl::UnavailableError("too many DNS questions outstanding"), {}, false});
    });
    return number;
  }
  questions_.emplace(number, Question{client, post, std::move(answer)});
  commands_.push_back({number, std::move(name), type});
  Wake();
  return number;
}

void UnboundService::Cancel(uint64_t question) {
  const std::lock_guard lock(mutex_);
  if (questions_.erase(question) == 0) return;
  commands_.push_back({question, "", RecordType::kA});
  Wake();
}

void UnboundService::Forget(uint64_t client) {
  const std::lock_guard lock(mutex_);
  for (auto it = questions_.begin(); it != questions_.end();) {
    const auto next = std::next(it);
    if (it->second.client == client) {
      commands_.push_back({it->first, "", RecordType::kA});
      questions_.erase(it);
    }
    it = next;
  }
  Wake();
}

// Posted under the lock: Forget may not return in between.
void UnboundService::Deliver(uint64_t question, DnsReply reply) {
  const std::lock_guard lock(mutex_);
  const auto it = questions_.find(question);
  if (it == questions_.end()) return;
  Question asked = std::move(it->second);
  questions_.erase(it);
  asked.post->Post([answer = std::move(asked.answer), reply = std::move(reply)] { answer(reply); });
}

void UnboundService::OnAnswer(void* data, int error, ub_result* result) {
  const Running running = *static_cast<Running*>(data);
  DnsReply reply = ToReply(error, result);
  ub_resolve_free(result);
  running.service->running_.erase(running.question);
  running.service->Deliver(running.question, std::move(reply));
}

void UnboundService::Obey(Command command) {
  if (command.name.empty()) {
    const auto it = running_.find(command.question);
    if (it == running_.end()) return;
    // Both run on this thread: after ub_cancel no callback comes.
    ub_cancel(context_.get(), it->second->async_id);
    running_.erase(it);
    return;
  }
  constexpr int kClassInternet = 1;
  auto owned = std::make_unique<Running>(Running{this, command.question, 0});
  Running* running = owned.get();
  running_.emplace(command.question, std::move(owned));
  const int code =
      ub_resolve_async(context_.get(), command.name.c_str(), static_cast<int>(command.type),
                       kClassInternet, running, OnAnswer, &running->async_id);
  if (code == 0) return;
  running_.erase(command.question);
  Deliver(command.question,
          {absl::UnavailableError(fmt::format("DNS: {}", ub_strerror(code))), {}, false});
}

void UnboundService::Run() {
  pthread_setname_np(pthread_self(), "dns");
  while (true) {
    std::array<pollfd, 2> fds{{{ub_fd(context_.get()), POLLIN, 0}, {wake_, POLLIN, 0}}};
    poll(fds.data(), fds.size(), -1);
    if (fds[1].revents != 0) {
      uint64_t count = 0;
      [[maybe_unused]] const ssize_t octets = read(wake_, &count, sizeof count);
    }
    std::deque<Command> commands;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      commands.swap(commands_);
    }
    for (Command& command : commands) Obey(std::move(command));
    if (fds[0].revents != 0) ub_process(context_.get());
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<DnsService>> DnsService::Start(const DnsOptions& options) {
  std::vector<std::string> warnings;
  absl::StatusOr<ContextPtr> context = MakeContext(options, &warnings);
  if (!context.ok()) return context.status();
  const int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake < 0) {
    return absl::ResourceExhaustedError(
        fmt::format("DNS: eventfd: {}", std::generic_category().message(errno)));
  }
  return std::make_shared<UnboundService>(*std::move(context), std::move(warnings),
                                          options.outstanding_max, wake);
}

}  // namespace mailrace::transport::dns

#include "engine/notices.h"

#include <algorithm>
#include <utility>

#include "engine/bounces/dsn.h"
#include "fmt/format.h"

namespace mailrace::engine {

namespace {

std::string RandomBoundary(Random* random) {
  static constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  std::string boundary;
  for (int i = 0; i < 24; ++i) boundary += kLetters[random->Below(kLetters.size())];
  return boundary;
}

std::string Qualified(std::string_view address, std::string_view domain) {
  if (address.empty() || address.find('@') != std::string_view::npos) return std::string(address);
  return fmt::format("{}@{}", address, domain);
}

// Of the class that the action says, whatever the last reply was; but what ended with its
// lifetime never got more than temporary refusals (4.4.7).
EnhancedStatus StatusFor(DsnAction action, const ReportedRecipient& reported) {
  EnhancedStatus status = reported.status;
  if (reported.expired) return status;
  if (status.klass == 0) return status;
  status.klass = 2;
  if (action == DsnAction::kFailed) status.klass = 5;
  if (action == DsnAction::kDelayed) status.klass = 4;
  return status;
}

class NoticeMaker {
 public:
  NoticeMaker(const ShardContext& context, const queue::Envelope& original, DsnAction action,
              const std::vector<ReportedRecipient>& reports, std::string_view content_head)
      : context_(context),
        policy_(context.settings->bounces),
        original_(original),
        reports_(reports),
        request_(Request(action, content_head)) {}

  std::vector<Notice> Make();

 private:
  DsnRequest Request(DsnAction action, std::string_view content_head) const;
  void AddRecipients(bool all);
  void TellSender();
  void TellPostmaster(const std::string& recipient);
  void Queue(queue::Envelope envelope, logs::Notification kind);

  const ShardContext& context_;
  const BouncePolicy& policy_;
  const queue::Envelope& original_;
  const std::vector<ReportedRecipient>& reports_;
  DsnRequest request_;
  std::vector<DsnRecipient> recipients_;
  std::vector<Notice> notices_;
};

DsnRequest NoticeMaker::Request(DsnAction action, std::string_view content_head) const {
  const Settings& settings = *context_.settings;
  DsnRequest request;
  request.kind = action;
  request.queue_id = original_.id;
  request.reverse_path = original_.reverse_path;
  request.envid = original_.envid;
  request.message_id = original_.message_id;
  request.arrival = original_.arrival;
  request.smtputf8 = original_.smtputf8;
  request.ret = original_.ret;
  request.original = content_head;
  request.original_octets = original_.octets;
  // A relay that cannot take 8-bit mail cannot take it back either.
  request.seven_bit =
      std::any_of(reports_.begin(), reports_.end(), [](const ReportedRecipient& reported) {
        return reported.status.subject == 6 && reported.status.detail == 3;
      });
  request.hostname = settings.myhostname;
  request.mail_name = settings.mail_name;
  request.bounce_size_limit = settings.bounce_octets_max;
  request.delay_warning_time = policy_.delay_warning_time;
  request.lifetime = settings.retry.lifetime;
  request.date = context_.loop->wall();
  return request;
}

// `all`: also those whose sender did not ask.
void NoticeMaker::AddRecipients(bool all) {
  for (const ReportedRecipient& reported : reports_) {
    const queue::Recipient& to = original_.recipients[reported.index];
    const BounceFacts facts{request_.kind, original_.reverse_path, to.notify, false};
    if (!all && !WantsDsn(facts, policy_)) continue;
    DsnRecipient report;
    report.address = to.address;
    report.orcpt = to.orcpt;
    report.action = request_.kind;
    report.status = StatusFor(request_.kind, reported);
    report.reason = reported.text;
    report.remote_mta = reported.remote_mta;
    report.reply = reported.reply;
    if (reported.attempted) report.last_attempt = request_.date;
    if (request_.kind == DsnAction::kDelayed) {
      const queue::RetrySchedule& schedule = context_.settings->retry;
      report.will_retry_until = schedule.Expiry(context_.ages->Arrival(original_, schedule), false);
    }
    recipients_.push_back(std::move(report));
  }
}

void NoticeMaker::Queue(queue::Envelope envelope, logs::Notification kind) {
  for (size_t i = 0; i < recipients_.size(); i += kDsnRecipientsMax) {
    const size_t end = std::min(recipients_.size(), i + kDsnRecipientsMax);
    request_.recipients.assign(recipients_.begin() + static_cast<std::ptrdiff_t>(i),
                               recipients_.begin() + static_cast<std::ptrdiff_t>(end));
    request_.boundary = RandomBoundary(context_.random);
    Dsn dsn = BuildDsn(request_);
    Notice notice;
    notice.kind = kind;
    notice.envelope = envelope;
    // A campaign's notices are its tenant's and no more urgent than it is. Nor is what
    // tells of urgent mail itself urgent.
    notice.envelope.tenant = original_.tenant;
    notice.envelope.priority = std::max(original_.priority, queue::Envelope().priority);
    context_.ages->Look();
    notice.envelope.id = context_.ids->Next(request_.date);
    notice.envelope.arrival = request_.date;
    notice.envelope.smtputf8 = dsn.smtputf8;
    notice.envelope.eight_bit = dsn.eight_bit;
    notice.envelope.octets = dsn.content.size();
    notice.envelope.chunks = 1;
    notice.envelope.message_id = dsn.message_id;
    notice.content = std::make_shared<const std::string>(std::move(dsn.content));
    notices_.push_back(std::move(notice));
  }
}

void NoticeMaker::TellSender() {
  queue::Envelope envelope;
  envelope.recipients.push_back({original_.reverse_path, "", queue::kNotifyNever});
  logs::Notification kind = logs::Notification::kSenderSuccess;
  if (request_.kind == DsnAction::kFailed) kind = logs::Notification::kSenderFailure;
  if (request_.kind == DsnAction::kDelayed) kind = logs::Notification::kSenderDelay;
  Queue(std::move(envelope), kind);
}

// From an address to which nobody answers: should it fail, that is the end of it.
void NoticeMaker::TellPostmaster(const std::string& recipient) {
  const Settings& settings = *context_.settings;
  const std::string& origin =
      settings.intake.myorigin.empty() ? settings.myhostname : settings.intake.myorigin;
  queue::Envelope envelope;
  envelope.reverse_path = Qualified(policy_.double_bounce_sender, settings.myhostname);
  envelope.recipients.push_back({Qualified(recipient, origin), "", 0});
  request_.postmaster = envelope.recipients[0].address;
  Queue(std::move(envelope), request_.kind == DsnAction::kFailed
                                 ? logs::Notification::kPostmasterFailure
                                 : logs::Notification::kPostmasterDelay);
}

std::vector<Notice> NoticeMaker::Make() {
  if (MayNotify(original_.reverse_path, policy_)) {
    AddRecipients(/*all=*/false);
    TellSender();
    if (request_.kind == DsnAction::kFailed && policy_.postmaster_bounces) {
      TellPostmaster(policy_.bounce_notice_recipient);
    }
    if (request_.kind == DsnAction::kDelayed && policy_.postmaster_delays) {
      TellPostmaster(policy_.delay_notice_recipient);
    }
  } else if (request_.kind == DsnAction::kFailed && !reports_.empty()) {
    // Without a sender that nobody answers, postmaster notices would answer each other.
    if (original_.reverse_path.empty() && policy_.postmaster_double_bounces &&
        !policy_.double_bounce_sender.empty()) {
      AddRecipients(/*all=*/true);
      TellPostmaster(policy_.double_bounce_notice_recipient);
    } else {
      context_.logger->Warning(
          "bounce", fmt::format("{}: undeliverable {} discarded", original_.id.ToString(),
                                original_.reverse_path.empty() ? "mail with a null sender"
                                                               : "postmaster notification"));
    }
  }
  return std::move(notices_);
}

}  // namespace

std::vector<Notice> MakeNotices(const ShardContext& context, const queue::Envelope& original,
                                DsnAction action, const std::vector<ReportedRecipient>& reports,
                                std::string_view content_head) {
  return NoticeMaker(context, original, action, reports, content_head).Make();
}

}  // namespace mailrace::engine

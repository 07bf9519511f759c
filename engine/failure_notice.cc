#include "engine/failure_notice.h"

#include <algorithm>
#include <utility>

#include "engine/bounces/bounce_rules.h"
#include "engine/bounces/dsn.h"

namespace mailrace::engine {

namespace {

std::string RandomBoundary(Random* random) {
  static constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  std::string boundary;
  for (int i = 0; i < 24; ++i) boundary += kLetters[random->Below(kLetters.size())];
  return boundary;
}

DsnRecipient Report(const queue::Recipient& to, const FailedRecipient& failed, absl::Time now) {
  DsnRecipient report;
  report.address = to.address;
  report.orcpt = to.orcpt;
  report.status = failed.status;
  // What failed for good is of class 5, whatever the last temporary reason was.
  report.status.klass = 5;
  report.reason = failed.text;
  report.remote_mta = failed.remote_mta;
  report.reply = failed.reply;
  report.last_attempt = now;
  return report;
}

FailureNotice MakeNotice(const ShardContext& context, DsnRequest request) {
  request.boundary = RandomBoundary(context.random);
  Dsn dsn = BuildDsn(request);
  FailureNotice notice;
  queue::Envelope& envelope = notice.envelope;
  context.ages->Look();
  envelope.id = context.ids->Next(request.date);
  envelope.arrival = request.date;
  envelope.smtputf8 = dsn.smtputf8;
  envelope.eight_bit = dsn.eight_bit;
  envelope.octets = dsn.content.size();
  envelope.chunks = 1;
  envelope.message_id = dsn.message_id;
  envelope.recipients.push_back({request.reverse_path, "", queue::kNotifyNever});
  notice.content = std::make_shared<const std::string>(std::move(dsn.content));
  return notice;
}

}  // namespace

std::vector<FailureNotice> MakeFailureNotices(const ShardContext& context,
                                              const QueuedMessage& message,
                                              const std::vector<FailedRecipient>& failed,
                                              std::string_view content_head) {
  std::vector<FailureNotice> notices;
  const Settings& settings = *context.settings;
  const queue::Envelope& original = message.envelope();
  if (!MayNotify(original.reverse_path, settings.bounces)) return notices;
  DsnRequest request;
  request.queue_id = original.id;
  request.reverse_path = original.reverse_path;
  request.envid = original.envid;
  request.message_id = original.message_id;
  request.arrival = original.arrival;
  request.smtputf8 = original.smtputf8;
  request.ret = original.ret;
  request.original = content_head;
  request.original_octets = original.octets;
  request.hostname = settings.myhostname;
  request.mail_name = settings.mail_name;
  request.bounce_size_limit = settings.bounce_octets_max;
  request.lifetime = settings.retry.lifetime;
  request.date = context.loop->wall();
  for (const FailedRecipient& recipient : failed) {
    const queue::Recipient& to = original.recipients[recipient.index];
    const BounceFacts facts{DsnAction::kFailed, original.reverse_path, to.notify, false};
    if (!WantsDsn(facts, settings.bounces)) continue;
    request.recipients.push_back(Report(to, recipient, request.date));
    if (request.recipients.size() < kDsnRecipientsMax) continue;
    notices.push_back(MakeNotice(context, request));
    request.recipients.clear();
  }
  if (!request.recipients.empty()) notices.push_back(MakeNotice(context, std::move(request)));
  return notices;
}

}  // namespace mailrace::engine

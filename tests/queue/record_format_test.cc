#include "queue/record_format.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "queue/checksum.h"
#include "tests/queue/store_fixture.h"

namespace mailrace::queue {
namespace {

Envelope FullEnvelope() {
  Envelope envelope;
  envelope.id = QueueId{0x0123456789ABCDE};
  envelope.arrival = absl::FromUnixNanos(1'800'000'000'123'456'789);
  envelope.reverse_path = "böb@example.org";
  envelope.envid = std::string("a\0b", 3);
  envelope.ret = Ret::kHeaders;
  envelope.smtputf8 = true;
  envelope.eight_bit = true;
  envelope.octets = uint64_t{1} << 40;
  envelope.chunks = UINT32_MAX;
  envelope.message_id = "<1@example.org>";
  envelope.submitter = "app";
  envelope.priority = 2;
  envelope.tenant = "acme";
  envelope.recipients = {{"a@example.net", "rfc822;a@example.net", kNotifySuccess | kNotifyDelay},
                         {std::string(300, 'x') + "@example.net", "", 0}};
  return envelope;
}

RetryState FullRetryState() {
  RetryState state;
  state.attempts = 300;
  state.next_attempt = absl::FromUnixNanos(-1);
  state.delay_warning_sent = true;
  state.held = true;
  state.last_reason = "host relay[192.0.2.1] said: 451 4.3.0 try later";
  return state;
}

RetryState TriedState() {
  RetryState state = FullRetryState();
  for (int i = 0; i < 5; ++i) {
    state.history.push_back({absl::FromUnixSeconds(1'800'000'000 + i * 300),
                             absl::Milliseconds(1234 + i),
                             {4, 3, static_cast<uint16_t>(i)},
                             i < 3 ? "relay[192.0.2.1]:25" : "other[192.0.2.2]:587",
                             i == 4 ? "host other[192.0.2.2] said: 450 later" : "again"});
  }
  return state;
}

void ExpectEqual(const Envelope& a, const Envelope& b) {
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(a.arrival, b.arrival);
  EXPECT_EQ(a.reverse_path, b.reverse_path);
  EXPECT_EQ(a.envid, b.envid);
  EXPECT_EQ(a.ret, b.ret);
  EXPECT_EQ(a.smtputf8, b.smtputf8);
  EXPECT_EQ(a.eight_bit, b.eight_bit);
  EXPECT_EQ(a.octets, b.octets);
  EXPECT_EQ(a.chunks, b.chunks);
  EXPECT_EQ(a.message_id, b.message_id);
  EXPECT_EQ(a.submitter, b.submitter);
  EXPECT_EQ(a.priority, b.priority);
  EXPECT_EQ(a.tenant, b.tenant);
  ASSERT_EQ(a.recipients.size(), b.recipients.size());
  for (size_t i = 0; i < a.recipients.size(); ++i) {
    EXPECT_EQ(a.recipients[i].address, b.recipients[i].address);
    EXPECT_EQ(a.recipients[i].orcpt, b.recipients[i].orcpt);
    EXPECT_EQ(a.recipients[i].notify, b.recipients[i].notify);
  }
}

// A record of these octets, with a checksum that fits: what only a wrong program makes.
std::string Sealed(std::string content) {
  const uint32_t sum = Crc32c(content);
  for (int i = 0; i < 4; ++i) content.push_back(static_cast<char>(sum >> (8 * i)));
  return content;
}

absl::StatusCode CodeOfEnvelope(const std::string& record) {
  return DecodeEnvelope(QueueId{1}, record).status().code();
}

TEST(Crc32c, HasTheCheckValueOfCastagnoli) {
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(Crc32c(""), 0u);
}

TEST(RecordFormat, EnvelopeComesBackAsItWas) {
  const Envelope envelope = FullEnvelope();
  const auto decoded = DecodeEnvelope(envelope.id, EncodeEnvelope(envelope));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  ExpectEqual(*decoded, envelope);
}

TEST(RecordFormat, EmptyEnvelopeComesBackAsItWas) {
  const Envelope envelope;
  const auto decoded = DecodeEnvelope(envelope.id, EncodeEnvelope(envelope));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  ExpectEqual(*decoded, envelope);
}

TEST(RecordFormat, RetryStateComesBackAsItWas) {
  const RetryState state = FullRetryState();
  const auto decoded = DecodeRetryState(EncodeRetryState(state));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->attempts, state.attempts);
  EXPECT_EQ(decoded->next_attempt, state.next_attempt);
  EXPECT_EQ(decoded->delay_warning_sent, state.delay_warning_sent);
  EXPECT_EQ(decoded->held, state.held);
  EXPECT_EQ(decoded->last_reason, state.last_reason);
}

TEST(RecordFormat, AttemptsComeBackAsTheyWere) {
  const RetryState state = TriedState();
  const auto decoded = DecodeRetryState(EncodeRetryState(state));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->history, state.history);
  EXPECT_EQ(decoded->last_reason, state.last_reason);
}

// What a program that knew no history wrote is read, and written, as it was.
TEST(RecordFormat, AStateWithoutHistoryIsWrittenAsVersionOne) {
  EXPECT_EQ(EncodeRetryState(FullRetryState()).front(), 1);
  EXPECT_EQ(EncodeRetryState(TriedState()).front(), 2);
}

TEST(RecordFormat, RepeatedRelaysAndTextsCostNothing) {
  RetryState state = TriedState();
  const size_t before = EncodeRetryState(state).size();
  state.history.push_back(state.history.back());
  EXPECT_LE(EncodeRetryState(state).size(), before + 16);
}

TEST(RecordFormat, TheHistoryKeepsTheLatestAttemptsWithinItsBounds) {
  RetryState state;
  for (int i = 0; i < 100; ++i) {
    state.Note({absl::FromUnixSeconds(i), absl::ZeroDuration(), {4, 0, 0}, "relay", "again"});
  }
  ASSERT_EQ(state.history.size(), kAttemptsKept);
  EXPECT_EQ(state.history.back().at, absl::FromUnixSeconds(99));
  for (int i = 0; i < 100; ++i) {
    state.Note({absl::FromUnixSeconds(i),
                absl::ZeroDuration(),
                {4, 0, 0},
                std::string(1000, 'r'),
                std::to_string(i) + std::string(5000, 't') + "\n"});
  }
  EXPECT_LE(EncodeRetryState(state).size(), kHistoryOctetsMax + 100);
  EXPECT_EQ(state.history.back().at, absl::FromUnixSeconds(99));
  EXPECT_EQ(state.history.back().text.size(), kAttemptTextOctetsMax);
  EXPECT_EQ(DecodeRetryState(EncodeRetryState(state))->history, state.history);
}

TEST(RecordFormat, InfiniteTimesComeBackInfinite) {
  for (const absl::Time time : {absl::InfiniteFuture(), absl::InfinitePast()}) {
    RetryState state;
    state.next_attempt = time;
    EXPECT_EQ(DecodeRetryState(EncodeRetryState(state))->next_attempt, time);
  }
}

TEST(RecordFormat, LastReasonIsCutAtItsLimit) {
  RetryState state;
  state.last_reason = std::string(kLastReasonOctetsMax + 1, 'r');
  EXPECT_EQ(DecodeRetryState(EncodeRetryState(state))->last_reason,
            std::string(kLastReasonOctetsMax, 'r'));
}

TEST(RecordFormat, EveryFinalComesBackAsItWas) {
  for (const Final final : {Final::kDelivered, Final::kFailed, Final::kExpired}) {
    const auto decoded = DecodeFinal(EncodeFinal(final));
    ASSERT_TRUE(decoded.ok());
    EXPECT_EQ(*decoded, final);
  }
}

TEST(RecordFormat, EveryFlippedBitIsNoticed) {
  const std::string records[] = {EncodeEnvelope(FullEnvelope()), EncodeRetryState(TriedState()),
                                 EncodeFinal(Final::kExpired)};
  for (size_t which = 0; which < std::size(records); ++which) {
    for (size_t bit = 0; bit < records[which].size() * 8; ++bit) {
      std::string record = records[which];
      record[bit / 8] = static_cast<char>(record[bit / 8] ^ (1 << (bit % 8)));
      const absl::Status status = which == 0   ? DecodeEnvelope(QueueId{1}, record).status()
                                  : which == 1 ? DecodeRetryState(record).status()
                                               : DecodeFinal(record).status();
      EXPECT_TRUE(absl::IsDataLoss(status)) << which << " bit " << bit;
    }
  }
}

TEST(RecordFormat, EveryCutAndEveryAdditionIsNoticed) {
  const std::string record = EncodeEnvelope(FullEnvelope());
  for (size_t size = 0; size < record.size(); ++size) {
    EXPECT_EQ(CodeOfEnvelope(record.substr(0, size)), absl::StatusCode::kDataLoss) << size;
  }
  EXPECT_EQ(CodeOfEnvelope(record + "x"), absl::StatusCode::kDataLoss);
}

// The checksum fits and the content still does not: every cut of the content, and one
// octet too many.
TEST(RecordFormat, ContentThatEndsEarlyOrLateIsRefusedWhateverItsChecksum) {
  const std::string envelope = EncodeEnvelope(FullEnvelope());
  const std::string content = envelope.substr(0, envelope.size() - 4);
  for (size_t size = 0; size < content.size(); ++size) {
    EXPECT_EQ(CodeOfEnvelope(Sealed(content.substr(0, size))), absl::StatusCode::kDataLoss) << size;
  }
  EXPECT_EQ(CodeOfEnvelope(Sealed(content + '\0')), absl::StatusCode::kDataLoss);
  const std::string retry = EncodeRetryState(TriedState());
  const std::string retry_content = retry.substr(0, retry.size() - 4);
  for (size_t size = 0; size < retry_content.size(); ++size) {
    EXPECT_TRUE(absl::IsDataLoss(DecodeRetryState(Sealed(retry_content.substr(0, size))).status()));
  }
}

TEST(RecordFormat, NewerVersionIsRefusedByNameAndIsNoDamage) {
  std::string record = EncodeEnvelope(FullEnvelope());
  record.resize(record.size() - 4);
  record[0] = 9;
  const absl::Status status = DecodeEnvelope(QueueId{1}, Sealed(record)).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(Message(status), testing::HasSubstr("version 9"));
  EXPECT_THAT(Message(status), testing::HasSubstr("knows versions up to 1"));
}

TEST(RecordFormat, VersionThatNeverWasIsDamage) {
  std::string record = EncodeEnvelope(FullEnvelope());
  record.resize(record.size() - 4);
  record[0] = 0;
  EXPECT_TRUE(absl::IsDataLoss(DecodeEnvelope(QueueId{1}, Sealed(record)).status()));
}

TEST(RecordFormat, FinalOutsideTheEnumerationIsRefused) {
  for (const char final : {'\0', '\4', '\xff'}) {
    EXPECT_TRUE(absl::IsDataLoss(DecodeFinal(Sealed(std::string("\1") + final)).status()));
  }
}

TEST(RecordFormat, RecipientCountBeyondTheRecordReservesNothing) {
  Envelope envelope;
  std::string record = EncodeEnvelope(envelope);
  record.resize(record.size() - 5);                  // Without the count, 0, and the checksum.
  record += "\xff\xff\xff\xff\xff\xff\xff\xff\x7f";  // 2^63 - 1.
  EXPECT_EQ(CodeOfEnvelope(Sealed(record)), absl::StatusCode::kDataLoss);
}

TEST(RecordFormat, VarintThatIsTooLongOrNotShortestIsRefused) {
  Envelope envelope;
  std::string record = EncodeEnvelope(envelope);
  record.resize(record.size() - 5);
  EXPECT_EQ(CodeOfEnvelope(Sealed(record + std::string("\x80\0", 2))), absl::StatusCode::kDataLoss);
  EXPECT_EQ(CodeOfEnvelope(Sealed(record + std::string(10, '\xff') + "\1")),
            absl::StatusCode::kDataLoss);
}

TEST(RecordFormat, KeysComeBackAndSortAsNumbers) {
  const std::vector<uint64_t> ids = {0, 1, 255, 256, 0x0123456789ABCDE, UINT64_MAX};
  std::string previous;
  for (const uint64_t id : ids) {
    EXPECT_EQ(DecodeKey(EncodeKey(QueueId{id})), QueueId{id});
    for (const uint32_t index : {0u, 1u, 256u, UINT32_MAX}) {
      const std::string key = EncodeKey(QueueId{id}, index);
      EXPECT_LT(previous, key);
      EXPECT_EQ(DecodeIndexedKey(key), (IndexedKey{QueueId{id}, index}));
      previous = key;
    }
  }
}

TEST(RecordFormat, KeysOfAnotherLengthAreRefused) {
  for (size_t size = 0; size < 16; ++size) {
    EXPECT_EQ(DecodeKey(std::string(size, 'k')).has_value(), size == 8);
    EXPECT_EQ(DecodeIndexedKey(std::string(size, 'k')).has_value(), size == 12);
  }
}

TEST(WriteSet, CountsItsOctets) {
  WriteSet set;
  EXPECT_TRUE(set.empty());
  set.PutChunk(QueueId{1}, 0, std::make_shared<const std::string>(100, 'x'));
  EXPECT_EQ(set.octets(), 112u);
  set.PutMessage(EnvelopeOf(1));
  EXPECT_EQ(set.octets(), 112 + 8 + EncodeEnvelope(EnvelopeOf(1)).size());
}

TEST(WriteSet, RemovesEveryRecordOfAMessage) {
  WriteSet set;
  set.RemoveMessage(QueueId{7}, 2, {0, 3}, true);
  std::vector<std::string> keys;
  for (const WriteSet::Operation& operation : set.operations()) {
    EXPECT_EQ(operation.kind, operation.family == Family::kRetry
                                  ? WriteSet::Operation::Kind::kRemove
                                  : WriteSet::Operation::Kind::kRemoveOnce);
    keys.push_back(operation.key);
  }
  EXPECT_THAT(keys, testing::ElementsAre(EncodeKey(QueueId{7}), EncodeKey(QueueId{7}, 0),
                                         EncodeKey(QueueId{7}, 1), EncodeKey(QueueId{7}, 0),
                                         EncodeKey(QueueId{7}, 3), EncodeKey(QueueId{7})));
}

}  // namespace
}  // namespace mailrace::queue

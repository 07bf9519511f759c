"""The oracle itself, on made-up ledgers: each broken promise must be seen, alone."""
import unittest

import stage
from oracle import Evidence, judge

A, B, C = ("run-1", "a@example.net"), ("run-1", "b@example.net"), ("run-2", "a@example.net")


class OracleTest(unittest.TestCase):
    def assert_breach(self, evidence, pattern):
        verdict = judge(evidence)
        self.assertFalse(verdict.kept)
        self.assertEqual(len(verdict.breaches), 1, verdict.breaches)
        self.assertRegex(verdict.breaches[0], pattern)
        return verdict

    def test_everything_delivered_once_keeps_all_promises(self):
        verdict = judge(Evidence([A, B, C], [C, A, B], attempted={A, B, C}, duplicates_max=0,
                                 unanswered_max=0))
        self.assertTrue(verdict.kept, verdict.breaches)
        self.assertEqual((verdict.acknowledged, verdict.duplicates, verdict.appeared), (3, 0, 0))

    def test_in_the_queue_or_in_a_notice_is_not_lost(self):
        self.assertTrue(judge(Evidence([A, B, C], [A], queued=[B], reported=[C])).kept)

    def test_one_recipient_missing_is_lost(self):
        verdict = self.assert_breach(Evidence([A, B, C], [A, C]), r"1 of 3 .* lost: .*b@example")
        self.assertEqual(verdict.lost, {B})

    def test_another_message_to_the_same_recipient_does_not_hide_a_loss(self):
        self.assert_breach(Evidence([A, C], [A]), "run-2")

    def test_an_empty_relay_loses_everything(self):
        self.assert_breach(Evidence([A, B, C], []), "3 of 3")

    def test_duplicates_up_to_the_bound_are_allowed(self):
        verdict = judge(Evidence([A, B], [A, A, B], duplicates_max=1))
        self.assertTrue(verdict.kept)
        self.assertEqual(verdict.duplicated, {A: 1})

    def test_one_duplicate_above_the_bound_is_a_breach(self):
        self.assert_breach(Evidence([A, B], [A, A, A, B], duplicates_max=1), "2 duplicates")

    def test_delivered_and_still_queued_is_a_duplicate_to_come(self):
        self.assert_breach(Evidence([A], [A], queued=[A], duplicates_max=0), "1 duplicates")

    def test_delivered_and_reported_as_failed_is_a_duplicate(self):
        self.assert_breach(Evidence([A], [A], reported=[A], duplicates_max=0), "1 duplicates")

    def test_without_a_bound_duplicates_are_counted_only(self):
        verdict = judge(Evidence([A], [A, A, A]))
        self.assertTrue(verdict.kept)
        self.assertEqual(verdict.duplicates, 2)

    def test_an_unacknowledged_message_may_appear_if_it_was_unanswered(self):
        verdict = judge(Evidence([A], [A, C], attempted={A, C}, unanswered_max=1))
        self.assertTrue(verdict.kept)
        self.assertEqual(verdict.appeared, 1)

    def test_more_messages_than_were_unanswered_is_a_breach(self):
        self.assert_breach(Evidence([], [A, B, C], attempted={A, B, C}, unanswered_max=1),
                           "2 messages appeared")

    def test_a_recipient_that_nobody_sent_to_is_a_breach(self):
        self.assert_breach(Evidence([A], [A, B], attempted={A}), "nobody sent to")

    def test_altered_content_is_a_breach(self):
        self.assert_breach(Evidence([A], [A], mangled=["run-1"]), "altered or cut: run-1")


class NoticeTest(unittest.TestCase):
    NOTICE = (b"From: MAILER-DAEMON\r\nMIME-Version: 1.0\r\n"
              b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
              b"--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n"
              b"--b\r\nContent-Type: message/delivery-status\r\n\r\n"
              b"Reporting-MTA: dns; mx.example.com\r\n\r\n"
              b"Final-Recipient: rfc822; a@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n"
              b"Final-Recipient: rfc822; b@example.net\r\nAction: delayed\r\nStatus: 4.1.1\r\n\r\n"
              b"--b\r\nContent-Type: text/rfc822-headers\r\n\r\n"
              b"Subject: hello\r\nX-Mailrace-Id: run-1\r\n\r\n--b--\r\n")

    def test_names_those_that_failed_of_the_message_it_returns(self):
        self.assertEqual(stage.reported_pairs(self.NOTICE), [A])

    def test_whole_message_returned(self):
        notice = self.NOTICE.replace(b"text/rfc822-headers", b"message/rfc822").replace(
            b"run-1\r\n\r\n--b--", b"run-1\r\n\r\nText.\r\n\r\n--b--")
        self.assertEqual(stage.reported_pairs(notice), [A])

    def test_other_mail_reports_nothing(self):
        self.assertEqual(stage.reported_pairs(b"Subject: x\r\n\r\nFinal-Recipient: a\r\n"), [])


class BoundTest(unittest.TestCase):
    def test_bounds_of_all_starts_are_added(self):
        self.assertEqual(stage.possible_duplicates(
            ["x: start: 3 recipients of 2 messages may be delivered twice: A, B\n",
             "start: 0 recipients may be delivered twice",
             "1 recipients of 1 messages may be delivered twice: C; and 4 recipients of messages "
             "that are not known"]), 8)

    def test_recipients_that_became_uncertain_between_starts_are_added(self):
        line = ("mailrace postfix/smtp[1]: A: to=<b@example.net>, relay=r, dsn=4.5.0, "
                "status={} (protocol error -- message may be sent more than once: ?)\n")
        self.assertEqual(stage.possible_duplicates(
            ["start: 2 recipients of 1 messages may be delivered twice: A\n"
             "warning: A: to=<b@example.net>: message may be sent more than once\n",
             line.format("deferred") + line.format("deferred")]), 4)

    def test_an_engine_that_says_nothing_has_no_bound(self):
        self.assertIsNone(stage.possible_duplicates(["mailrace: ready"]))


if __name__ == "__main__":
    unittest.main()

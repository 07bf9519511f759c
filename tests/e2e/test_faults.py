"""A relay that refuses, lies, stalls or drops defers mail; it never loses it, and only a
5xx to a recipient or a message bounces it."""
import unittest

from harness import EndToEndTest, wait_until

MESSAGE = b"From: app@example.com\r\nX-Mailrace-Id: one\r\nSubject: hello\r\n\r\nHello.\r\n"


class FaultTest(EndToEndTest):
    def with_faulty_relay(self, fault, *sink_options, configuration=""):
        """Mailrace before a relay with `fault`, one message submitted."""
        self.faulty = self.sink("--fault", fault, *sink_options, name="faulty")
        self.engine = self.mailrace(
            f"relayhost = [127.0.0.1]:{self.faulty.port}\n{configuration}\n")
        self.queue_id = self.engine.submit(MESSAGE)

    def cure(self):
        """The relay recovers: the same address, no fault."""
        port = self.faulty.port
        self.faulty.kill()
        self.healthy = self.sink(name="healthy", port=port)

    def assert_deferred_then_delivered(self, reason):
        self.engine.wait_for_log(rf"{self.queue_id}: to=<user@example\.net>, .*"
                                 rf"status=deferred \(.*{reason}")
        self.assertNotIn("status=bounced", self.engine.log)
        self.cure()
        self.engine.wait_for_log(rf"{self.queue_id}: to=<user@example\.net>, .*status=sent \(250")
        self.engine.wait_until_empty()
        self.assertEqual(self.healthy.delivered(), [("one", "user@example.net")])

    def test_greeting_refused(self):
        self.with_faulty_relay("greeting:554")
        self.assert_deferred_then_delivered("refused to talk to me: 554")

    def test_dropped_before_the_greeting(self):
        self.with_faulty_relay("drop@greeting")
        self.assert_deferred_then_delivered("lost connection with")

    def test_garbage_instead_of_ehlos_reply(self):
        self.with_faulty_relay("garbage@ehlo")
        self.assert_deferred_then_delivered("")

    def test_mail_refused_for_now(self):
        self.with_faulty_relay("mail:451")
        self.assert_deferred_then_delivered(r"said: 451 .*\(in reply to MAIL FROM command\)")

    def test_recipient_refused_for_now(self):
        self.with_faulty_relay("rcpt:450")
        self.assert_deferred_then_delivered(r"said: 450 .*\(in reply to RCPT TO command\)")

    def test_relay_shuts_down(self):
        self.with_faulty_relay("rcpt:421")
        self.assert_deferred_then_delivered("421")

    def test_data_refused_for_now(self):
        self.with_faulty_relay("data:451")
        self.assert_deferred_then_delivered(r"said: 451 .*\(in reply to DATA command\)")

    def test_message_refused_for_now(self):
        self.with_faulty_relay("dot:451")
        self.assert_deferred_then_delivered(r"said: 451 .*\(in reply to end of DATA command\)")

    def test_dropped_at_the_final_dot(self):
        self.with_faulty_relay("drop@dot")
        self.assert_deferred_then_delivered("lost connection with")

    def test_a_lost_final_reply_is_sent_again_and_said_to_be_uncertain(self):
        self.with_faulty_relay("lost@dot")
        self.assert_deferred_then_delivered("message may be sent more than once")
        # The relay had it: the price of never losing.
        self.assertIn(("one", "user@example.net"), self.faulty.delivered())

    def test_stalled_at_data(self):
        self.with_faulty_relay("stall@data", configuration="smtp_data_init_timeout = 1s")
        self.assert_deferred_then_delivered("timed out while")

    def test_stalled_at_the_final_dot(self):
        self.with_faulty_relay("stall@dot", configuration="smtp_data_done_timeout = 1s")
        self.assert_deferred_then_delivered("timed out while .*message may be sent more than once")

    def test_nobody_listens(self):
        self.with_faulty_relay("mail:451")
        port = self.faulty.port
        self.faulty.kill()
        self.engine.wait_for_log(r"connect to 127\.0\.0\.1\[127\.0\.0\.1\]:\d+: "
                                 r"Connection refused")
        self.healthy = self.sink(name="healthy", port=port)
        self.engine.wait_until_empty()
        self.assertEqual(self.healthy.delivered(), [("one", "user@example.net")])

    def test_a_5xx_to_one_recipient_bounces_that_recipient_alone(self):
        self.faulty = self.sink("--fault", "rcpt=bad@:550", name="faulty", *["--store",
                                str(self.directory / "store")])
        self.engine = self.mailrace(f"relayhost = [127.0.0.1]:{self.faulty.port}\n")
        queue_id = self.engine.submit(MESSAGE, recipients=["good@example.net",
                                                           "bad@example.net"])
        self.engine.wait_for_log(rf"{queue_id}: to=<bad@example\.net>, .*"
                                 r"status=bounced \(host .* said: 550 ")
        self.engine.wait_for_log(rf"{queue_id}: to=<good@example\.net>, .*status=sent \(250")
        self.engine.wait_for_log(rf"{queue_id}: sender non-delivery notification: \w+")
        self.engine.wait_until_empty()
        notices = [record for record in self.faulty.records if record["reverse_path"] == ""]
        self.assertEqual([notice["recipients"] for notice in notices], [["app@example.com"]])
        content = (self.directory / "store" / notices[0]["file"]).read_bytes()
        self.assertIn(b"Final-Recipient: rfc822; bad@example.net", content)
        self.assertNotIn(b"good@example.net", content)

    def test_one_percent_of_everything_goes_wrong_and_nothing_is_lost(self):
        sink = self.sink("--fault", "rcpt:450:0.01,dot:451:0.01,drop@dot:0.01,lost@dot:0.01,"
                         "drop@mail:0.01,greeting:421:0.05", name="faulty")
        engine = self.mailrace(f"relayhost = [127.0.0.1]:{sink.port}\n")
        blast = self.blast(engine.port, "--connections", "4", "--messages", "3000")
        self.assertEqual(blast.wait(), 0, blast.output)
        engine.wait_until_empty()
        wait_until("nothing acknowledged is missing",
                   lambda: not set(blast.acknowledged()) - set(sink.delivered()))
        self.assertNotIn("status=bounced", engine.log)
        stats = engine.stats()
        duplicates = len(sink.delivered()) - 3000
        self.assertGreater(duplicates, 0)
        self.assertLessEqual(duplicates, stats["uncertain"])


if __name__ == "__main__":
    unittest.main()

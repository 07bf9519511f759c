"""SIGHUP: the new configuration whole or not at all, and nobody loses a connection."""
import re
import signal
import smtplib
import unittest

from harness import DEADLINE, EndToEndTest, wait_until, write_file
from smtp_recorder import SmtpRecorder

MESSAGE = b"Subject: hello\r\n\r\nHello.\r\n"


class ReloadTest(EndToEndTest):
    def relay(self):
        relay = SmtpRecorder()
        self.addCleanup(relay.close)
        return relay

    def test_mail_that_waits_goes_to_the_new_relayhost(self):
        old, new = self.relay(), self.relay()
        engine = self.mailrace(f"relayhost = [127.0.0.1]:{old.port}\ndefer_transports = smtp\n")
        engine.submit(MESSAGE)
        engine.configure(f"relayhost = [127.0.0.1]:{new.port}\n")
        engine.reload()
        new.wait_for(1)
        self.assertEqual(old.messages, [])

    def test_a_transaction_under_way_stays_where_it_is(self):
        old, new = self.relay(), self.relay()
        old.replies.clear()
        engine = self.mailrace(f"relayhost = [127.0.0.1]:{old.port}\n")
        engine.submit(MESSAGE)
        old.wait_for(1)
        engine.configure(f"relayhost = [127.0.0.1]:{new.port}\n")
        engine.reload()
        second = engine.submit(MESSAGE)
        new.wait_for(1)
        old.replies.set()
        engine.wait_until_empty()
        self.assertEqual((len(old.messages), len(new.messages)), (1, 1))
        self.assertIn(second.encode(), new.messages[0].content)

    def test_sessions_of_the_old_configuration_take_no_new_mail(self):
        relay = self.relay()
        pool = ("smtp_connection_cache_time_limit = 300s\n"
                f"relayhost = [127.0.0.1]:{relay.port}\nengine_shards = 1\n")
        engine = self.mailrace(pool + "smtp_helo_name = old.example.com\n")
        engine.submit(MESSAGE)
        engine.submit(MESSAGE)
        sessions = {message.session for message in relay.wait_for(2)}
        engine.configure(pool + "smtp_helo_name = new.example.com\n")
        engine.reload()
        engine.submit(MESSAGE)
        self.assertNotIn(relay.wait_for(3)[2].session, sessions)

    def test_a_client_keeps_its_session_and_the_next_has_the_new_rules(self):
        engine = self.mailrace("defer_transports = smtp\n")
        with smtplib.SMTP("127.0.0.1", engine.port, "client.example.com", DEADLINE) as client:
            client.ehlo()
            client.mail("app@example.com")
            client.rcpt("user@example.net")
            engine.configure("defer_transports = smtp\nmessage_size_limit = 200\n")
            engine.reload()
            client.docmd("DATA")
            client.send(b"x" * 500 + b"\r\n.\r\n")
            self.assertEqual(client.getreply()[0], 250)
        with smtplib.SMTP("127.0.0.1", engine.port, "client.example.com", DEADLINE) as client:
            client.ehlo()
            self.assertEqual(client.esmtp_features["size"], "200")

    def assert_refused(self, engine, relay, *reasons):
        before = len(engine.log)
        engine.reload("reload refused, [0-9]+ errors in the configuration; the old one stays")
        said = engine.log[before:]
        for reason in reasons:
            self.assertRegex(said, reason)
        count = len(relay.messages)
        engine.submit(MESSAGE)
        relay.wait_for(count + 1)

    def test_a_broken_configuration_changes_nothing(self):
        relay = self.relay()
        good = f"relayhost = [127.0.0.1]:{relay.port}\n"
        engine = self.mailrace(good)
        engine.configure("relayhost = [127.0.0.1]:1\nsmtp_tls_security_level = nonsense\n"
                         "maximal_backoff_time = soon\n")
        self.assert_refused(engine, relay, r"main\.cf:\d+: .*smtp_tls_security_level",
                            r"main\.cf:\d+: .*maximal_backoff_time")
        (engine.config / "main.cf").unlink()
        self.assert_refused(engine, relay, r"main\.cf")
        engine.configure(good)
        engine.reload()

    @staticmethod
    def deliver(engine, sink):
        before = len(sink.records)
        engine.submit(MESSAGE)
        wait_until("it is delivered", lambda: len(sink.records) == before + 1)

    def test_one_broken_table_of_several_changes_none(self):
        sink = self.sink("--user", "app", "--require-auth", password="right")
        relay = f"relayhost = [127.0.0.1]:{sink.port}\n"
        tables = (relay + "smtp_sasl_auth_enable = yes\nsmtp_sasl_security_options =\n"
                  "smtp_sasl_password_maps = hash:passwords\n"
                  "smtp_tls_policy_maps = hash:policies\n")
        engine = self.mailrace(tables, files={"passwords": "127.0.0.1 app:right\n",
                                              "policies": "elsewhere.example encrypt\n"})
        self.deliver(engine, sink)
        # New credentials, and a policy table that is not there: the old credentials stay.
        write_file(engine.config / "passwords", "127.0.0.1 app:wrong\n", 0o600)
        (engine.config / "policies").unlink()
        before = len(engine.log)
        engine.reload("reload refused")
        self.assertRegex(engine.log[before:], r"smtp_tls_policy_maps.*policies")
        self.deliver(engine, sink)
        # And whoever looks after it is not locked out by the mistake.
        self.assertEqual(engine.stats()["delivered"], 2)
        # A table of passwords that is gone does not mean "no passwords".
        (engine.config / "passwords").unlink()
        write_file(engine.config / "policies", "elsewhere.example encrypt\n", 0o600)
        before = len(engine.log)
        engine.reload("reload refused")
        self.assertRegex(engine.log[before:], r"smtp_sasl_password_maps.*passwords")
        self.deliver(engine, sink)
        self.assertTrue(all(record.get("user") == "app" for record in sink.records))

    def test_what_needs_a_restart_is_said_and_stays(self):
        engine = self.mailrace("defer_transports = smtp\n")
        engine.configure("defer_transports = smtp\nsubmission_listen = 127.0.0.1:1\n"
                         "engine_shards = 3\nqueue_directory = /nonexistent\n")
        before = len(engine.log)
        engine.reload()
        said = engine.log[before:]
        for name in ("submission_listen", "engine_shards", "queue_directory"):
            self.assertRegex(said, rf"main\.cf:\d+: warning: {name}: a change to .* takes effect "
                                   r"at the next start; until then it is")
        queue_id = engine.submit(MESSAGE)  # Where it listened before.
        engine.configure("defer_transports = smtp\n")
        self.assertIn(queue_id, engine.command("queue", "list"))

    def test_the_grace_time_of_a_stop_is_the_newest(self):
        relay = self.relay()
        relay.replies.clear()
        good = f"relayhost = [127.0.0.1]:{relay.port}\n"
        engine = self.mailrace(good + "shutdown_grace_time = 3600s\n")
        engine.submit(MESSAGE)
        relay.wait_for(1)
        engine.configure(good + "shutdown_grace_time = 1s\n")
        engine.reload()
        engine.stop()

    def test_a_corrected_password_lets_mail_flow_with_one_alarm_and_one_all_clear(self):
        sink = self.sink("--user", "app", "--require-auth", password="right")
        configuration = (f"relayhost = [127.0.0.1]:{sink.port}\nsmtp_sasl_auth_enable = yes\n"
                         "smtp_sasl_security_options =\n"
                         "smtp_sasl_password_maps = hash:passwords\n"
                         # Nothing but a reload ends these in this test's time.
                         "sasl_failure_pause = 3600s\nminimal_backoff_time = 3600s\n"
                         "maximal_backoff_time = 3600s\n")
        engine = self.mailrace(configuration, files={"passwords": "127.0.0.1 app:wrong\n"})
        for _ in range(6):
            engine.submit(MESSAGE)
        alarm = "was refused .*mail waits"
        engine.wait_for_log(alarm)
        engine.reload()  # Nothing was corrected: no second alarm.
        wait_until("it was tried again", lambda: engine.stats()["auth_failures"] >= 2)
        write_file(engine.config / "passwords", "127.0.0.1 app:right\n", 0o600)
        engine.reload()
        engine.wait_until_empty()
        self.assertEqual(len(sink.records), 6)
        self.assertEqual(len(re.findall(alarm, engine.log)), 1)
        self.assertEqual(len(re.findall("works again", engine.log)), 1)
        self.assertNotIn("status=bounced", engine.log)

    def test_a_hundred_reloads_under_load_lose_and_drop_nothing(self):
        sink = self.sink()
        configurations = [f"relayhost = [127.0.0.1]:{sink.port}\n"
                          f"default_destination_concurrency_limit = {limit}\n"
                          for limit in (4, 20)]
        engine = self.mailrace(configurations[0])
        blast = self.blast(engine.port, "--connections", "8", "--recipients", "2",
                           "--duration", "3600", "--stop-after-errors", "1")
        for n in range(100):
            before = len(blast.acknowledged())
            engine.configure(configurations[n % 2])
            engine.reload()
            wait_until("mail comes in", lambda: len(blast.acknowledged()) > before)
        blast.process.send_signal(signal.SIGINT)
        self.assertEqual(blast.wait(), 0, blast.output)  # No connection broke.
        engine.wait_until_empty()
        delivered = sink.delivered()
        self.assertEqual(set(blast.acknowledged()) - set(delivered), set())
        self.assertEqual(len(delivered), len(set(delivered)))
        self.assertNotIn("status=deferred", engine.log)


if __name__ == "__main__":
    unittest.main()

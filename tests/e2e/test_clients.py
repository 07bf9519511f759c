"""Who submits: swaks, a Postfix that has Mailrace as its relay, and sendmail."""
import os
import signal
import smtplib
import subprocess
import unittest

from harness import BIN, DEADLINE, EndToEndTest, Mailrace, free_port
from postfix import PostfixClient
from smtp_recorder import SmtpRecorder


class ClientTest(EndToEndTest):
    def setUp(self):
        super().setUp()
        self.recorder = SmtpRecorder()
        self.addCleanup(self.recorder.close)

    def engine(self, extra="", port=0):
        return self.mailrace(f"relayhost = [127.0.0.1]:{self.recorder.port}\n{extra}\n",
                             port=port)

    def test_swaks(self):
        mailrace = self.engine()
        sent = subprocess.run(
            ["swaks", "--server", f"127.0.0.1:{mailrace.port}", "--pipeline", "--from",
             "a@example.com", "--to", "b@example.net,c@example.net", "--header",
             "Subject: by swaks", "--body", "one\n.two"],
            capture_output=True, text=True, timeout=DEADLINE)
        self.assertEqual(sent.returncode, 0, sent.stdout + sent.stderr)
        self.assertRegex(sent.stdout, r"250 2\.0\.0 .*queued as \w+")
        [message] = self.recorder.wait_for(1)
        self.assertEqual(message.reverse_path, "a@example.com")
        self.assertEqual(sorted(message.recipients), ["b@example.net", "c@example.net"])
        self.assertIn(b"Subject: by swaks\r\n", message.content)
        self.assertIn(b"one\r\n.two\r\n", message.content)

    def test_swaks_over_tls(self):
        certificate, key = self.authority().issue("localhost", "DNS:localhost")
        key.chmod(0o600)
        mailrace = self.engine(f"smtpd_tls_cert_file = {certificate}\n"
                               f"smtpd_tls_key_file = {key}\n")
        sent = subprocess.run(
            ["swaks", "--server", f"localhost:{mailrace.port}", "--tls", "--tls-verify",
             "--tls-ca-path", str(self.directory / "ca" / "ca.pem"), "--from", "a@example.com",
             "--to", "b@example.net"], capture_output=True, text=True, timeout=DEADLINE)
        self.assertEqual(sent.returncode, 0, sent.stdout + sent.stderr)
        [message] = self.recorder.wait_for(1)
        self.assertRegex(message.content, rb"with ESMTPS ")

    def test_a_postfix_as_client(self):
        mailrace = self.engine()
        postfix = PostfixClient(self.directory / "client", mailrace.port)
        self.on_failure_show("postfix log", lambda: postfix.log)
        self.addCleanup(postfix.stop)
        postfix.start()
        content = b"Subject: x\r\n\r\n..dots\r\n\xc3\xa4\r\n" + b"y" * 900 + b"\r\n"
        with smtplib.SMTP("127.0.0.1", postfix.port, "c.example.com", DEADLINE) as client:
            for number in range(20):
                client.sendmail("a@example.com", [f"b{number}@example.net"], content,
                                ["BODY=8BITMIME"])
        messages = self.recorder.wait_for(20)
        self.assertEqual({message.recipients[0] for message in messages},
                         {f"b{number}@example.net" for number in range(20)})
        for message in messages:
            self.assertTrue(message.content.endswith(content))
        postfix.wait_for_log(r"status=sent \(250 2\.0\.0 .*queued as \w+")

    def sendmail(self, mailrace, *arguments, content):
        return subprocess.run(
            [str(BIN / "sendmail"), *arguments], input=content, capture_output=True,
            timeout=DEADLINE, env={**os.environ, "MAIL_CONFIG": str(mailrace.config)})

    def test_sendmail(self):
        mailrace = self.engine(port=free_port())
        sent = self.sendmail(mailrace, "-i", "-f", "app@example.com", "--", "b@example.net",
                             content=b"Subject: x\n\none\n.\ntwo\n")
        self.assertEqual(sent.returncode, 0, sent.stderr)
        [message] = self.recorder.wait_for(1)
        self.assertEqual(message.reverse_path, "app@example.com")
        self.assertTrue(message.content.endswith(b"\r\n\r\none\r\n.\r\ntwo\r\n"))

    def test_sendmail_takes_recipients_from_the_header_and_hides_bcc(self):
        mailrace = self.engine(port=free_port())
        sent = self.sendmail(mailrace, "-t", "-i", content=(
            b"From: app@example.com\nTo: b@example.net\nBcc: secret@example.net\n"
            b"Subject: x\n\nbody\n"))
        self.assertEqual(sent.returncode, 0, sent.stderr)
        self.recorder.wait_for(1)
        mailrace.wait_until_empty()
        recipients = {recipient for message in self.recorder.messages
                      for recipient in message.recipients}
        self.assertEqual(recipients, {"b@example.net", "secret@example.net"})
        for message in self.recorder.messages:
            self.assertNotIn(b"secret", message.content)

    @unittest.skipUnless(os.getuid() == 0, "takes another user")
    def test_sendmail_is_for_users_who_may_not_read_the_passwords(self):
        mailrace = Mailrace(self.directory / "mailrace",
                            f"relayhost = [127.0.0.1]:{self.recorder.port}\n"
                            "smtp_sasl_auth_enable = yes\n"
                            "smtp_sasl_password_maps = hash:$config_directory/saslpw\n",
                            {"saslpw": "[elsewhere.example.net] user:password\n"}, free_port())
        self.addCleanup(mailrace.close)
        mailrace.start()
        sent = subprocess.run(
            [str(BIN / "sendmail"), "-i", "b@example.net"], input=b"Subject: x\n\nbody\n",
            capture_output=True, timeout=DEADLINE, user=65534, group=65534, extra_groups=[],
            env={**os.environ, "MAIL_CONFIG": str(mailrace.config)})
        self.assertEqual(sent.returncode, 0, sent.stderr)
        self.recorder.wait_for(1)

    def test_sendmail_works_while_main_cf_is_being_mended(self):
        mailrace = self.engine(port=free_port())
        with open(mailrace.config / "main.cf", "a") as main_cf:
            main_cf.write("smtp_tls_security_level = encyrpt\nsmtp_sasl_auth_enable = maybe\n")
        sent = self.sendmail(mailrace, "b@example.net", content=b"Subject: x\n\nbody\n")
        self.assertEqual(sent.returncode, 0, sent.stderr)
        self.recorder.wait_for(1)

    def test_sendmail_folds_what_is_too_long_for_smtp(self):
        mailrace = self.engine(port=free_port())
        sent = self.sendmail(mailrace, "b@example.net",
                             content=b"Subject: x\n\n" + b"y" * 2500 + b"\n")
        self.assertEqual(sent.returncode, 0, sent.stderr)
        [message] = self.recorder.wait_for(1)
        lines = message.content.split(b"\r\n")
        self.assertLessEqual(max(map(len, lines)), 998)
        self.assertEqual(b"".join(line.lstrip() for line in lines if b"yyy" in line), b"y" * 2500)

    def test_sendmail_without_an_engine_says_try_again(self):
        mailrace = self.engine(port=free_port())
        mailrace.stop()
        sent = self.sendmail(mailrace, "-i", "b@example.net", content=b"Subject: x\n\nbody\n")
        self.assertEqual(sent.returncode, 75, sent.stderr)  # EX_TEMPFAIL

    def test_mail_deferred_by_the_administrator_goes_out_on_reload(self):
        mailrace = self.engine("defer_transports = smtp")
        queue_id = mailrace.submit(b"Subject: later\r\n\r\nx\r\n")
        self.assertIn(queue_id, mailrace.command("queue", "list"))
        self.assertEqual(self.recorder.messages, [])
        mailrace.configure(f"relayhost = [127.0.0.1]:{self.recorder.port}\n")
        # The listener stays where it is: a new port would count from the next start.
        mailrace.program.process.send_signal(signal.SIGHUP)
        self.recorder.wait_for(1)
        mailrace.wait_until_empty()

    def test_a_broken_configuration_never_starts(self):
        with self.assertRaisesRegex(AssertionError, r"(?s)ended with 78.*main\.cf"):
            self.engine("smtp_sasl_auth_enable = maybe")

    def test_a_broken_configuration_on_reload_keeps_the_old_one(self):
        mailrace = self.engine()
        mailrace.configure("smtp_sasl_auth_enable = maybe\n")
        mailrace.program.process.send_signal(signal.SIGHUP)
        mailrace.wait_for_log("reload refused")
        mailrace.submit(b"Subject: x\r\n\r\nx\r\n")
        self.recorder.wait_for(1)


if __name__ == "__main__":
    unittest.main()

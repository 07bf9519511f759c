"""The tests' own tools keep their promises: a real Postfix relays byte for byte, and asks
for a password."""
import smtplib
import subprocess
import unittest

from harness import DEADLINE, EndToEndTest
from postfix import PostfixRelay
from smtp_recorder import SmtpRecorder


class HarnessTest(EndToEndTest):
    def setUp(self):
        super().setUp()
        self.recorder = SmtpRecorder()
        self.addCleanup(self.recorder.close)

    def relay(self, **options):
        relay = PostfixRelay(self.directory / "relay", self.recorder.port, **options)
        self.on_failure_show("postfix log", lambda: relay.log)
        self.addCleanup(relay.stop)
        return relay.start()

    def test_postfix_passes_on_an_authenticated_message_byte_for_byte(self):
        authority = self.authority()
        relay = self.relay(certificate=authority.issue("localhost", "DNS:localhost"),
                           require_tls=True)
        content = b"Subject: x\r\n\r\n.dot\r\n\xe4\xf6\r\n" + b"x" * 990 + b"\r\n"
        # swaks ends what it reads with a line end of its own.
        (self.directory / "message").write_bytes(
            content.removesuffix(b"\r\n").replace(b"\r\n", b"\n"))
        sent = subprocess.run(
            ["swaks", "--server", f"localhost:{relay.port}", "--tls", "--tls-verify",
             "--tls-ca-path", str(authority.file), "--auth", "PLAIN", "--auth-user",
             relay.USER, "--auth-password", relay.PASSWORD, "--from", "a@example.com", "--to",
             "b@example.net", "--data", f"@{self.directory}/message"],
            capture_output=True, timeout=DEADLINE)
        self.assertEqual(sent.returncode, 0, sent.stdout + sent.stderr)
        [message] = self.recorder.wait_for(1)
        self.assertEqual(message.recipients, ["b@example.net"])
        trace, separator, rest = message.content.partition(b"Subject: x")
        self.assertIn(b"(Authenticated sender: myid", trace)
        self.assertEqual(separator + rest, content)

    def test_postfix_refuses_strangers(self):
        relay = self.relay()
        with smtplib.SMTP("127.0.0.1", relay.port, "c.example.com", DEADLINE) as client:
            with self.assertRaises(smtplib.SMTPRecipientsRefused):
                client.sendmail("a@example.com", ["b@example.net"], b"Subject: x\r\n\r\nx\r\n")
        self.assertEqual(self.recorder.messages, [])


if __name__ == "__main__":
    unittest.main()

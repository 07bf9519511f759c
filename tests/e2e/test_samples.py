"""Messages that nobody here wrote arrive as they were: the e-mail samples of Debian's
libpython3.11-testsuite (malformed ones among them), its texts in two dozen 8-bit
encodings, and a huge message made of all its binary files."""
import email.mime.application
import email.mime.multipart
import pathlib
import re
import smtplib
import unittest

from harness import DEADLINE, EndToEndTest, RefusedError
from postfix import PostfixRelay
from smtp_recorder import SmtpRecorder

SUITE = pathlib.Path("/usr/lib/python3.11/test")
SAMPLES = SUITE / "test_email" / "data"
TEXTS = SUITE / "cjkencodings"
FIELD = re.compile(rb"Received:[^\r]*\r\n(?:[ \t][^\r]*\r\n)*")


def canonical(octets):
    """As a client that reads a Unix text file sends it: LF becomes CRLF."""
    octets = re.sub(rb"(?<!\r)\n", b"\r\n", octets)
    return octets if octets.endswith(b"\r\n") else octets + b"\r\n"


def samples():
    found = {path.name: canonical(path.read_bytes()) for path in sorted(SAMPLES.glob("*.txt"))}
    for path in sorted(TEXTS.glob("*.txt")):
        header = (b"Subject: " + path.stem.encode() + b"\r\nMIME-Version: 1.0\r\n"
                  b"Content-Type: text/plain; charset=" + path.stem.encode() +
                  b"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n")
        found[path.name] = header + canonical(path.read_bytes())
    return found


def binaries():
    return [path for path in sorted(SAMPLES.iterdir()) if path.suffix != ".txt"]


def huge_message():
    message = email.mime.multipart.MIMEMultipart(boundary="=_huge")
    message["Subject"] = "huge"
    message["From"] = "app@example.com"
    for path in binaries() * 200:
        message.attach(email.mime.application.MIMEApplication(path.read_bytes(),
                                                              Name=path.name))
    return canonical(message.as_bytes())


class SamplesTest(EndToEndTest):
    def setUp(self):
        super().setUp()
        self.recorder = SmtpRecorder()
        self.addCleanup(self.recorder.close)
        self.samples = samples()
        self.assertGreater(len(self.samples), 70)

    def engine(self, port, extra=""):
        # Only what was sent, and the trace field that RFC 5321 4.4 demands.
        return self.mailrace(f"relayhost = [127.0.0.1]:{port}\n"
                             "submission_add_missing_headers = no\n" + extra)

    def relay(self, name, next_port):
        relay = PostfixRelay(self.directory / name, next_port, require_auth=False)
        self.on_failure_show(f"postfix log of {name}", lambda: relay.log)
        self.addCleanup(relay.stop)
        return relay.start()

    def submit_all(self, mailrace):
        """Each sample to an address of its own."""
        for name, octets in self.samples.items():
            mailrace.submit(octets, recipients=[f"{name}@example.net"],
                            options=["BODY=8BITMIME"])

    @staticmethod
    def by_name(messages):
        return {message.recipients[0].removesuffix("@example.net"): message.content
                for message in messages}

    def test_samples_reach_the_next_hop_byte_for_byte(self):
        mailrace = self.engine(self.recorder.port)
        self.submit_all(mailrace)
        arrived = self.by_name(self.recorder.wait_for(len(self.samples)))
        self.assertEqual(set(arrived), set(self.samples))
        for name, octets in self.samples.items():
            with self.subTest(name):
                content = arrived[name]
                self.assertEqual(content[-len(octets):], octets)
                self.assertRegex(content[:-len(octets)], rb"\A" + FIELD.pattern + rb"\Z")

    def test_samples_pass_a_postfix_as_if_they_had_come_to_it_directly(self):
        # Postfix has ways of its own with malformed headers (an empty line put in where
        # the header breaks off); a second one, handed the same without us, says which.
        relay = self.relay("relay", self.recorder.port)
        self.submit_all(self.engine(relay.port))
        through_us = {name: self.without_first_field(content) for name, content in
                      self.by_name(self.recorder.wait_for(len(self.samples))).items()}

        directly = SmtpRecorder()
        self.addCleanup(directly.close)
        witness = self.relay("witness", directly.port)
        with smtplib.SMTP("127.0.0.1", witness.port, "c.example.com", DEADLINE) as client:
            for name, octets in self.samples.items():
                # Below the field that we put in front, so that both see one header.
                our_field = FIELD.match(through_us[name]).group()
                client.sendmail("app@example.com", [f"{name}@example.net"],
                                our_field + octets, ["BODY=8BITMIME"])
        expected = self.by_name(directly.wait_for(len(self.samples)))
        for name in self.samples:
            with self.subTest(name):
                self.assertEqual(through_us[name], self.without_first_field(expected[name]))

    @staticmethod
    def without_first_field(content):
        """The relaying Postfix's Received field cut off."""
        return content[FIELD.match(content).end():]

    def test_octets_that_are_no_mail_are_refused(self):
        # RFC 5321 2.3.8 and 4.5.2: bare CR, bare LF and NUL are not for the wire.
        mailrace = self.engine(self.recorder.port)
        for path in binaries():
            with self.subTest(path.name):
                octets = path.read_bytes()
                if not re.search(rb"\0|\r(?!\n)|(?<!\r)\n", octets):
                    continue
                with self.assertRaises(RefusedError) as refused:
                    mailrace.submit(b"Subject: binary\r\n\r\n" + octets + b"\r\n")
                self.assertEqual(refused.exception.code // 100, 5)
        self.assertEqual(mailrace.stats()["accepted"], 0)

    def test_a_huge_message_in_little_memory(self):
        mailrace = self.engine(self.recorder.port, "message_size_limit = 104857600\n"
                                                   "queue_memory_limit = 16M\n")
        content = huge_message()
        self.assertGreater(len(content), 8 << 20)
        mailrace.submit(content)
        [message] = self.recorder.wait_for(1)
        self.assertTrue(message.content.endswith(content))

    def test_a_message_beyond_the_limit_is_refused_and_nothing_stays(self):
        mailrace = self.engine(self.recorder.port, "message_size_limit = 100000\n")
        with self.assertRaises(RefusedError) as refused:
            mailrace.submit(b"Subject: x\r\n\r\n" + (b"x" * 900 + b"\r\n") * 200)
        self.assertEqual(refused.exception.code, 552)
        self.assertEqual(mailrace.stats()["queue"]["total"], 0)


if __name__ == "__main__":
    unittest.main()

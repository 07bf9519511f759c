"""The watch over what relays are sent is watched: what a careless client says is seen when the
test ends."""
import socket
import unittest

from scripted_relay import ScriptedRelay
from smtp_recorder import SmtpRecorder


def say(port, *groups):
    """Says each group when the replies to those before have come, as a client in a hurry."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        replies = connection.makefile("rb")
        replies.readline()
        for group in groups:
            connection.sendall(group)
            replies.readline()
        connection.shutdown(socket.SHUT_WR)
        replies.read()


ENVELOPE = (b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n", b"DATA\r\n")


class WireAuditTest(unittest.TestCase):
    def problems(self, *groups):
        for relay in (SmtpRecorder(), ScriptedRelay()):
            with self.subTest(type(relay).__name__):
                say(relay.port, *groups)
                try:
                    relay.close()
                except AssertionError as problem:
                    yield str(problem)
                else:
                    yield ""

    def assert_seen(self, words, *groups):
        for problem in self.problems(*groups):
            self.assertIn(words, problem)

    def test_good_mail_is_no_problem(self):
        for problem in self.problems(*ENVELOPE, b"Hello\r\n..\r\n.\r\n", b"QUIT\r\n"):
            self.assertEqual(problem, "")

    def test_a_bare_line_feed_in_a_command(self):
        self.assert_seen("a bare LF", b"NOOP\n")

    def test_a_bare_carriage_return_in_content(self):
        self.assert_seen("a bare CR", *ENVELOPE, b"Hel\rlo\r\n.\r\n")

    def test_a_second_end_of_data(self):
        self.assert_seen("no command: b'.", *ENVELOPE, b"Hello\r\n.\r\n.\r\n")

    def test_a_password_in_clear(self):
        self.assert_seen("AUTH in clear", b"AUTH PLAIN AGEAYg==\r\n")


if __name__ == "__main__":
    unittest.main()

"""Where a relay's password is, and where it must never be: reliability.md K-01, K-05, K-06."""
import base64
import os
import resource
import signal
import subprocess
import unittest

from harness import BIN, EndToEndTest, wait_until

USER, PASSWORD = "app", "canary-7Kq2-swordfish"
SHAPES = [PASSWORD.encode(), PASSWORD.encode().hex().encode(),
          base64.b64encode(PASSWORD.encode()).rstrip(b"=")[:-1],
          base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).rstrip(b"=")[:-1]]
MESSAGE = b"From: app@example.com\r\nX-Mailrace-Id: one\r\nSubject: hello\r\n\r\nHello.\r\n"


def dumped_core(process):
    """Ends it by SIGABRT; whether the kernel wrote its memory out."""
    resource.prlimit(process.pid, resource.RLIMIT_CORE,
                     (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    process.send_signal(signal.SIGABRT)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return os.WCOREDUMP(status)


class SecretsTest(EndToEndTest):
    def with_login(self, password_at_relay):
        certificate, key = self.authority().issue("relay", "DNS:localhost")
        self.relay = self.sink("--tls", "--cert", certificate, "--key", key, "--user", USER,
                               "--require-auth", password=password_at_relay)
        config = self.directory / "mailrace" / "config"
        self.engine = self.mailrace(
            f"relayhost = [localhost]:{self.relay.port}\n"
            "smtp_tls_security_level = verify\n"
            f"smtp_tls_CAfile = {self.directory}/ca/ca.pem\n"
            "smtp_sasl_auth_enable = yes\n"
            "smtp_sasl_tls_security_options = noanonymous\n"
            f"smtp_sasl_password_maps = hash:{config}/saslpw\n"
            "debug_peer_list = localhost\ndebug_peer_level = 9\nsmtp_tls_loglevel = 3\n",
            {"saslpw": f"localhost {USER}:{PASSWORD}\n"})

    def assert_nowhere(self, where, octets):
        for shape in SHAPES:
            self.assertNotIn(shape, octets, where)

    def assert_kept(self):
        process = self.engine.program.process.pid
        for name in ("cmdline", "environ"):
            with open(f"/proc/{process}/{name}", "rb") as file:
                self.assert_nowhere(name, file.read())
        self.assert_nowhere("the log", self.engine.log.encode())
        self.assert_nowhere("what it printed", self.engine.program.output.encode())
        for command in (("stats", "--json"), ("queue", "list", "--json"), ("check",),
                        ("explain", "user@example.net")):
            self.assert_nowhere(command, self.engine.command(*command).encode())
        for root in ("queue", "data"):
            for path in (self.engine.directory / root).rglob("*"):
                if path.is_file():
                    self.assert_nowhere(path, path.read_bytes())

    def test_a_password_that_works_is_in_no_file_line_or_argument(self):
        self.with_login(PASSWORD)
        self.engine.submit(MESSAGE)
        wait_until("it is delivered",
                   lambda: self.relay.delivered() == [("one", "user@example.net")])
        self.assert_kept()

    def test_nor_one_that_is_refused(self):
        self.with_login("another")
        self.engine.submit(MESSAGE)
        self.engine.wait_for_log("status=deferred .*535")
        self.assert_kept()

    def test_no_command_takes_a_secret_as_an_argument(self):
        for program in ("mailrace", "mailrace-sink", "mailrace-blast"):
            shown = subprocess.run([BIN / program, "--help"], capture_output=True, text=True,
                                   check=True).stdout
            self.assertNotRegex(shown, r"--(password|secret|token)\s")

    def test_a_crash_writes_no_memory_out(self):
        with subprocess.Popen(["sleep", "1000"], cwd=self.directory) as other:
            if not dumped_core(other):
                self.skipTest("nobody's memory is written out here")
        self.with_login(PASSWORD)
        dumped = dumped_core(self.engine.program.process)
        self.engine.program.kill()  # Only its pipe is left.
        self.assertFalse(dumped)


if __name__ == "__main__":
    unittest.main()

"""Logins by bearer token: from files and commands, renewed when they end or are refused."""
import unittest

from harness import EndToEndTest, wait_until
from oauth_relay import OauthRelay

MESSAGE = b"From: app@example.com\r\nSubject: hello\r\n\r\nHello.\r\n"
USER = "me@gmail.example"


class OauthTest(EndToEndTest):
    def setUp(self):
        super().setUp()
        self.ca = self.authority()

    def relay(self, mechanisms="XOAUTH2 OAUTHBEARER"):
        relay = OauthRelay(self.ca.issue("oauth", "DNS:localhost"), mechanisms)
        self.on_failure_show("the relay saw", lambda: repr(relay.events))
        self.addCleanup(relay.close)
        return relay

    def configure(self, relay, source, extra=""):
        config = self.directory / "mailrace" / "config"
        return self.mailrace(
            f"relayhost = [localhost]:{relay.port}\n"
            "smtp_sasl_auth_enable = yes\n"
            f"smtp_sasl_password_maps = hash:{config}/saslpw\n"
            "smtp_tls_wrappermode = yes\n"
            "smtp_tls_security_level = verify\n"
            f"smtp_tls_CAfile = {self.ca.file}\n"
            "smtp_sasl_tls_security_options = noanonymous\n"
            "smtp_connection_cache_on_demand = no\n"
            f"sasl_token_maps = inline:{{ {{{USER} = {source}}} }}\n{extra}\n",
            {"saslpw": f"localhost {USER}:\n"})

    def file_with(self, text):
        path = self.directory / "token"
        path.write_text(text)
        return path

    def test_a_token_from_a_file(self):
        for mechanism in ("OAUTHBEARER", "XOAUTH2"):
            with self.subTest(mechanism):
                relay = self.relay(mechanism)
                relay.tokens.add("tok.one")
                path = self.file_with("tok.one\n")
                mailrace = self.configure(relay, f"file:{path}")
                mailrace.submit(MESSAGE)
                relay.wait_for_messages(1)
                self.assertEqual(relay.events, [(mechanism, USER, "tok.one"), ("message", USER)])
                self.assertNotIn("tok.one", mailrace.log)
                mailrace.stop()

    def test_a_refused_token_is_renewed_once_and_the_error_is_answered(self):
        for mechanism, answer in (("OAUTHBEARER", b"\x01"), ("XOAUTH2", b"")):
            with self.subTest(mechanism):
                relay = self.relay(mechanism)
                relay.tokens.add("tok.one")
                path = self.file_with("tok.one")
                mailrace = self.configure(relay, f"file:{path}", "sasl_token_lifetime = 1d")
                mailrace.submit(MESSAGE)
                relay.wait_for_messages(1)
                # The provider revokes it; somebody puts a new one into the file.
                relay.tokens = {"tok.two"}
                path.write_text("tok.two")
                mailrace.submit(MESSAGE)
                relay.wait_for_messages(2)
                self.assertEqual(relay.events[2:], [(mechanism, USER, "tok.one"),
                                                    ("answer", answer),
                                                    (mechanism, USER, "tok.two"),
                                                    ("message", USER)])
                self.assertNotIn("status=deferred", mailrace.log)
                mailrace.stop()

    def test_a_token_that_stays_refused_is_tried_once(self):
        relay = self.relay("XOAUTH2")
        mailrace = self.configure(relay, f"file:{self.file_with('tok.bad')}",
                                  "sasl_failure_pause = 300s")
        for _ in range(5):
            mailrace.submit(MESSAGE)
        mailrace.wait_for_log(r"SASL authentication to localhost\[127\.0\.0\.1\] as me@gmail\.example "
                              r"was refused \(535 5\.7\.8 Token refused\)")
        mailrace.wait_for_log(r"status=deferred \(SASL authentication failed; server "
                              r"localhost\[127\.0\.0\.1\] said: 535 5\.7\.8 Token refused")
        self.assertEqual(sum(e[0] == "XOAUTH2" for e in relay.events), 1)
        self.assertNotIn("status=bounced", mailrace.log)
        self.assertNotIn("tok.bad", mailrace.log)

    def test_a_command_is_run_once_for_many_sessions_and_again_before_its_token_ends(self):
        relay = self.relay("OAUTHBEARER")
        runs = self.directory / "runs"
        relay.tokens = {f"tok.{n}" for n in range(1, 9)}
        script = self.directory / "fetch"
        script.write_text("#!/bin/sh\n"
                          f"echo \"$1\" >> {runs}\n"
                          f"n=$(wc -l < {runs})\n"
                          "echo \"{\\\"access_token\\\": \\\"tok.$n\\\", \\\"expires_in\\\": 3600}\"\n")
        script.chmod(0o755)
        mailrace = self.configure(relay, f"command:{script} --account")
        for n in range(1, 6):
            mailrace.submit(MESSAGE)
            relay.wait_for_messages(n)
        self.assertEqual(runs.read_text(), "--account\n")
        self.assertEqual({e[2] for e in relay.events if e[0] == "OAUTHBEARER"}, {"tok.1"})

    def test_a_command_that_fails_defers_and_says_why(self):
        relay = self.relay()
        script = self.directory / "fetch"
        script.write_text("#!/bin/sh\necho secret-thing; exit 7\n")
        script.chmod(0o755)
        mailrace = self.configure(relay, f"command:{script}")
        mailrace.submit(MESSAGE)
        mailrace.wait_for_log(r"status=deferred \(SASL authentication failed; cannot authenticate to "
                              r"server localhost\[127\.0\.0\.1\]: no token for me@gmail\.example: "
                              r"\S+fetch: it ended with status 7\)")
        self.assertNotIn("secret-thing", mailrace.log)
        self.assertEqual(relay.events, [])

    def test_a_stop_does_not_wait_for_a_command_that_hangs(self):
        relay = self.relay()
        script = self.directory / "fetch"
        started = self.directory / "started"
        script.write_text(f"#!/bin/sh\ntouch {started}\nexec sleep 250\n")
        script.chmod(0o755)
        mailrace = self.configure(relay, f"command:{script}", "sasl_token_command_timeout = 300s")
        mailrace.submit(MESSAGE)
        wait_until("the command runs", started.exists)
        mailrace.stop()
        self.assertEqual(relay.events, [])


if __name__ == "__main__":
    unittest.main()

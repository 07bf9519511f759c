"""`mailrace check --live` and `mailrace explain` on the how-to's two set-ups, and on five ways
to get them wrong: each must name what failed, and the line to change."""
import re
import subprocess
import unittest

from harness import BIN, EndToEndTest, Mailrace
from postfix import PostfixRelay
from scripted_relay import ScriptedRelay
from smtp_recorder import SmtpRecorder


class CheckLiveTest(EndToEndTest):
    def setUp(self):
        super().setUp()
        self.recorder = SmtpRecorder()
        self.addCleanup(self.recorder.close)
        self.ca = self.authority()
        self.config = self.directory / "mailrace" / "config"

    def relay(self, names=None, **options):
        if names is not None:
            options["certificate"] = self.ca.issue("relay", *names)
        relay = PostfixRelay(self.directory / "relay", self.recorder.port, **options)
        self.addCleanup(relay.stop)
        self.on_failure_show("postfix log", lambda: relay.log)
        return relay.start()

    def set_up(self, lines, files):
        """A configuration, as main.cf's last lines; nothing is started."""
        Mailrace(self.directory / "mailrace", "\n".join(lines), files)
        first = (self.config / "main.cf").read_text().split("\n").index(lines[0]) + 1
        self.line = {text.split(" ")[0]: first + n for n, text in enumerate(lines)}

    def clear_text(self, relay, password=None, options="smtp_sasl_security_options ="):
        self.set_up([f"relayhost = [localhost]:{relay.port}",
                     "smtp_sasl_auth_enable = yes",
                     f"smtp_sasl_password_maps = hash:{self.config}/saslpw", options],
                    {"saslpw": f"# provider\n[localhost]:{relay.port} "
                               f"{relay.USER}:{password or relay.PASSWORD}\n"})

    def over_tls(self, relay, ca=None, more=()):
        self.set_up([f"relayhost = [localhost]:{relay.port}",
                     "smtp_sasl_auth_enable = yes",
                     f"smtp_sasl_password_maps = hash:{self.config}/saslpw",
                     "smtp_sasl_security_options =",
                     "smtp_use_tls = yes",
                     f"smtp_tls_CAfile = {ca or self.ca.file}",
                     f"smtp_tls_per_site = hash:{self.config}/tls_sites", *more],
                    {"saslpw": f"localhost {relay.USER}:{relay.PASSWORD}\n",
                     "tls_sites": "internal-mailserver.mydomain.com NONE\nlocalhost MUST\n"})

    def program(self, *arguments):
        result = subprocess.run([BIN / "mailrace", *arguments[:1], "-c", self.config,
                                 *arguments[1:]], capture_output=True, text=True, timeout=120)
        self.assertNotIn("my:pw", result.stdout + result.stderr)
        return result

    def live(self, *arguments):
        return self.program("check", "--live", *arguments)

    def assert_good(self, result, *steps):
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        for step in steps:
            self.assertRegex(result.stdout, rf"(?m)^  {step}")
        self.assertNotIn("FAILED", result.stdout)

    def assert_bad(self, result, step, text, change):
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        self.assertRegex(result.stdout, rf"(?m)^  {step} +FAILED .*{text}")
        self.assertRegex(result.stdout, rf"(?m)^  change +{change}")

    def main_cf(self, parameter):
        return re.escape(f"{parameter} ({self.config}/main.cf:{self.line[parameter]})")

    def test_the_first_set_up(self):
        relay = self.relay()
        self.clear_text(relay)
        result = self.live("--sender", "app@example.com", "--recipient", "user@example.net")
        self.assert_good(result, r"DNS +ok +localhost is 127\.0\.0\.1", "connect +ok",
                         r"EHLO +ok +relay\.example\.net", "STARTTLS +- ", "AUTH +ok +as myid",
                         "MAIL +ok +<app@example.com>", "RCPT +ok +<user@example.net>", "good")
        self.assertIn(f"relayhost ({self.config}/main.cf:{self.line['relayhost']})", result.stdout)
        self.assertEqual(self.recorder.messages, [], "nothing is sent")
        self.assertRegex(relay.log, r"disconnect from .* ehlo=1 auth=1 mail=1 rcpt=1 rset=1 quit=1")

    def test_the_second_set_up(self):
        relay = self.relay(["DNS:localhost"], require_tls=True)
        self.over_tls(relay)
        self.assert_good(self.live(), r"STARTTLS +ok +TLSv1\.3 with cipher", "chain +ok",
                         "name +ok +localhost", "AUTH +ok +as myid", "good")

    def test_a_wrong_password(self):
        relay = self.relay()
        self.clear_text(relay, password="guess")
        self.assert_bad(self.live(), "AUTH", "said: 535 ",
                        re.escape(f"{self.config}/saslpw:2: user or password is wrong"))

    def test_a_wrong_authority(self):
        relay = self.relay(["DNS:localhost"], require_tls=True)
        self.over_tls(relay, ca="/etc/ssl/certs/ca-certificates.crt")
        result = self.live()
        self.assert_bad(result, "chain", "untrusted issuer|self-signed",
                        self.main_cf("smtp_tls_CAfile"))
        self.assert_bad(result, "chain", "", re.escape(f"{self.config}/tls_sites:2: demands"))
        self.assertNotIn("sasl_method", relay.log)

    def test_a_wrong_name(self):
        relay = self.relay(["DNS:someone-else.example"], require_tls=True)
        self.over_tls(relay)
        self.assert_bad(self.live(), "name", "is not for localhost", self.main_cf("relayhost"))

    def test_no_starttls(self):
        relay = self.relay()
        self.over_tls(relay)
        result = self.live()
        self.assert_bad(result, "STARTTLS", "TLS is required, but was not offered",
                        self.main_cf("relayhost"))
        self.assert_bad(result, "STARTTLS", "", re.escape(f"{self.config}/tls_sites:2: demands"))

    def test_helo_by_our_own_wish(self):
        relay = self.relay()
        self.clear_text(relay, options="smtp_sasl_security_options =\nsmtp_never_send_ehlo = yes")
        self.assert_good(self.live(), r"EHLO +ok +relay\.example\.net, by HELO, which offers "
                         "nothing: smtp_never_send_ehlo = yes",
                         "AUTH +- +.*was not asked for AUTH: mail goes without a login", "good")
        self.assertRegex(relay.log, r"disconnect from .* helo=1 quit=1")

    def test_helo_where_tls_is_demanded(self):
        relay = self.relay(["DNS:localhost"], require_tls=True)
        self.over_tls(relay, more=["smtp_never_send_ehlo = yes"])
        self.assert_bad(self.live(), "STARTTLS", "TLS is required, but was not offered",
                        self.main_cf("smtp_never_send_ehlo"))

    def test_helo_to_who_does_not_greet_as_esmtp(self):
        relay = self.relay(settings="smtpd_banner = relay.example.net mail\n")
        self.clear_text(relay,
                        options="smtp_sasl_security_options =\nsmtp_always_send_ehlo = no")
        self.assert_good(self.live(), "EHLO +ok .*by HELO.*: smtp_always_send_ehlo = no", "good")

    def test_helo_to_who_knows_no_ehlo(self):
        relay = ScriptedRelay(lambda verb, _: b"502 5.5.1 What?" if verb == "EHLO" else None)
        self.addCleanup(relay.close)
        self.set_up([f"relayhost = [127.0.0.1]:{relay.port}",
                     "smtp_tls_security_level = may"], {})
        self.assert_good(self.live("--recipient", "user@example.net"),
                         "EHLO +ok .*by HELO.*: EHLO was refused", "STARTTLS +- +not offered",
                         "RCPT +ok", "good")

    def test_a_missing_mechanism(self):
        relay = self.relay()
        self.clear_text(relay, options="smtp_sasl_mechanism_filter = plain, login")
        self.assert_bad(self.live(), "AUTH", "no mechanism available; it offers (PLAIN|LOGIN)",
                        r"smtp_sasl_security_options = noplaintext, noanonymous \(built-in default\)"
                        ": forbids what the server offers")

    def test_nobody_at_home_and_no_such_name(self):
        self.set_up(["relayhost = [127.0.0.1]:1", "smtp_fallback_relay = [nosuch.invalid]"], {})
        result = self.live()
        self.assert_bad(result, "connect", "Connection refused", self.main_cf("relayhost"))
        self.assert_bad(result, "DNS", "nosuch", self.main_cf("smtp_fallback_relay"))

    def test_a_refused_recipient(self):
        relay = self.relay(settings="smtpd_recipient_restrictions = "
                                    "check_recipient_access inline:{{bad@x.test=REJECT}}\n")
        self.clear_text(relay)
        self.assert_bad(self.live("--recipient", "bad@x.test", "--sender", "a@b.test"), "RCPT",
                        "said: 554 ", re.escape(f"{self.config}/saslpw:2: may this user"))

    def test_explain_names_every_line_and_no_secret(self):
        self.set_up(["relayhost = [smtp.myisp.com]:587",
                     "smtp_sasl_auth_enable = yes",
                     f"smtp_sasl_password_maps = hash:{self.config}/saslpw",
                     "smtp_sender_dependent_authentication = yes",
                     "smtp_sasl_tls_security_options = noanonymous",
                     "smtp_use_tls = yes",
                     f"smtp_tls_per_site = hash:{self.config}/tls_sites",
                     f"transport_maps = hash:{self.config}/transport"],
                    {"saslpw": "smtp.myisp.com myid:my:pw\nboss@mydomain.com boss:my:pw\n",
                     "tls_sites": "smtp.myisp.com MUST_NOPEERMATCH\n"
                                  "[internal-mailserver.mydomain.com] NONE\n",
                     "transport": "mydomain.com smtp:[internal-mailserver.mydomain.com]\n"})
        def explain(*arguments):
            result = self.program("explain", *arguments)
            self.assertEqual(result.returncode, 0, result.stderr)
            return result.stdout
        outside = explain("user@example.net")
        for expected in ("routed to:     [smtp.myisp.com]:587",
                         f"relayhost ({self.config}/main.cf:{self.line['relayhost']})",
                         "TLS level:     encrypt", f"{self.config}/tls_sites:1", "login:         as myid",
                         f"{self.config}/saslpw:1",
                         "smtp_sasl_tls_security_options = noanonymous "
                         f"({self.config}/main.cf:{self.line['smtp_sasl_tls_security_options']})"):
            self.assertIn(expected, outside)
        inside = explain("jsmith@mydomain.com")
        for expected in ("routed to:     [internal-mailserver.mydomain.com]",
                         f"transport_maps: {self.config}/transport:1", "TLS level:     none",
                         f"{self.config}/tls_sites:2", "login:         none"):
            self.assertIn(expected, inside)
        boss = explain("--sender", "boss@mydomain.com", "user@example.net")
        self.assertIn("routed to:     [smtp.myisp.com]:587 as boss@mydomain.com", boss)
        self.assertIn("login:         as boss", boss)
        self.assertIn(f"{self.config}/saslpw:2", boss)


if __name__ == "__main__":
    unittest.main()

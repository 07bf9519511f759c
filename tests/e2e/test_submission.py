"""Applications log in to submit: real SMTP clients, STARTTLS and implicit TLS."""
import smtplib
import ssl
import subprocess
import unittest

from harness import EndToEndTest, free_port, wait_until

MESSAGE = b"From: shop@example.com\r\nSubject: receipt\r\n\r\nThank you.\r\n"


class SubmissionLoginTest(EndToEndTest):
    def with_logins(self, configuration=""):
        relay = self.sink()
        authority = self.authority()
        certificate, key = authority.issue("submit", "DNS:localhost", "IP:127.0.0.1")
        self.tls_port = free_port()
        self.engine = self.mailrace(f"""\
relayhost = [127.0.0.1]:{relay.port}
mynetworks =
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
submission_tls_listen = 127.0.0.1:{self.tls_port}
smtpd_sasl_auth_enable = yes
smtpd_sasl_password_maps = hash:users
submission_tenant_maps = inline:{{ shop=acme }}
{configuration}
""", {"users": "shop correct horse battery staple\n"})
        self.tls = ssl.create_default_context(cafile=authority.file)
        return relay

    def test_login_behind_starttls_names_the_submitter(self):
        relay = self.with_logins()
        with smtplib.SMTP("localhost", self.engine.port) as client:
            client.ehlo()
            self.assertFalse(client.has_extn("auth"))
            client.starttls(context=self.tls)
            client.login("shop", "correct horse battery staple")
            client.sendmail("shop@example.com", ["user@example.net"], MESSAGE)
        wait_until("it is relayed", lambda: len(relay.records) == 1)
        self.engine.wait_for_log(r"sasl_method=CRAM-MD5, sasl_username=shop")
        self.assertNotIn("battery", self.engine.log)

    def test_every_mechanism_with_implicit_tls(self):
        relay = self.with_logins()
        for number, mechanism in enumerate(("CRAM-MD5", "PLAIN", "LOGIN"), 1):
            with smtplib.SMTP_SSL("localhost", self.tls_port, context=self.tls) as client:
                client.ehlo()
                self.assertFalse(client.has_extn("starttls"))
                client.user, client.password = "shop", "correct horse battery staple"
                method = getattr(client, "auth_" + mechanism.lower().replace("-", "_"))
                self.assertEqual(client.auth(mechanism, method)[0], 235)
                client.sendmail("shop@example.com", ["user@example.net"], MESSAGE)
            wait_until("it is relayed", lambda: len(relay.records) == number)

    def test_nobody_else_gets_in(self):
        self.with_logins()
        with smtplib.SMTP_SSL("localhost", self.tls_port, context=self.tls) as client:
            client.ehlo()
            client.user, client.password = "shop", "guess"
            with self.assertRaises(smtplib.SMTPAuthenticationError) as refused:
                client.auth("PLAIN", client.auth_plain)
            self.assertEqual(refused.exception.smtp_code, 535)
            code, _ = client.mail("shop@example.com")
            self.assertEqual(code, 530)
        with smtplib.SMTP("localhost", self.engine.port) as client:
            client.ehlo()
            self.assertEqual(client.mail("shop@example.com"),
                             (530, b"5.7.0 Must issue a STARTTLS command first"))
        self.engine.wait_for_log(
            r"warning: localhost\[127.0.0.1\]: SASL PLAIN authentication failed: ")

    def test_who_goes_on_guessing_is_hung_up_on(self):
        self.with_logins()
        with smtplib.SMTP_SSL("localhost", self.tls_port, context=self.tls) as client:
            # It tries each of the three mechanisms.
            with self.assertRaises(smtplib.SMTPAuthenticationError):
                client.login("shop", "guess", initial_response_ok=False)
            self.assertEqual(client.noop()[0], 421)

    def test_swaks_logs_in(self):
        relay = self.with_logins()
        result = subprocess.run(
            ["swaks", "--server", f"localhost:{self.tls_port}", "--tls-on-connect",
             "--auth", "LOGIN", "--auth-user", "shop",
             "--auth-password", "correct horse battery staple",
             "--from", "shop@example.com", "--to", "user@example.net"],
            capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        wait_until("it is relayed", lambda: len(relay.records) == 1)

    def test_a_password_file_that_others_can_read_is_refused(self):
        self.with_logins()
        self.engine.stop()
        (self.engine.config / "users").chmod(0o644)
        with self.assertRaisesRegex(AssertionError, "smtpd_sasl_password_maps: .*open to others"):
            self.engine.command("check")


if __name__ == "__main__":
    unittest.main()

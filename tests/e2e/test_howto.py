"""The two set-ups of the how-to "Implementing Upstream SMTP Authentication for Postfix",
each with a real Postfix as the provider's relay, and what the log says of them."""
import re
import subprocess
import unittest

from harness import EndToEndTest
from postfix import PostfixRelay
from smtp_recorder import SmtpRecorder

MESSAGE = b"From: app@example.com\r\nSubject: hello\r\n\r\nHello.\r\n"


class HowToTest(EndToEndTest):
    def setUp(self):
        super().setUp()
        self.recorder = SmtpRecorder()
        self.addCleanup(self.recorder.close)
        self.ca = self.authority()

    def relay(self, names=None, **options):
        """The provider. `names`: of its certificate; None: it has no TLS."""
        if names is not None:
            options["certificate"] = self.ca.issue("relay", *names)
        relay = PostfixRelay(self.directory / "relay", self.recorder.port, **options)
        self.on_failure_show("postfix log", lambda: relay.log)
        self.addCleanup(relay.stop)
        return relay.start()

    def clear_text(self, relay, options="smtp_sasl_security_options ="):
        """The how-to's chapter "SMTP AUTH in Clear-Text", word for word but the names."""
        config = self.directory / "mailrace" / "config"
        return self.mailrace(
            f"relayhost = [localhost]:{relay.port}\n"
            "smtp_sasl_auth_enable = yes\n"
            f"smtp_sasl_password_maps = hash:{config}/saslpw\n"
            f"{options}\n",
            {"saslpw": f"[localhost]:{relay.port} {relay.USER}:{relay.PASSWORD}\n"})

    def over_tls(self, relay, policy, extra=""):
        """The chapter "SMTP AUTH over TLS"."""
        config = self.directory / "mailrace" / "config"
        client = config / "tls" / "smtp-client.pem"
        client.parent.mkdir(parents=True)
        subprocess.run(["openssl", "req", "-new", "-x509", "-nodes", "-out", client, "-keyout",
                        client, "-days", "10000", "-subj", "/CN=client.example.com"],
                       check=True, capture_output=True)
        client.chmod(0o600)
        return self.mailrace(
            f"relayhost = [localhost]:{relay.port}\n"
            "smtp_sasl_auth_enable = yes\n"
            f"smtp_sasl_password_maps = hash:{config}/saslpw\n"
            "smtp_sasl_security_options =\n"
            "smtp_use_tls = yes\n"
            f"smtp_tls_cert_file = {client}\n"
            "smtp_tls_key_file = $smtp_tls_cert_file\n"
            f"smtp_tls_CAfile = {self.ca.file}\n"
            "smtp_sasl_tls_security_options = $smtp_sasl_security_options\n"
            "smtp_sasl_tls_verified_security_options = $smtp_sasl_security_options\n"
            "tls_random_source = dev:/dev/urandom\n"
            "# tls_random_bytes = 32\n"
            "# tls_random_reseed_period = 3600s\n"
            "# tls_random_upd_period = 60s\n"
            "smtp_tls_loglevel = 2\n"
            f"smtp_tls_per_site = hash:{config}/tls/tls_sites\n"
            f"{extra}\n",
            {"saslpw": f"localhost {relay.USER}:{relay.PASSWORD}\n",
             "tls/tls_sites": f"internal-mailserver.example.com NONE\nlocalhost {policy}\n"})

    def assert_stays_deferred(self, mailrace, queue_id, code, text):
        line = mailrace.wait_for_log(
            rf"postfix/smtp\[\d+\]: {queue_id}: to=<user@example\.net>, .*"
            rf"dsn={re.escape(code)}, status=deferred \(.*{text}")
        self.assertEqual(mailrace.stats()["queue"]["total"], 1)
        self.assertEqual(self.recorder.messages, [])
        self.assertNotIn("status=bounced", mailrace.log)
        return line

    def test_auth_in_clear_text(self):
        relay = self.relay()
        mailrace = self.clear_text(relay)
        queue_id = mailrace.submit(MESSAGE)
        [message] = self.recorder.wait_for(1)
        # "The header of the received message should include some indicator from your
        # ISP's mail server that the message was submitted with the credentials".
        self.assertIn(b"(Authenticated sender: myid", message.content)
        self.assertEqual(message.reverse_path, "app@example.com")
        mailrace.wait_for_log(rf"^\w{{3}} [ \d]\d \d\d:\d\d:\d\d \S+ postfix/smtp\[\d+\]: "
                              rf"{queue_id}: to=<user@example\.net>, "
                              rf"relay=localhost\[127\.0\.0\.1\]:{relay.port}, "
                              r"delay=[\d.]+, delays=[\d.]+/[\d.]+/[\d.]+/[\d.]+, dsn=2\.0\.0, "
                              r"status=sent \(250 2\.0\.0 Ok: queued as \w+\)$")
        mailrace.wait_for_log(rf"postfix/qmgr\[\d+\]: {queue_id}: removed$")
        self.assertNotIn(relay.PASSWORD, mailrace.log)

    def test_the_seeds_own_log_line(self):
        relay = self.relay()
        mailrace = self.clear_text(relay, "smtp_sasl_security_options =\n"
                                          "log_format = postfix2.2")
        queue_id = mailrace.submit(MESSAGE)
        mailrace.wait_for_log(rf": {queue_id}: to=<user@example\.net>, "
                              r"relay=localhost\[127\.0\.0\.1\], delay=\d+, "
                              r"status=sent \(250 2\.0\.0 Ok: queued as \w+\)$")

    def test_without_the_empty_security_options_a_password_does_not_go_in_clear(self):
        relay = self.relay()
        mailrace = self.clear_text(relay, options="")
        queue_id = mailrace.submit(MESSAGE)
        self.assert_stays_deferred(mailrace, queue_id, "4.7.0",
                                   r"SASL authentication failed; cannot authenticate to server "
                                   r"localhost\[127\.0\.0\.1\]: no mechanism available\)")
        self.assertNotIn("sasl_method", relay.log)

    def test_a_wrong_password_defers(self):
        relay = self.relay()
        mailrace = self.clear_text(relay)
        # Corrected by the administrator: the deferred mail goes out.
        right = (mailrace.config / "saslpw").read_text()
        mailrace.stop()
        (mailrace.config / "saslpw").write_text(right.replace(relay.PASSWORD, "wrong"))
        mailrace.start()
        queue_id = mailrace.submit(MESSAGE)
        self.assert_stays_deferred(
            mailrace, queue_id, "4.7.8",
            r"SASL authentication failed; server localhost\[127\.0\.0\.1\] said: 535 ")
        mailrace.stop()
        (mailrace.config / "saslpw").write_text(right)
        mailrace.start()
        self.recorder.wait_for(1)

    def test_tls_with_must_verifies_the_name(self):
        relay = self.relay(["DNS:localhost"], require_tls=True)
        mailrace = self.over_tls(relay, "MUST")
        queue_id = mailrace.submit(MESSAGE)
        [message] = self.recorder.wait_for(1)
        self.assertIn(b"(Authenticated sender: myid", message.content)
        self.assertRegex(message.content, rb"using TLSv1\.3 with cipher")
        # The how-to's client certificate was shown.
        self.assertIn(b'Client CN "client.example.com"', message.content)
        mailrace.wait_for_log(
            r"postfix/smtp\[\d+\]: Verified TLS connection established to "
            rf"localhost\[127\.0\.0\.1\]:{relay.port}: TLSv1\.3 with cipher "
            r"TLS_AES_\w+ \(\d+/\d+ bits\)")
        mailrace.wait_for_log(rf": {queue_id}: to=<user@example\.net>, .*, delays=[\d./]+, "
                              r"tls=verify, dsn=2\.0\.0, status=sent \(250 ")
        # smtp_tls_loglevel = 2.
        self.assertRegex(mailrace.log, r"setting up TLS connection to localhost")
        self.assertRegex(mailrace.log, r': TLS cipher list "aNULL:-aNULL:\S+"')
        self.assertRegex(mailrace.log, r"looking for session smtp&\[localhost\]:\d+&localhost&")

    def test_must_with_a_wrong_name_defers(self):
        relay = self.relay(["DNS:someone-else.example"], require_tls=True)
        mailrace = self.over_tls(relay, "MUST")
        queue_id = mailrace.submit(MESSAGE)
        self.assert_stays_deferred(mailrace, queue_id, "4.7.5",
                                   r"Server certificate not verified\)")
        self.assertRegex(mailrace.log, rf": {queue_id}: .*, tls=!verify, dsn=4\.7\.5, ")
        # Nobody who cannot prove his name hears a password.
        self.assertNotIn("sasl_method", relay.log)

    def test_must_with_an_unknown_authority_defers(self):
        relay = self.relay(["DNS:localhost"], require_tls=True)
        mailrace = self.over_tls(relay, "MUST",
                                 "smtp_tls_CAfile = /etc/ssl/certs/ca-certificates.crt")
        queue_id = mailrace.submit(MESSAGE)
        self.assert_stays_deferred(mailrace, queue_id, "4.7.5",
                                   r"Server certificate not verified\)")

    def test_must_nopeermatch_delivers_whatever_the_name(self):
        relay = self.relay(["DNS:someone-else.example"], require_tls=True)
        mailrace = self.over_tls(relay, "MUST_NOPEERMATCH")
        mailrace.submit(MESSAGE)
        self.recorder.wait_for(1)
        mailrace.wait_for_log(r"(Trusted|Untrusted) TLS connection established to localhost")
        self.assertNotIn("Verified TLS", mailrace.log)

    def test_must_without_starttls_defers(self):
        relay = self.relay()
        mailrace = self.over_tls(relay, "MUST")
        queue_id = mailrace.submit(MESSAGE)
        self.assert_stays_deferred(mailrace, queue_id, "4.7.4",
                                   r"TLS is required, but was not offered by host localhost")
        self.assertNotIn("sasl_method", relay.log)

    def test_none_speaks_clear_text_to_a_relay_that_offers_tls(self):
        relay = self.relay(["DNS:localhost"])
        mailrace = self.over_tls(relay, "NONE", "smtp_tls_note_starttls_offer = yes")
        mailrace.submit(MESSAGE)
        [message] = self.recorder.wait_for(1)
        mailrace.wait_for_log(r"postfix/smtp\[\d+\]: Host offered STARTTLS: \[localhost\]$")
        self.assertNotIn("tls=", mailrace.log)
        self.assertIn(b"(Authenticated sender: myid", message.content)
        self.assertNotIn(b"using TLS", message.content)

    def test_may_uses_tls_where_it_is_offered(self):
        relay = self.relay(["DNS:localhost"])
        mailrace = self.over_tls(relay, "MAY")
        mailrace.submit(MESSAGE)
        [message] = self.recorder.wait_for(1)
        self.assertIn(b"using TLSv1.3", message.content)
        mailrace.wait_for_log(r"Trusted TLS connection established to localhost")
        mailrace.wait_for_log(r", tls=may, dsn=2\.0\.0, status=sent ")

    def test_may_goes_on_in_clear_where_tls_is_not_offered(self):
        relay = self.relay()
        mailrace = self.over_tls(relay, "MAY")
        mailrace.submit(MESSAGE)
        self.recorder.wait_for(1)
        mailrace.wait_for_log(r", tls=may:none, dsn=2\.0\.0, status=sent ")

    def test_the_old_style_says_that_the_tls_engine_starts(self):
        relay = self.relay(["DNS:localhost"], require_tls=True)
        mailrace = self.over_tls(relay, "MUST_NOPEERMATCH", "log_format = postfix2.2")
        mailrace.submit(MESSAGE)
        self.recorder.wait_for(1)
        mailrace.wait_for_log(r"postfix/smtp\[\d+\]: starting TLS engine$")
        mailrace.wait_for_log(r"TLS connection established to localhost: TLSv1\.3 with cipher ")

    def test_every_mechanism_that_cyrus_and_we_share(self):
        for mechanism in ("LOGIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"):
            with self.subTest(mechanism):
                self.check_mechanism(mechanism)

    def check_mechanism(self, mechanism):
        directory = self.directory / mechanism
        relay = PostfixRelay(directory, self.recorder.port, mechanisms=mechanism)
        self.addCleanup(relay.stop)
        relay.start()
        before = len(self.recorder.messages)
        mailrace = self.clear_text(relay)
        mailrace.submit(MESSAGE)
        try:
            self.recorder.wait_for(before + 1)
            relay.wait_for_log(rf"sasl_method={mechanism}, sasl_username=myid@")
        finally:
            mailrace.stop()


if __name__ == "__main__":
    unittest.main()

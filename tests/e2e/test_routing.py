"""Mail that takes different ways: the how-to's internal server beside the provider, senders
with providers and logins of their own, transports that ask no server."""
import unittest

from harness import EndToEndTest
from postfix import PostfixRelay
from smtp_recorder import SmtpRecorder

MESSAGE = b"From: app@example.com\r\nSubject: hello\r\n\r\nHello.\r\n"


class RoutingTest(EndToEndTest):
    def setUp(self):
        super().setUp()
        self.upstream = SmtpRecorder()  # Behind the provider's relay.
        self.internal = SmtpRecorder()
        self.addCleanup(self.upstream.close)
        self.addCleanup(self.internal.close)
        self.ca = self.authority()

    def provider(self, name="relay", **options):
        relay = PostfixRelay(self.directory / name, self.upstream.port,
                             certificate=self.ca.issue(name, "DNS:localhost"), require_tls=True,
                             **options)
        self.on_failure_show(f"{name}'s log", lambda: relay.log)
        self.addCleanup(relay.stop)
        return relay.start()

    def configure(self, relay, extra, files=None):
        config = self.directory / "mailrace" / "config"
        tables = {"saslpw": f"[localhost]:{relay.port} {relay.USER}:{relay.PASSWORD}\n"}
        tables.update(files or {})
        return self.mailrace(
            f"relayhost = [localhost]:{relay.port}\n"
            "smtp_sasl_auth_enable = yes\n"
            f"smtp_sasl_password_maps = hash:{config}/saslpw\n"
            "smtp_sasl_security_options =\n"
            "smtp_use_tls = yes\n"
            f"smtp_tls_CAfile = {self.ca.file}\n" + extra.replace("CONFIG", str(config)), tables)

    def test_the_how_tos_internal_server_beside_the_provider(self):
        relay = self.provider()
        internal = f"[127.0.0.1]:{self.internal.port}"
        mailrace = self.configure(
            relay,
            "transport_maps = hash:CONFIG/transport\n"
            "smtp_tls_per_site = hash:CONFIG/tls_sites\n",
            {"transport": f"mydomain.com smtp:{internal}\n.mydomain.com smtp:{internal}\n",
             "tls_sites": f"{internal} NONE\n[localhost]:{relay.port} MUST\n"})
        inside = mailrace.submit(MESSAGE, recipients=["jsmith@mydomain.com"])
        below = mailrace.submit(MESSAGE, recipients=["x@sub.mydomain.com"])
        outside = mailrace.submit(MESSAGE, recipients=["user@example.net"])
        [message] = self.upstream.wait_for(1)
        self.assertIn(b"(Authenticated sender: myid", message.content)
        self.assertEqual(message.recipients, ["user@example.net"])
        self.assertEqual(sorted(m.recipients[0] for m in self.internal.wait_for(2)),
                         ["jsmith@mydomain.com", "x@sub.mydomain.com"])
        for queue_id in (inside, below):
            line = mailrace.wait_for_log(rf": {queue_id}: to=<.*relay=127\.0\.0\.1\[127\.0\.0\.1\]:"
                                         rf"{self.internal.port}, .*status=sent")
            self.assertNotIn("tls=", line.group())
        mailrace.wait_for_log(rf": {outside}: to=<user@example\.net>, relay=localhost\[127\.0\.0\.1\]"
                              rf":{relay.port}, .*tls=verify, dsn=2\.0\.0, status=sent")

    def test_error_and_discard_ask_nobody(self):
        relay = self.provider()
        mailrace = self.configure(
            relay, "transport_maps = inline:{ {gone.test = error:5.1.2 gone for good} "
                   "{void.test = discard:} }\n")
        gone = mailrace.submit(MESSAGE, recipients=["a@gone.test"])
        void = mailrace.submit(MESSAGE, recipients=["a@void.test"])
        mailrace.wait_for_log(rf"postfix/error\[\d+\]: {gone}: to=<a@gone\.test>, relay=none, .*"
                              r"dsn=5\.1\.2, status=bounced \(gone for good\)")
        mailrace.wait_for_log(rf"postfix/discard\[\d+\]: {void}: to=<a@void\.test>, relay=none, .*"
                              r"dsn=2\.0\.0, status=sent")
        [notice] = self.upstream.wait_for(1)
        self.assertEqual(notice.reverse_path, "")
        self.assertIn(b"Status: 5.1.2", notice.content)

    def test_senders_have_their_own_logins_and_never_share_a_session(self):
        relay = self.provider(users={"alice": "alicepw", "bob": "bobpw"})
        mailrace = self.configure(
            relay,
            "smtp_sender_dependent_authentication = yes\n"
            "smtp_connection_cache_time_limit = 30s\n"
            "smtp_sasl_tls_security_options = noanonymous\n",
            {"saslpw": f"alice@a.test alice:alicepw\n@b.test bob:bobpw\n"
                       f"[localhost]:{relay.port} {relay.USER}:{relay.PASSWORD}\n"})
        for sender, user in (("alice@a.test", b"alice"), ("x@b.test", b"bob"),
                             ("y@b.test", b"bob"), ("other@c.test", b"myid"),
                             ("alice@a.test", b"alice")):
            before = len(self.upstream.messages)
            mailrace.submit(MESSAGE, sender=sender)
            message = self.upstream.wait_for(before + 1)[-1]
            self.assertIn(b"(Authenticated sender: " + user + b"@", message.content)
        self.assertRegex(mailrace.log, r"conn_use=2")


if __name__ == "__main__":
    unittest.main()

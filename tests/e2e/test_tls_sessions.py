"""TLS sessions are used again, judged each time, and do not outlive what they were trusted by."""
import unittest

from harness import CertificateAuthority, EndToEndTest, wait_until

MESSAGE = b"From: app@example.com\r\nX-Mailrace-Id: %s\r\nSubject: hello\r\n\r\nHello.\r\n"


class TlsSessionsTest(EndToEndTest):
    def setUp(self):
        super().setUp()
        certificate, key = self.authority().issue("relay", "DNS:localhost")
        self.relay = self.sink("--tls", "--cert", certificate, "--key", key)
        self.engine = self.mailrace(self.configuration(self.directory / "ca" / "ca.pem"))

    def configuration(self, ca_file, level="verify"):
        # A connection for each message, and one shard: sessions are a shard's own.
        return (f"relayhost = [localhost]:{self.relay.port}\nengine_shards = 1\n"
                "smtp_connection_cache_on_demand = no\nsmtp_tls_loglevel = 1\n"
                f"smtp_tls_security_level = {level}\nsmtp_tls_CAfile = {ca_file}\n")

    def reload(self, configuration):
        self.engine.configure(configuration)
        self.engine.reload()

    def send(self, name):
        queue_id = self.engine.submit(MESSAGE % name.encode())
        return self.engine.wait_for_log(rf"{queue_id}: to=.* status=(\w+) (.*)")

    def assert_handshakes(self, handshakes, resumed):
        totals = self.relay.totals()
        self.assertEqual((totals["tls_handshakes"], totals["tls_resumed"]), (handshakes, resumed))

    def test_a_session_is_used_again_and_verified_again(self):
        for name in ("one", "two", "three"):
            self.assertEqual(self.send(name).group(1), "sent")
        wait_until("each handshake is in the log", lambda: self.engine.log.count(
            "Verified TLS connection established to localhost") == 3)
        self.assert_handshakes(3, 2)

    def test_one_trusted_by_an_authority_that_was_dropped_is_not_used(self):
        self.assertEqual(self.send("one").group(1), "sent")
        other = CertificateAuthority(self.directory / "other")
        self.reload(self.configuration(other.file))
        self.assertEqual(self.send("two").group(1), "deferred")
        self.assertEqual(len(self.relay.delivered()), 1)
        # Refused by us, and at each try by a whole handshake.
        self.assertEqual(self.relay.totals()["tls_resumed"], 0)

    def test_one_that_nobody_verified_vouches_for_nothing(self):
        other = CertificateAuthority(self.directory / "other")
        self.reload(self.configuration(other.file, "encrypt"))
        self.assertEqual(self.send("one").group(1), "sent")
        self.reload(self.configuration(other.file, "verify"))
        self.assertEqual(self.send("two").group(1), "deferred")
        self.assertEqual(len(self.relay.delivered()), 1)


if __name__ == "__main__":
    unittest.main()

"""Messages streamed by BDAT to a real Postfix, which is strict about who speaks out of turn."""
import signal
import unittest

from harness import EndToEndTest, free_port, wait_until
from postfix import PostfixRelay

COUNT = 200


class StreamingTest(EndToEndTest):
    def test_postfix_takes_a_stream_and_every_message_once(self):
        sink = self.sink()
        relay = PostfixRelay(self.directory / "relay", sink.port, require_auth=False,
                             settings="smtpd_forbid_unauth_pipelining = yes\n"
                                      "smtpd_client_message_rate_limit = 0\n")
        relay.start()
        self.on_failure_show("postfix log", lambda: relay.log)
        self.addCleanup(relay.stop)
        settings = (f"relayhost = [127.0.0.1]:{relay.port}\nengine_shards = 1\n"
                    "default_destination_concurrency_limit = 1\n"
                    "initial_destination_concurrency = 1\nsmtp_bdat_window = 32\n")
        engine = self.mailrace(settings + "defer_transports = smtp\n", port=free_port())
        blast = self.blast(engine.port, "--messages", COUNT, "--connections", 4)
        self.assertEqual(blast.wait(), 0, blast.output)
        engine.configure(settings)
        engine.program.process.send_signal(signal.SIGHUP)
        wait_until("all is delivered", lambda: len(sink.delivered()) >= COUNT)
        engine.wait_until_empty()
        delivered = [one for one, _ in sink.delivered()]
        self.assertEqual(sorted(delivered), sorted(set(delivered)))
        self.assertEqual(len(delivered), COUNT)
        # One session with BDAT, as Postfix counts when it ends.
        relay.wait_for_log(r"disconnect from .* bdat=\d\d")
        self.assertNotRegex(relay.log, "synchronization|improper command")
        self.assertNotIn("spoken to ahead", engine.log)
        self.assertNotIn("status=deferred", engine.log)


if __name__ == "__main__":
    unittest.main()

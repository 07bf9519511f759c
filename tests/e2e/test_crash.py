"""What was acknowledged survives: kill -9 under load, and restart."""
import pathlib
import sys
import unittest

from harness import EndToEndTest, wait_until

sys.path.append(str(pathlib.Path(__file__).parents[1] / "torture"))
import oracle  # noqa: E402


class CrashTest(EndToEndTest):
    def assert_nothing_lost(self, acknowledged, sink):
        delivered = sink.delivered()
        verdict = oracle.judge(oracle.Evidence(acknowledged, delivered))
        self.assertEqual(verdict.breaches, [])
        return delivered

    def test_kill_nine_under_load_loses_nothing(self):
        # Two connections to a relay of 50 ms a reply carry some tens of messages a second at
        # most, however fast the machine: a queue is there to be lost.
        sink = self.sink("--reply-delay", "50")
        relay = f"relayhost = [127.0.0.1]:{sink.port}\n"
        mailrace = self.mailrace(relay + "default_destination_concurrency_limit = 2\n")
        blast = self.blast(mailrace.port, "--connections", "8", "--messages", "100000",
                           "--recipients", "2", "--stop-after-errors", "1")
        wait_until("2000 recipients are acknowledged", lambda: len(blast.acknowledged()) >= 2000)
        mailrace.kill()
        self.assertNotEqual(blast.wait(), 0)
        acknowledged = blast.acknowledged()
        self.assertGreater(len(set(acknowledged) - set(sink.delivered())), 0,
                           "the queue was empty: this test has shown nothing")
        mailrace.configure(relay)
        mailrace.start()
        mailrace.wait_until_empty()
        self.assert_nothing_lost(acknowledged, sink)

    def test_killed_again_and_again_while_it_recovers(self):
        sink = self.sink("--reply-delay", "5")
        mailrace = self.mailrace(f"relayhost = [127.0.0.1]:{sink.port}\n"
                                 "defer_transports = smtp\n")
        blast = self.blast(mailrace.port, "--connections", "4", "--messages", "2000")
        self.assertEqual(blast.wait(), 0, blast.output)
        mailrace.configure(f"relayhost = [127.0.0.1]:{sink.port}\n")
        for kill in range(4):
            mailrace.kill()
            mailrace.start()
            before = len(sink.records)
            wait_until("some were delivered", lambda: len(sink.records) >= before + 100)
        mailrace.wait_until_empty()
        delivered = self.assert_nothing_lost(blast.acknowledged(), sink)
        # Only what was in flight at a kill may come twice.
        duplicates = len(delivered) - len(set(delivered))
        self.assertLess(duplicates, 1000)

    def test_a_clean_stop_duplicates_nothing(self):
        sink = self.sink("--reply-delay", "5")
        mailrace = self.mailrace(f"relayhost = [127.0.0.1]:{sink.port}\n")
        blast = self.blast(mailrace.port, "--connections", "4", "--messages", "2000")
        wait_until("some were delivered", lambda: len(sink.records) >= 100)
        self.assertEqual(blast.wait(), 0, blast.output)
        mailrace.stop()
        mailrace.start()
        mailrace.wait_until_empty()
        delivered = self.assert_nothing_lost(blast.acknowledged(), sink)
        self.assertEqual(len(delivered), len(set(delivered)))

    def test_a_second_instance_on_the_same_queue_is_refused(self):
        sink = self.sink()
        mailrace = self.mailrace(f"relayhost = [127.0.0.1]:{sink.port}\n")
        first = mailrace.program
        with self.assertRaisesRegex(AssertionError, "ended with 69"):
            mailrace.start()
        mailrace.program = first
        mailrace.submit(b"Subject: still here\r\n\r\nyes\r\n")
        wait_until("it was delivered", lambda: len(sink.records) == 1)


if __name__ == "__main__":
    unittest.main()

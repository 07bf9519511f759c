"""Urgent mail does not wait behind a campaign, and tenants share a relay by weight: in
the order in which a relay takes their mail."""
import json
import signal
import unittest

from harness import EndToEndTest, free_port, wait_until

CAMPAIGN = 400
ONE_SESSION = """\
engine_shards = 1
initial_destination_concurrency = 1
default_destination_concurrency_limit = 1
"""


def message(name, *fields):
    lines = [*fields, "From: app@example.com", f"X-Mailrace-Id: {name}", "Subject: hello"]
    return ("\r\n".join(lines) + "\r\n\r\nHello.\r\n").encode()


class ClassTest(EndToEndTest):
    def ids(self):
        return [record["id"] for record in self.slow.records]

    def order_of_senders(self):
        return [record["reverse_path"].partition("@")[2] for record in self.slow.records]

    def with_slow_relay(self, configuration, files=None, relay=("--without", "CHUNKING")):
        """One session with a relay that needs 20 ms for each reply."""
        self.slow = self.sink("--reply-delay", "20", "--store", str(self.directory / "store"),
                              *relay)
        self.engine = self.mailrace(f"relayhost = [127.0.0.1]:{self.slow.port}\n"
                                    f"{ONE_SESSION}{configuration}\n", files)

    def begin_campaign(self, *options):
        """A campaign whose delivery has begun and is far from its end."""
        blast = self.blast(self.engine.port, "--messages", CAMPAIGN, "--run", "campaign",
                           "--connections", "4", "--size", "500", *options)
        self.assertEqual(blast.wait(), 0, blast.output)
        wait_until("the campaign is under way", lambda: len(self.slow.records) >= 10)

    def assert_overtakes(self, name):
        """The message `name`, acknowledged just now, is soon at the relay."""
        delivered = len(self.slow.records)
        self.assertLess(delivered, CAMPAIGN - 50, "the relay was too fast for this test")
        wait_until(f"{name} is delivered", lambda: name in self.ids())
        # One on the wire, one whose envelope went out with its end, and one that the
        # record shows later than the reply.
        self.assertLessEqual(self.ids().index(name), delivered + 3)

    def test_by_listener(self):
        bulk, urgent = free_port(), free_port()
        self.with_slow_relay(f"submission_listen = 127.0.0.1:{bulk}, 127.0.0.1:{urgent}\n"
                             f"submission_class_maps = inline:{{ 127.0.0.1:{bulk}=bulk, "
                             f":{urgent}=urgent }}")
        self.assertEqual(self.engine.port, bulk)
        self.begin_campaign()
        self.engine.port = urgent
        for name in ("reset-1", "reset-2"):
            self.engine.submit(message(name))
            self.assert_overtakes(name)
        # The relay's record runs ahead of our knowledge of its reply.
        wait_until("the engine knows of both",
                   lambda: self.engine.stats()["delivered_urgent"] == 2)
        stats = self.engine.stats()
        self.assertEqual((stats["accepted_urgent"], stats["accepted_bulk"]), (2, CAMPAIGN))
        times = stats["shards"][0]["microseconds"]
        self.assertEqual(times["queue_urgent"]["count"], 2)
        self.assertLess(times["queue_urgent"]["mean"], times["queue_bulk"]["mean"])

    def test_in_a_stream_it_waits_for_what_is_under_way_and_no_more(self):
        settings = ("default_message_class = bulk\n"
                    "submission_class_maps = inline:{ reset@shop.example=urgent }\n")
        self.with_slow_relay(settings + "defer_transports = smtp", relay=())
        blast = self.blast(self.engine.port, "--messages", CAMPAIGN, "--run", "campaign",
                           "--connections", "4", "--size", "500")
        self.assertEqual(blast.wait(), 0, blast.output)
        self.engine.submit(message("reset"), sender="reset@shop.example")
        self.engine.configure(f"relayhost = [127.0.0.1]:{self.slow.port}\n"
                              f"{ONE_SESSION}{settings}")
        self.engine.program.process.send_signal(signal.SIGHUP)
        self.engine.wait_until_empty()
        # At most so many were taken before all of the queue was back in memory.
        self.assertLessEqual(self.ids().index("reset"), 32 + 3)
        self.assertEqual(len(set(self.ids())), CAMPAIGN + 1)

    def test_by_sender_and_by_domain(self):
        self.with_slow_relay("default_message_class = bulk\n"
                             "submission_class_maps = hash:classes",
                             {"classes": "reset@shop.example urgent\n@code.example urgent\n"})
        self.begin_campaign()
        self.engine.submit(message("reset"), sender="Reset@shop.example")
        self.assert_overtakes("reset")
        self.engine.submit(message("code"), sender="anybody@code.example")
        self.assert_overtakes("code")

    def test_by_header_which_the_relay_does_not_see(self):
        self.with_slow_relay("default_message_class = bulk\n"
                             "message_class_header = X-Mailrace-Class")
        self.begin_campaign()
        self.engine.submit(message("reset", "X-Mailrace-Class: urgent"))
        self.assert_overtakes("reset")
        record = next(record for record in self.slow.records if record["id"] == "reset")
        content = (self.directory / "store" / record["file"]).read_bytes()
        self.assertNotIn(b"X-Mailrace-Class", content)
        self.assertIn(b"\r\nFrom: app@example.com\r\nX-Mailrace-Id: reset\r\n", content)

    def test_an_unknown_class_is_said_and_delivered(self):
        self.with_slow_relay("message_class_header = X-Mailrace-Class")
        queue_id = self.engine.submit(message("one", "X-Mailrace-Class: now"))
        self.engine.wait_for_log(rf'{queue_id}: X-Mailrace-Class: unknown class "now", ignored')
        wait_until("it is delivered", lambda: self.ids() == ["one"])

    def test_tenants_share_by_weight_and_a_restart_keeps_them(self):
        tenants = ("submission_tenant_maps = inline:{ @acme.example=acme, @bolt.example=bolt }\n"
                   "tenant_weights = inline:{ acme=3 }\n")
        self.with_slow_relay(f"{tenants}defer_transports = smtp")
        for sender in ("bolt", "acme"):
            blast = self.blast(self.engine.port, "--messages", 90, "--run", sender, "--from",
                               f"app@{sender}.example", "--connections", "4", "--size", "500")
            self.assertEqual(blast.wait(), 0, blast.output)
        relay = f"relayhost = [127.0.0.1]:{self.slow.port}\n{ONE_SESSION}"
        self.engine.stop()
        self.engine.configure(f"{relay}{tenants}")
        self.engine.start()
        self.engine.wait_until_empty()
        order = self.order_of_senders()
        self.assertEqual(len(order), 180)
        for taken in (40, 80):
            acme = order[:taken].count("acme.example")
            self.assertLessEqual(abs(acme - 0.75 * taken), 4, json.dumps(order))

    def test_no_more_shards_than_sessions_keep_a_limit(self):
        self.with_slow_relay("engine_shards = 2")
        self.assertEqual(len(self.engine.stats()["shards"]), 1)
        self.engine.wait_for_log(r"engine_shards = 2, 1 started: as many as can share the limits")
        self.begin_campaign()
        wait_until("the campaign is over", lambda: len(self.slow.records) == CAMPAIGN)
        # A session at a time; a new one only where the old one ended.
        sessions = [record["session"] for record in self.slow.records]
        self.assertEqual(sessions, sorted(sessions))

    def test_new_weights_count_after_a_reload(self):
        tenants = "submission_tenant_maps = inline:{ @acme.example=acme, @bolt.example=bolt }\n"
        self.with_slow_relay(f"{tenants}defer_transports = smtp")
        relay = f"relayhost = [127.0.0.1]:{self.slow.port}\n{ONE_SESSION}"
        for sender in ("bolt", "acme"):
            blast = self.blast(self.engine.port, "--messages", 60, "--run", sender, "--from",
                               f"app@{sender}.example", "--connections", "4", "--size", "500")
            self.assertEqual(blast.wait(), 0, blast.output)
        self.engine.configure(f"{relay}{tenants}tenant_weights = inline:{{ bolt=4 }}\n")
        self.engine.program.process.send_signal(signal.SIGHUP)
        self.engine.wait_until_empty()
        order = self.order_of_senders()
        self.assertLessEqual(abs(order[:50].count("bolt.example") - 40), 4, json.dumps(order))


if __name__ == "__main__":
    unittest.main()

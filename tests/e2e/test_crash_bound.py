"""After a kill the start says who may get their mail twice: exactly those whose final dot
was out and whose outcome was not on the disk; and nobody else gets it twice."""
import collections
import re
import unittest

from harness import EndToEndTest, wait_until
from smtp_recorder import SmtpRecorder

BOUND = r"start: (\d+) recipients(?: of (\d+) messages)? may be delivered twice(?:: ([^;\n]*))?"


def bounds(engine):
    """What each start so far said: (recipients, {ids})."""
    return [(int(recipients), set(re.findall(r"[0-9A-F]{15}", ids)))
            for recipients, _, ids in re.findall(BOUND, engine.log)]


class CrashBoundTest(EndToEndTest):
    def setUp(self):
        super().setUp()
        self.relay = SmtpRecorder()
        self.addCleanup(self.relay.close)

    def configuration(self, more=""):
        # Two sessions: when two messages wait for their reply nothing else can be on its way.
        return (f"relayhost = [127.0.0.1]:{self.relay.port}\n"
                f"default_destination_concurrency_limit = 2\n{more}")

    def queue_ids_seen(self):
        return [re.search(rb"\sid ([0-9A-F]{15})", message.content).group(1).decode()
                for message in self.relay.messages]

    def kill_with_two_in_doubt(self):
        """An engine killed while the relay holds back the replies to two messages."""
        self.relay.replies.clear()
        engine = self.mailrace(self.configuration())
        for n in range(6):
            engine.submit(b"Subject: %d\r\n\r\nhello\r\n" % n,
                          recipients=("a@example.net", "b@example.net"))
        self.relay.wait_for(2)
        self.assertEqual(engine.stats()["possible_duplicates"], 4)
        engine.kill()
        return engine, set(self.queue_ids_seen())

    def test_exactly_those_in_doubt_are_named(self):
        engine, in_doubt = self.kill_with_two_in_doubt()
        self.relay.replies.set()
        engine.start()
        wait_until("the start says so", lambda: bounds(engine) == [(0, set()), (4, in_doubt)])
        for queue_id in in_doubt:
            engine.wait_for_log(rf"{queue_id}: to=<a@example\.net>, to=<b@example\.net>: "
                                "message may be sent more than once")
        at_start = engine.stats()["possible_duplicates_at_start"]
        self.assertEqual((at_start["recipients"], set(at_start["ids"]), at_start["exact"]),
                         (4, in_doubt, True))
        engine.wait_until_empty()
        seen = collections.Counter(self.queue_ids_seen())
        self.assertEqual({queue_id for queue_id, times in seen.items() if times > 1}, in_doubt)
        self.assertEqual(len(seen), 6)

    def test_a_second_kill_does_not_hide_what_the_first_one_left(self):
        engine, in_doubt = self.kill_with_two_in_doubt()
        engine.configure(self.configuration("defer_transports = smtp"))
        for _ in range(2):
            engine.start()
            engine.kill()
        engine.start()
        wait_until("the start says so", lambda: bounds(engine)[1:] == [(4, in_doubt)] * 3)
        engine.stop()
        self.relay.replies.set()
        engine.configure(self.configuration())
        engine.start()
        engine.wait_until_empty()
        engine.stop()
        engine.start()
        wait_until("the start says so", lambda: bounds(engine)[-1:] == [(0, set())])

    def test_a_clean_stop_leaves_nothing_in_doubt_and_no_journal(self):
        engine = self.mailrace(self.configuration())
        for n in range(6):
            engine.submit(b"Subject: %d\r\n\r\nhello\r\n" % n)
        self.relay.wait_for(6)
        engine.stop()
        names = {path.name for path in (engine.directory / "queue").iterdir()}
        self.assertEqual(names, {"lock", "marker", "queue"})
        engine.start()
        wait_until("the start says so", lambda: bounds(engine) == [(0, set())] * 2)

    def test_a_newer_journal_is_refused_with_its_name(self):
        engine, _ = self.kill_with_two_in_doubt()
        journal = engine.directory / "queue" / "flight.0"
        content = bytearray(journal.read_bytes())
        content[8] = 9
        journal.write_bytes(content)
        with self.assertRaisesRegex(AssertionError, r"ended with 69(?s:.*)flight\.0: .*format 9, "
                                                    r".*knows formats up to 1"):
            engine.start()
        self.assertEqual(journal.read_bytes(), content)

    def test_after_a_power_cut_the_start_says_that_the_list_may_be_old(self):
        engine, in_doubt = self.kill_with_two_in_doubt()
        # As another boot of the machine would find it: the boot's id is not ours.
        for journal in (engine.directory / "queue").glob("flight.*"):
            content = bytearray(journal.read_bytes())
            content[16:32] = bytes(16)
            content[32:36] = crc32c(content[:32]).to_bytes(4, "little")
            journal.write_bytes(content)
        self.relay.replies.set()
        engine.start()
        wait_until("the start says so", lambda: bounds(engine)[-1:] == [(4, in_doubt)])
        engine.wait_for_log("list of possible duplicates: the machine was started anew")
        engine.wait_for_log(r"beyond this list at most 3200 recipients for each next-hop \(2 "
                            r"sessions x 32 transactions x 50 recipients\)")
        engine.wait_until_empty()

    def test_under_load_no_duplicate_is_unannounced(self):
        store = self.directory / "store"
        store.mkdir()
        # Four sessions with 20 ms a reply: 200 messages a second at most, on any machine.
        sink = self.sink("--reply-delay", "20", "--store", store)
        configuration = (f"relayhost = [127.0.0.1]:{sink.port}\n"
                         "default_destination_concurrency_limit = 4\n")
        engine = self.mailrace(configuration + "defer_transports = smtp\n")
        blast = self.blast(engine.port, "--connections", "4", "--messages", "2000",
                           "--recipients", "2")
        self.assertEqual(blast.wait(), 0, blast.output)
        engine.configure(configuration)
        engine.stop()
        engine.start()
        announced = set()
        for _ in range(4):
            before = len(sink.records)
            wait_until("some were delivered", lambda: len(sink.records) >= before + 50)
            engine.kill()
            engine.start()
            # All of them: the log names the first ones alone.
            announced |= set(engine.stats()["possible_duplicates_at_start"]["ids"])
        engine.wait_until_empty()
        times = collections.Counter(sink.delivered())
        by_id = collections.defaultdict(set)
        for record in sink.records:
            content = (store / record["file"]).read_bytes()
            queue_id = re.search(rb"\sid ([0-9A-F]{15})", content).group(1).decode()
            by_id[record["id"]].add(queue_id)
        for (message, recipient), count in times.items():
            if count > 1:
                self.assertTrue(by_id[message] <= announced,
                                f"{recipient} of {by_id[message]} twice, not announced")


def crc32c(data):
    """Castagnoli's, bit by bit."""
    crc = 0xFFFFFFFF
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


if __name__ == "__main__":
    unittest.main()

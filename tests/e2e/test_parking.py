"""A queue longer than memory holds: nothing is lost, nothing is sent twice, and operators see
and change what is on the disk alone."""
import collections
import json
import subprocess
import unittest

from harness import BIN, DEADLINE, EndToEndTest, wait_until

# With the smallest memory there is and 16 shards some 900 jobs a shard are in memory.
SMALL = "queue_memory_limit = 16M\nengine_shards = 16\n"
MESSAGES = 20000


class ParkingTest(EndToEndTest):
    def setUp(self):
        super().setUp()
        self.engine = self.mailrace(SMALL + "relayhost = [127.0.0.1]:9\n")

    def fill(self, messages):
        blast = self.blast(self.engine.port, "--messages", messages, "--connections", 20, "--size",
                           512, "--run", "p")
        self.assertEqual(blast.wait(), 0, blast.output)
        return blast.acknowledged()

    def queue(self, verb, *arguments):
        line = [BIN / "mailrace", "queue", verb, "-c", self.engine.config, *arguments]
        done = subprocess.run([str(part) for part in line], capture_output=True, text=True,
                              timeout=DEADLINE)
        self.assertEqual(done.returncode, 0, f"{line}: {done.stdout[-500:]}{done.stderr}")
        return done.stdout

    def ids(self, *arguments):
        return [json.loads(line)["queue_id"]
                for line in self.queue("list", "--json", *arguments).splitlines()
                if "queue_id" in line]

    def total(self):
        return self.engine.stats()["queue"]["total"]

    def revive(self):
        sink = self.sink()
        self.engine.configure(SMALL + f"relayhost = [127.0.0.1]:{sink.port}\n")
        self.engine.program.process.send_signal(1)
        return sink

    def test_a_backlog_beyond_memory_is_delivered_once(self):
        acknowledged = self.fill(MESSAGES)
        self.assertEqual(len(acknowledged), MESSAGES)
        wait_until("all is queued", lambda: self.total() == MESSAGES)
        self.assertGreater(self.engine.stats()["parked_jobs"], 1000)
        self.assertEqual(len(self.ids()), MESSAGES)
        sink = self.revive()
        wait_until("the queue is empty", lambda: self.total() == 0, timeout=5 * DEADLINE)
        delivered = collections.Counter(sink.delivered())
        self.assertEqual(set(delivered), set(acknowledged))
        self.assertEqual([pair for pair, times in delivered.items() if times > 1], [])

    def test_operators_reach_what_is_on_the_disk_alone(self):
        acknowledged = self.fill(MESSAGES)
        wait_until("all is queued", lambda: self.total() == MESSAGES)
        ids = self.ids()
        # From all over the queue, so that some are in memory and some are not.
        held, removed, bounced = ids[0::200], ids[1::200], ids[2::200]
        self.queue("hold", *held)
        self.queue("remove", *removed)
        self.queue("bounce", *bounced)
        self.assertEqual(self.ids("--state", "hold"), held)
        self.assertFalse(set(removed + bounced) & set(self.ids()))
        for queue_id in (held[-1], ids[-1]):
            self.assertIn(queue_id, self.queue("show", queue_id))
        self.engine.kill()  # What was told is durable.
        self.engine.start()
        self.assertEqual(self.ids("--state", "hold"), held)
        sink = self.revive()
        # The notices go to the same sink.
        wait_until("the held ones are left", lambda: self.total() == len(held),
                   timeout=5 * DEADLINE)
        self.queue("release", "--all")
        wait_until("the queue is empty", lambda: self.total() == 0, timeout=DEADLINE)
        delivered = collections.Counter(sink.delivered())
        self.assertEqual(len([pair for pair in delivered if pair in set(acknowledged)]),
                         MESSAGES - len(removed) - len(bounced))
        self.assertEqual([pair for pair, times in delivered.items() if times > 1], [])


if __name__ == "__main__":
    unittest.main()

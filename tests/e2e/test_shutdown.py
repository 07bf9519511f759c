"""An end in good order, whatever is going on: what was acknowledged is there, what the relay
may have is told, nobody waits longer than the grace time, nothing is left lying about."""
import collections
import contextlib
import os
import pathlib
import re
import signal
import smtplib
import socket
import subprocess
import threading
import unittest

from harness import BIN, DEADLINE, EndToEndTest, Mailrace, wait_until
from smtp_recorder import SmtpRecorder

MESSAGE = b"Subject: hello\r\n\r\nHello.\r\n"


class ShutdownTest(EndToEndTest):
    def setUp(self):
        super().setUp()
        self.relay = SmtpRecorder()
        self.addCleanup(self.relay.close)

    def engine(self, more="", grace="3600s"):
        # The grace time is so long that an end that used it up would fail the test.
        return self.mailrace(f"relayhost = [127.0.0.1]:{self.relay.port}\n"
                             f"shutdown_grace_time = {grace}\n{more}")

    @staticmethod
    def terminate(engine):
        engine.program.process.send_signal(signal.SIGTERM)

    def assert_ended(self, engine, status=0):
        engine.program.process.wait(DEADLINE)
        self.assertEqual(engine.program.stop(), status)
        names = {path.name for path in (engine.directory / "queue").iterdir()}
        self.assertEqual(names - {"flight.0", "flight.1"}, {"lock", "marker", "queue"})
        return names

    @contextlib.contextmanager
    def occupied_port(self, engine):
        """`engine` is to listen where somebody else does."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            engine.configure("defer_transports = smtp\n"
                             f"submission_listen = 127.0.0.1:{other.getsockname()[1]}\n")
            yield

    def begin_data(self, engine):
        client = smtplib.SMTP("127.0.0.1", engine.port, "client.example.com", DEADLINE)
        self.addCleanup(client.close)
        client.ehlo()
        client.mail("app@example.com")
        client.rcpt("user@example.net")
        self.assertEqual(client.docmd("DATA")[0], 354)
        return client

    def test_a_client_in_the_middle_of_its_content_may_finish(self):
        engine = self.engine("defer_transports = smtp\n")
        client = self.begin_data(engine)
        client.send(b"Subject: half\r\n\r\n")
        self.terminate(engine)
        engine.wait_for_log("terminating on signal 15")
        # New clients are turned away or find nobody; this one is served.
        client.send(b"the other half\r\n.\r\n")
        self.assertEqual(client.getreply()[0], 250)
        self.assertEqual(client.getreply()[0], 421)
        self.assert_ended(engine)
        engine.start()
        self.assertEqual(engine.stats()["queue"]["total"], 1)

    def test_a_client_that_does_not_finish_hears_421_and_its_mail_is_not_there(self):
        engine = self.engine("defer_transports = smtp\n", grace="1s")
        client = self.begin_data(engine)
        client.send(b"Subject: half\r\n\r\n")
        self.terminate(engine)
        self.assertEqual(client.getreply()[0], 421)
        self.assert_ended(engine)
        engine.start()
        self.assertEqual(engine.stats()["queue"]["total"], 0)

    def test_an_idle_client_hears_421_at_once(self):
        engine = self.engine()
        with smtplib.SMTP("127.0.0.1", engine.port, "client.example.com", DEADLINE) as client:
            client.ehlo()
            self.terminate(engine)
            self.assertEqual(client.getreply()[0], 421)
        self.assert_ended(engine)

    def test_a_final_dot_gets_its_reply(self):
        engine = self.engine()
        self.relay.replies.clear()
        queue_id = engine.submit(MESSAGE)
        self.relay.wait_for(1)
        self.terminate(engine)
        engine.wait_for_log("terminating on signal 15")
        self.relay.replies.set()
        self.assertEqual(self.assert_ended(engine), {"lock", "marker", "queue"})
        self.assertIn(f"{queue_id}: removed", engine.log)
        self.assertNotIn("may be sent more than once", engine.log)

    def test_a_final_dot_without_a_reply_is_uncertain_when_the_grace_time_is_over(self):
        engine = self.engine(grace="1s")
        self.relay.replies.clear()
        queue_id = engine.submit(MESSAGE)
        self.relay.wait_for(1)
        self.terminate(engine)
        self.assert_ended(engine)
        self.assertRegex(engine.log, rf"{queue_id}: to=.*may be sent more than once")

    def test_a_second_signal_ends_it_now(self):
        engine = self.engine()
        self.relay.replies.clear()
        queue_id = engine.submit(MESSAGE)
        self.relay.wait_for(1)
        client = self.begin_data(engine)
        self.terminate(engine)
        engine.wait_for_log("terminating on signal 15")
        self.terminate(engine)
        self.assertEqual(client.getreply()[0], 421)
        self.assert_ended(engine)
        self.assertRegex(engine.log, rf"{queue_id}: to=.*may be sent more than once")

    def test_a_relay_that_does_not_greet_holds_nobody_up(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            engine = self.mailrace(f"relayhost = [127.0.0.1]:{silent.getsockname()[1]}\n"
                                   "shutdown_grace_time = 3600s\n")
            engine.submit(MESSAGE)
            connection, _ = silent.accept()
            with connection:
                self.terminate(engine)
                self.assert_ended(engine)
        engine.configure("defer_transports = smtp\n")
        engine.start()
        # It waits as it did before: an attempt that never began is none.
        self.assertEqual(engine.stats()["queue"]["total"], 1)
        self.assertNotIn("status=deferred", engine.log)

    def test_nothing_new_is_begun(self):
        engine = self.engine("default_destination_concurrency_limit = 2\n")
        self.relay.replies.clear()
        for _ in range(6):
            engine.submit(MESSAGE)
        self.relay.wait_for(2)
        self.terminate(engine)
        engine.wait_for_log("terminating on signal 15")
        self.relay.replies.set()
        self.assert_ended(engine)
        self.assertEqual(len(self.relay.messages), 2)
        engine.start()
        engine.wait_until_empty()
        self.assertEqual(len(self.relay.messages), 6)

    def small_disk(self, size="64M"):
        """The engine's queue directory on a file system of its own."""
        queue = self.directory / "mailrace" / "queue"
        queue.mkdir(parents=True)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700",
                                  "mailrace-e2e", queue], capture_output=True)
        if mounted.returncode != 0:
            self.skipTest("may not mount: " + mounted.stderr.decode())
        self.addCleanup(subprocess.run, ["umount", "-l", queue], check=True)
        return queue

    def test_a_full_disk_holds_nobody_and_the_next_start_says_what_it_cost(self):
        disk = self.small_disk()
        # The store reserves room for its log ahead, by its memory: this disk has not so much.
        engine = self.engine("queue_free_space_reserve = 0\nqueue_memory_limit = 1G\n")
        self.relay.replies.clear()
        # The outcomes of its ten transactions are more than the rest of a page of the log.
        queue_id = engine.submit(MESSAGE,
                                 recipients=[f"r{n}@example.net" for n in range(500)])
        self.relay.wait_for(1)
        filler = disk / "filler"
        with open(filler, "wb", buffering=0) as octets, contextlib.suppress(OSError):
            while octets.write(bytes(4096)) > 0:
                pass
        self.relay.replies.set()
        engine.wait_for_log("cannot record outcome")
        self.terminate(engine)
        engine.wait_for_log("terminating on signal 15")
        self.terminate(engine)
        engine.program.process.wait(DEADLINE)
        filler.unlink()
        self.assertIn("flight.", " ".join(self.assert_ended(engine)))
        engine.wait_for_log("stop: the outcome of [0-9]+ recipients could not be recorded")
        engine.start()
        announced = int(engine.wait_for_log(r"start: (\d+) recipients of 1 messages may be "
                                            rf"delivered twice: {queue_id}").group(1))
        engine.wait_until_empty()
        seen = collections.Counter(recipient for message in self.relay.messages
                                   for recipient in message.recipients)
        self.assertEqual(len(seen), 500)
        self.assertLessEqual(sum(seen.values()) - 500, announced)

    def start_with_a_signal_pending(self, engine):
        """The output and the log of an engine that hears SIGTERM before it can be ready."""
        engine.log_file.unlink(missing_ok=True)
        os.mkfifo(engine.log_file)
        process = subprocess.Popen([str(BIN / "mailrace"), "serve", "-c", str(engine.config)],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
        self.addCleanup(process.kill)

        def holds_signals():
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            blocked = int(re.search(r"SigBlk:\s*(\w+)", status).group(1), 16)
            return blocked >> (signal.SIGTERM - 1) & 1

        # It cannot open its log while nobody reads it: it has begun, and is not ready.
        wait_until("it takes its signals by itself", holds_signals)
        process.send_signal(signal.SIGTERM)
        log = engine.log_file.read_text()
        output = process.communicate(timeout=DEADLINE)[0].decode()
        self.assertEqual(process.returncode, 0, output)
        return output, log

    def test_a_signal_before_it_is_ready_ends_it_when_it_is(self):
        engine = Mailrace(self.directory / "early", f"relayhost = [127.0.0.1]:{self.relay.port}\n")
        _, log = self.start_with_a_signal_pending(engine)
        self.assertRegex(log, "terminating on signal 15(?s:.*)stopped")

    def test_a_signal_while_a_long_queue_is_read_ends_the_reading(self):
        engine = self.engine("defer_transports = smtp\n")
        blast = self.blast(engine.port, "--connections", "4", "--messages", "3000")
        self.assertEqual(blast.wait(), 0, blast.output)
        engine.stop()
        output, log = self.start_with_a_signal_pending(engine)
        self.assertNotIn("ready", output)
        self.assertRegex(log, "stopped before it was ready")
        engine.log_file.unlink()
        engine.start()
        self.assertEqual(engine.stats()["queue"]["total"], 3000)

    def test_systemd_is_told(self):
        path = str(self.directory / "notify")
        heard = []
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(path)
            os.environ["NOTIFY_SOCKET"] = path
            self.addCleanup(os.environ.pop, "NOTIFY_SOCKET", None)
            engine = self.engine()
            reader = threading.Thread(
                target=lambda: [heard.append(server.recv(4096).decode()) for _ in range(4)])
            reader.start()
            engine.program.process.send_signal(signal.SIGHUP)
            engine.wait_for_log("reload -- version")
            self.terminate(engine)
            self.assert_ended(engine)
            reader.join(DEADLINE)
        words = re.findall(r"READY=1|RELOADING=1|STOPPING=1", "\n".join(heard))
        self.assertEqual(words, ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"])

    def test_exit_codes_tell_a_supervisor_what_to_do(self):
        engine = self.engine()
        self.terminate(engine)
        self.assert_ended(engine, 0)
        with self.occupied_port(engine):
            with self.assertRaisesRegex(AssertionError, "ended with 69"):
                engine.start()
        engine.configure("smtp_tls_security_level = nonsense\n")
        with self.assertRaisesRegex(AssertionError, "ended with 78"):
            engine.start()

    def test_a_start_that_fails_half_way_leaves_the_queue_as_it_was(self):
        engine = self.engine("defer_transports = smtp\n")
        engine.submit(MESSAGE)
        self.terminate(engine)
        self.assert_ended(engine)
        with self.occupied_port(engine):
            with self.assertRaisesRegex(AssertionError, "cannot listen"):
                engine.start()
        names = {path.name for path in (engine.directory / "queue").iterdir()}
        self.assertEqual(names, {"lock", "marker", "queue"})
        engine.configure("defer_transports = smtp\n")
        engine.start()
        self.assertEqual(engine.stats()["queue"]["total"], 1)


if __name__ == "__main__":
    unittest.main()

"""Administration of a running engine and of a stopped queue: each verb of `mailrace queue`
by each way to select, mailq as Postfix prints it, transfer between queues, damage."""
import json
import os
import pathlib
import re
import socket
import subprocess
import threading
import unittest
import unittest.mock

from harness import BIN, DEADLINE, EndToEndTest, Mailrace, wait_until
from postfix import Postfix

MESSAGE = b"From: app@example.com\r\nSubject: hello\r\nX-Mailrace-Id: %b\r\n\r\nHello.\r\n"
DEFERRED = "defer_transports = smtp\nrelayhost = [127.0.0.1]:9\n"


def message(name="one", body=b""):
    return MESSAGE % name.encode() + body


class QueueTest(EndToEndTest):
    def run_queue(self, engine, verb, *arguments, status=0, text=None):
        """`mailrace queue VERB …`; (standard output, standard error)."""
        line = [BIN / "mailrace", "queue", verb, "-c", engine.config, *arguments]
        done = subprocess.run([str(part) for part in line], capture_output=True, text=True,
                              timeout=DEADLINE, input=text)
        self.assertEqual(done.returncode, status, f"{line}: {done.stdout}{done.stderr}")
        return done.stdout, done.stderr

    def listed(self, engine, *arguments):
        out, _ = self.run_queue(engine, "list", "--json", *arguments)
        return [json.loads(line) for line in out.splitlines() if "queue_id" in line]

    def ids(self, engine, *arguments):
        return [entry["queue_id"] for entry in self.listed(engine, *arguments)]


class RunningQueueTest(QueueTest):
    def setUp(self):
        super().setUp()
        self.engine = self.mailrace(DEFERRED)

    def submit(self, **others):
        return self.engine.submit(message(), **others)

    def revive(self):
        """A relay that takes everything, and the engine sends to it."""
        sink = self.sink("--store", str(self.directory / "store"))
        self.engine.configure(f"relayhost = [127.0.0.1]:{sink.port}\n")
        self.engine.program.process.send_signal(1)
        return sink

    def test_messages_are_selected_by_sender_recipient_state_age_and_id(self):
        one = self.submit(sender="one@example.com", recipients=["a@example.net"])
        two = self.submit(sender="two@example.org", recipients=["b@example.net", "c@x.test"])
        null = self.submit(sender="", recipients=["a@example.net"])
        self.run_queue(self.engine, "hold", two)
        self.assertEqual(self.ids(self.engine), [one, two, null])
        for arguments, expected in (
                (["--sender", "ONE@example.com"], [one]), (["--sender", "@example.org"], [two]),
                (["--sender", "<>"], [null]), (["--recipient", "c@x.test"], [two]),
                (["--recipient", "@example.net"], [one, two, null]),
                (["--state", "hold"], [two]), (["--state", "deferred"], [one, null]),
                (["--state", "active"], []), (["--older-than", "1h"], []),
                (["--younger-than", "1h"], [one, two, null]),
                (["--nexthop", "[127.0.0.1]:9"], [one, two, null]),
                (["--nexthop", "elsewhere"], []), (["--class", "normal"], [one, two, null]),
                (["--class", "urgent"], []), (["--tenant", "nobody"], []), ([null, one], [one, null]),
                ([two, "--sender", "one@example.com"], [])):
            self.assertEqual(self.ids(self.engine, *arguments), expected, arguments)

    def test_what_changes_mail_must_be_told_which(self):
        self.submit()
        for verb in ("hold", "release", "remove", "bounce"):
            _, err = self.run_queue(self.engine, verb, status=64)
            self.assertIn("--all", err)
        self.run_queue(self.engine, "remove", "not-an-id", status=64)
        self.run_queue(self.engine, "list", "--older-than", "soon", status=64)
        self.assertEqual(len(self.ids(self.engine)), 1)

    def test_a_dry_run_says_what_and_changes_nothing(self):
        queue_id = self.submit()
        out, _ = self.run_queue(self.engine, "remove", "--all", "--dry-run")
        self.assertIn(f"{queue_id}: would be done", out)
        self.assertIn("remove: 1 messages would be changed", out)
        self.assertEqual(self.ids(self.engine), [queue_id])

    def test_removed_mail_is_gone_for_good_and_its_sender_hears_nothing(self):
        gone, kept = self.submit(), self.submit()
        out, _ = self.run_queue(self.engine, "remove", gone)
        self.assertIn("remove: 1 messages", out)
        self.assertRegex(self.engine.wait_for_log(rf"postsuper.*{gone}: removed").group(0), gone)
        self.engine.kill()  # What was said is durable.
        self.engine.start()
        self.assertEqual(self.ids(self.engine), [kept])
        self.run_queue(self.engine, "remove", gone, status=66)

    def test_held_mail_stays_held_over_a_crash_until_it_is_released(self):
        queue_id = self.submit()
        self.run_queue(self.engine, "hold", "--sender", "app@example.com")
        self.engine.kill()
        sink = self.sink()
        self.engine.configure(f"relayhost = [127.0.0.1]:{sink.port}\n")
        self.engine.start()
        other = self.engine.submit(message("two"))
        wait_until("the other is delivered", lambda: sink.delivered())
        self.assertEqual([e["queue_name"] for e in self.listed(self.engine)], ["hold"])
        self.assertNotEqual(queue_id, other)
        self.run_queue(self.engine, "release", "--state", "hold")
        wait_until("it is delivered", lambda: len(sink.delivered()) == 2)

    def test_bounced_mail_returns_to_its_sender(self):
        queue_id = self.submit(recipients=["a@example.net", "b@example.net"])
        self.run_queue(self.engine, "bounce", queue_id, "--reason", "sent by mistake")
        [notice] = self.listed(self.engine)
        self.assertEqual(notice["sender"], "MAILER-DAEMON")
        self.assertEqual([r["address"] for r in notice["recipients"]], ["app@example.com"])
        sink = self.revive()
        wait_until("the notice is delivered", lambda: sink.records)
        content = (self.directory / "store" / sink.records[0]["file"]).read_text()
        for expected in ("a@example.net", "b@example.net", "sent by mistake", "Status: 5.7.0"):
            self.assertIn(expected, content)

    def test_ids_come_from_standard_input_too(self):
        ids = [self.submit() for _ in range(5)]
        self.run_queue(self.engine, "remove", "-", text="\n".join(ids[:3]))
        self.assertEqual(self.ids(self.engine), ids[3:])
        self.run_queue(self.engine, "remove", "-", text="")  # Nothing, not everything.
        self.assertEqual(self.ids(self.engine), ids[3:])

    def test_a_suspended_destination_gets_nothing_until_it_is_resumed_also_over_a_restart(self):
        sink = self.sink()
        nexthop = f"[127.0.0.1]:{sink.port}"
        self.engine.configure(f"relayhost = {nexthop}\n")
        self.engine.stop()
        self.engine.start()
        self.run_queue(self.engine, "suspend", nexthop, "--reason", "maintenance")
        queue_id = self.submit()
        self.engine.kill()
        self.engine.start()
        self.assertEqual(self.engine.stats()["suspended"], {nexthop: "maintenance"})
        self.run_queue(self.engine, "flush")
        [entry] = self.listed(self.engine)
        self.assertEqual(entry["queue_id"], queue_id)
        self.assertIn("maintenance", entry["recipients"][0]["delay_reason"])
        out, _ = self.run_queue(self.engine, "show", queue_id)
        self.assertIn("suspended by operator: maintenance", out)
        self.assertEqual(sink.delivered(), [])
        self.run_queue(self.engine, "resume", nexthop)
        self.engine.wait_until_empty()
        self.assertEqual(len(sink.delivered()), 1)

    def test_show_tells_every_attempt(self):
        faulty = self.sink("--fault", "rcpt:450", name="faulty")
        self.engine.configure(f"relayhost = [127.0.0.1]:{faulty.port}\n")
        self.engine.stop()
        self.engine.start()
        queue_id = self.submit()
        def attempts():
            out, _ = self.run_queue(self.engine, "show", "--json", queue_id)
            shown = json.loads(out)
            tried = [e for e in shown["timeline"] if e["event"] == "attempt"]
            return shown if len(tried) >= 2 else None
        shown = wait_until("it was tried twice", attempts)
        attempt = shown["timeline"][1]
        self.assertEqual(attempt["relay"], f"127.0.0.1[127.0.0.1]:{faulty.port}")
        self.assertRegex(attempt["text"], r"said: 450 .*\(in reply to RCPT TO command\)")
        self.assertEqual(attempt["dsn"][0], "4")
        self.assertEqual(shown["waits"][0]["nexthop"], f"[127.0.0.1]:{faulty.port}")
        self.engine.kill()  # The history is durable.
        self.engine.configure(DEFERRED)
        self.engine.start()
        out, _ = self.run_queue(self.engine, "show", queue_id)
        self.assertRegex(out, r"deferred +relay=127\.0\.0\.1.*450")
        self.run_queue(self.engine, "show", "ABC", status=66)

    def test_mail_in_delivery_is_held_afterwards_and_that_is_said(self):
        stalled = self.sink("--fault", "stall@dot", name="stalled")
        self.engine.configure(f"relayhost = [127.0.0.1]:{stalled.port}\n"
                              "smtp_data_done_timeout = 15s")
        self.engine.stop()
        self.engine.start()
        queue_id = self.submit()
        wait_until("it is in delivery",
                   lambda: self.engine.stats()["queue"]["in_flight"] == 1)
        _, err = self.run_queue(self.engine, "hold", queue_id, status=75)
        self.assertIn("in delivery just now", err)
        wait_until("it is held", lambda: self.ids(self.engine, "--state", "hold") == [queue_id])

    def test_what_is_not_understood_is_answered_and_nobody_is_harmed(self):
        path = str(self.engine.directory / "queue" / "control")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        def ask(octets):
            with socket.socket(socket.AF_UNIX) as admin:
                admin.settimeout(DEADLINE)
                admin.connect(path)
                answer = b""
                try:
                    admin.sendall(octets)
                except OSError:
                    pass  # Refused half-way.
                try:
                    while piece := admin.recv(65536):
                        answer += piece
                except ConnectionResetError:
                    pass
                return answer
        for request in (b"\n", b"hold\n", b"{}\n", b'{"command":"remove","all":1}\n', b"\xff\xfe\n",
                        b'{"command":"remove","al":true}\n', b"x" * (2 << 20)):
            self.assertIn("error", json.loads(ask(request)), request[:40])
        newer = json.loads(ask(b'{"command":"stats","protocol":2}\n'))
        self.assertIn("speaks version 1 of the control protocol, not 2", newer["error"])
        self.assertIn("queue", json.loads(ask(b'{"command":"stats","protocol":1}\n')))
        idle = [socket.socket(socket.AF_UNIX) for _ in range(20)]
        for admin in idle:  # Several administrators, who say nothing yet.
            admin.connect(path)
        threads = [threading.Thread(target=self.ids, args=(self.engine,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for admin in idle:
            admin.close()

    def test_wrong_usage_is_64_whoever_finds_it(self):
        for wrong in (["queue", "list", "--state", "bogus"], ["queue", "hold", "--offline", "--all"],
                      ["queue", "suspend"], ["queue", "nosuch"], ["queue"], ["nosuch"], [],
                      ["queue", "list", "--older-than", "soon"], ["explain"]):
            done = subprocess.run([str(BIN / "mailrace"), *wrong], capture_output=True, text=True,
                                  timeout=DEADLINE)
            self.assertEqual(done.returncode, 64, f"{wrong}: {done.stderr}")
            self.assertNotEqual(done.stderr, "", wrong)
        for fine in (["--help"], ["--version"], ["queue", "list", "--help"]):
            done = subprocess.run([str(BIN / "mailrace"), *fine], capture_output=True, text=True,
                                  timeout=DEADLINE)
            self.assertEqual(done.returncode, 0, fine)

    def test_without_an_engine_it_is_said(self):
        self.engine.stop()
        _, err = self.run_queue(self.engine, "list", status=69)
        self.assertIn("not running", err)

    def test_every_verb_has_help(self):
        for verb in ("list", "show", "hold", "release", "flush", "remove", "bounce", "suspend",
                     "resume", "export", "import", "verify"):
            out, _ = self.run_queue(self.engine, verb, "--help")
            self.assertIn("Exit status", out)

    def test_top_prints_lines_when_there_is_no_terminal(self):
        top = subprocess.Popen([str(BIN / "mailrace"), "top", "-c", str(self.engine.config)],
                               stdout=subprocess.PIPE, text=True)
        self.addCleanup(top.stdout.close)
        self.submit()
        for line in top.stdout:
            self.assertRegex(line, r"^accepted \d+/s delivered \d+/s .* queue \d+ ready")
            if " queue 1 " in line:
                break
        top.terminate()
        self.assertEqual(top.wait(DEADLINE), 0)


class MailqTest(QueueTest):
    def columns(self, text):
        """The listing with what differs between two queues made the same; widths stay."""
        lines = []
        for line in text.splitlines():
            if re.match(r"[0-9A-Za-z]{9}", line):
                self.assertRegex(line[:18], r"^[0-9A-Za-z]+[*!]? *$")
                self.assertRegex(line[18:27], r"^ *\d+ $")
                self.assertRegex(line[27:47], r"^\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d $")
                line = "I" * 47 + line[47:]
                lines.append("")  # A block of its own, also the first behind the heading.
            lines.append(re.sub(r"^-- \d+ Kbytes", "-- N Kbytes", line))
        return "\n".join(lines)

    def test_mailq_prints_what_postfix_prints(self):
        faulty = self.sink("--fault", "rcpt:450", name="faulty")
        postfix = Postfix(self.directory / "postfix", "apphost.example.com", faulty.port,
                          "enable_long_queue_ids = yes\nminimal_backoff_time = 1000s\n"
                          "maximal_backoff_time = 1000s\n"
                          "smtpd_relay_restrictions = permit_mynetworks, reject").start()
        self.addCleanup(postfix.stop)
        self.on_failure_show("postfix", lambda: postfix.log)
        engine = self.mailrace(f"relayhost = [127.0.0.1]:{faulty.port}\n"
                               "minimal_backoff_time = 1000s\nmaximal_backoff_time = 1000s\n")
        for server in (postfix, engine):
            taker = type("At", (), {"port": server.port, "_expect": staticmethod(Mailrace._expect)})()
            Mailrace.submit(taker, message(), recipients=["a@example.net"])
            Mailrace.submit(taker, message("two"), recipients=["b@example.net", "c@example.net"])
        def postqueue():
            return subprocess.run(["postqueue", "-c", str(postfix._config), "-p"], text=True,
                                  capture_output=True, timeout=DEADLINE).stdout
        def mailq():
            return subprocess.run([str(BIN / "mailq")], text=True, capture_output=True,
                                  timeout=DEADLINE,
                                  env={**os.environ, "MAIL_CONFIG": str(engine.config)}).stdout
        def settled(text):
            return text if text.count("said: 450") == 2 and "*" not in text else None
        theirs = wait_until("postfix has deferred", lambda: settled(postqueue()))
        ours = wait_until("mailrace has deferred", lambda: settled(mailq()))
        # Postfix goes through its directories in no order of time.
        blocks = [sorted(block.strip("\n") for block in self.columns(text).split("\n\n"))
                  for text in (ours, theirs)]
        self.assertEqual(blocks[0], blocks[1])

    def test_an_empty_queue_is_said_as_postfix_says_it(self):
        engine = self.mailrace(DEFERRED)
        out, _ = self.run_queue(engine, "list")
        self.assertEqual(out, "Mail queue is empty\n")


class TransferTest(QueueTest):
    def test_messages_move_from_one_queue_to_another_once(self):
        engine = self.mailrace(DEFERRED)
        large = b"".join(b"%060d\r\n" % i for i in range(20000))  # Five body records.
        engine.submit(message("one"), recipients=["a@example.net", "b@example.net"])
        engine.submit(message("two", large), sender="", options=["BODY=8BITMIME"])
        target = self.directory / "exported"
        self.run_queue(engine, "export", "--all", "--to", target)
        self.assertEqual(len(list(target.glob("*.eml"))), 2)
        self.run_queue(engine, "remove", "--all")
        sink = self.sink("--store", str(self.directory / "store"))
        engine.configure(f"relayhost = [127.0.0.1]:{sink.port}\n")
        engine.program.process.send_signal(1)
        out, _ = self.run_queue(engine, "import", target)
        self.assertIn("import: 2 messages queued, 0 left out", out)
        wait_until("all is delivered", lambda: len(sink.delivered()) == 3)
        self.assertEqual(sorted(sink.delivered()), [("one", "a@example.net"),
                                                    ("one", "b@example.net"),
                                                    ("two", "user@example.net")])
        stored = {r["id"]: (self.directory / "store" / r["file"]).read_bytes()
                  for r in sink.records}
        self.assertIn(large, stored["two"])
        self.assertEqual([r["reverse_path"] for r in sink.records if r["id"] == "two"], [""])
        # A second time queues nothing, unless it must.
        out, _ = self.run_queue(engine, "import", target)
        self.assertIn("import: 0 messages queued, 2 left out", out)
        self.run_queue(engine, "import", "--force", target)
        wait_until("again", lambda: len(sink.delivered()) == 6)

    def test_what_is_malformed_is_named_and_the_rest_is_imported(self):
        engine = self.mailrace(DEFERRED)
        for name in ("one", "two", "three", "four"):
            engine.submit(message(name))
        target = self.directory / "exported"
        self.run_queue(engine, "export", "--all", "--to", target)
        self.run_queue(engine, "remove", "--all")
        envelopes = sorted(target.glob("*.json"))
        envelopes[0].write_text("{")
        bad = json.loads(envelopes[1].read_text())
        bad["recipients"] = []
        envelopes[1].write_text(json.dumps(bad))
        content = envelopes[2].with_suffix(".eml")
        octets = content.read_bytes().replace(b"Hello.\r\n", b"Hello\n.\r")
        content.write_bytes(octets)
        out, err = self.run_queue(engine, "import", target, status=65)
        for envelope in envelopes[:3]:
            self.assertIn(str(envelope), err)
        self.assertIn("bare CR or LF", err)
        self.assertIn("import: 1 messages queued", out)
        self.assertEqual(len(self.ids(engine)), 1)

    def test_an_import_that_was_interrupted_is_not_repeated_by_itself(self):
        engine = self.mailrace(DEFERRED)
        engine.submit(message())
        target = self.directory / "exported"
        self.run_queue(engine, "export", "--all", "--to", target)
        [envelope] = target.glob("*.json")
        envelope.with_suffix(".importing").touch()
        out, _ = self.run_queue(engine, "import", target)
        self.assertIn("did not end", out)
        self.assertEqual(len(self.ids(engine)), 1)


class StoppedQueueTest(QueueTest):
    def setUp(self):
        super().setUp()
        self.engine = self.mailrace(DEFERRED)
        self.queue_ids = [self.engine.submit(message(str(i))) for i in range(20)]
        self.run_queue(self.engine, "hold", self.queue_ids[3])

    def files(self):
        root = self.engine.directory / "queue"
        return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def test_a_sound_queue_is_verified_listed_shown_and_exported_unchanged(self):
        _, err = self.run_queue(self.engine, "verify", "--offline", status=75)
        self.assertIn("in use by another instance", err)
        self.engine.stop()
        before = self.files()
        out, _ = self.run_queue(self.engine, "verify", "--json")
        report = json.loads(out)
        self.assertTrue(report["sound"], report)
        self.assertEqual((report["messages"], report["held"]), (20, 1))
        self.assertEqual(self.ids(self.engine, "--offline"), self.queue_ids)
        self.assertEqual(self.ids(self.engine, "--offline", "--state", "hold"),
                         [self.queue_ids[3]])
        out, _ = self.run_queue(self.engine, "show", "--offline", self.queue_ids[3])
        self.assertIn("on hold until it is released", out)
        target = self.directory / "exported"
        self.run_queue(self.engine, "export", "--offline", "--all", "--to", target)
        self.assertEqual(len(list(target.glob("*.json"))), 20)
        self.assertEqual(self.files(), before)
        self.engine.start()
        self.assertEqual(self.ids(self.engine), self.queue_ids)

    def test_of_a_damaged_queue_what_can_be_read_is_exported_and_the_rest_named(self):
        self.engine.kill()
        logs = sorted((self.engine.directory / "queue" / "queue").glob("*.log"))
        log = max(logs, key=lambda path: path.stat().st_size)
        octets = bytearray(log.read_bytes())
        # What follows was never written to: the log has reserved it.
        octets[len(octets.rstrip(b"\0")) // 2] ^= 1
        log.write_bytes(octets)
        before = self.files()
        _, err = self.run_queue(self.engine, "verify", "--offline", status=65)
        self.assertTrue(err)
        target = self.directory / "exported"
        _, err = self.run_queue(self.engine, "export", "--offline", "--all", "--to", target,
                                status=65)
        saved = len(list(target.glob("*.json")))
        self.assertGreater(saved, 0)
        self.assertLess(saved, 20)
        self.assertTrue(err)
        self.assertEqual(self.files(), before)


class LargeQueueTest(QueueTest):
    MESSAGES = 20_000

    def setUp(self):
        super().setUp()
        # AddressSanitizer keeps what was freed; here it shall not count.
        options = unittest.mock.patch.dict(os.environ, {"ASAN_OPTIONS": "quarantine_size_mb=1"})
        options.start()
        self.addCleanup(options.stop)

    def rss(self, engine):
        status = pathlib.Path(f"/proc/{engine.program.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1))

    def test_a_large_queue_is_listed_in_little_memory(self):
        engine = self.mailrace(DEFERRED)
        blast = self.blast(engine.port, "--connections", "32", "--messages", self.MESSAGES)
        self.assertEqual(blast.wait(), 0, blast.output)
        before = self.rss(engine)
        peak = [before]
        lines = 0
        command = [str(BIN / "mailrace"), "queue", "list", "--json", "-c", str(engine.config)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as listing:
            for line in listing.stdout:
                lines += 1
                if lines % 1000 == 0:
                    peak.append(self.rss(engine))
        self.assertEqual(lines, self.MESSAGES)
        self.assertLess(max(peak) - before, 32 * 1024)
        out, _ = self.run_queue(engine, "remove", "--all")
        self.assertIn(f"remove: {self.MESSAGES} messages", out)
        self.assertEqual(engine.stats()["queue"]["total"], 0)


if __name__ == "__main__":
    unittest.main()

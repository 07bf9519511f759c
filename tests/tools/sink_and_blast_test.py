#!/usr/bin/env python3
"""mailrace-sink and mailrace-blast against each other, and against Python's smtplib.

    sink_and_blast_test.py BIN_DIR [unittest arguments]
"""
import json
import os
import pathlib
import signal
import smtplib
import ssl
import subprocess
import sys
import tempfile
import unittest

BIN = pathlib.Path(".")
PASSWORD = "correct horse"


class Sink:
    """A sink that runs while its `with` block does; then `totals` holds what it says."""

    def __init__(self, folder, *arguments):
        self.folder = folder
        self.record = folder / "record"
        self.arguments = [
            BIN / "mailrace-sink", "--listen", "127.0.0.1:0", "--json",
            "--record", self.record, *arguments,
        ]
        self.totals = None

    def __enter__(self):
        self.process = subprocess.Popen(self.arguments, stdout=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline()
        assert ready.startswith("mailrace-sink: ready on "), ready
        self.address = ready.split()[-1]
        self.port = int(self.address.rpartition(":")[2])
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.finish()

    def finish(self):
        if self.totals is None:
            output, _ = self.process.communicate(timeout=60)
            self.status = self.process.returncode
            self.totals = json.loads(output.splitlines()[-1])

    def records(self):
        return [json.loads(line) for line in self.record.read_text().splitlines()]

    def recorded(self):
        return sorted((r["id"], rcpt) for r in self.records() for rcpt in r["recipients"])


class SinkAndBlast(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.temporary.name)
        self.password_file = self.folder / "password"
        self.password_file.write_text(PASSWORD + "\n")
        self.password_file.chmod(0o600)
        self.secure = ["--user", "u", "--password-file", self.password_file, "--tls"]

    def tearDown(self):
        self.temporary.cleanup()

    def blast(self, sink, *arguments):
        """The summary, and the exit status in it."""
        self.ledger = self.folder / "ledger"
        run = subprocess.run(
            [BIN / "mailrace-blast", "--to", sink.address, "--json", "--ledger", self.ledger,
             "--size", "600", *arguments],
            capture_output=True, text=True, timeout=120,
        )
        summary = json.loads(run.stdout)
        summary["status"] = run.returncode
        return summary

    def acknowledged(self):
        return sorted(tuple(line.split()[:2]) for line in self.ledger.read_text().splitlines())

    def test_counts_and_ids_agree(self):
        with Sink(self.folder, "--threads", "2") as sink:
            summary = self.blast(sink, "--messages", "500", "--recipients", "3")
        self.assertEqual(summary["status"], 0)
        self.assertEqual(sink.status, 0)
        self.assertEqual(summary["acknowledged"], 500)
        self.assertEqual(sink.totals["messages"], 500)
        self.assertEqual(sink.totals["recipients"], 1500)
        self.assertEqual(sink.totals["octets"], 500 * 600)
        self.assertEqual(sink.totals["octets"], summary["octets"])
        self.assertEqual(sink.totals["connections"], summary["sessions"])
        self.assertEqual(sink.totals["protocol_errors"], 0)
        self.assertEqual(len(self.acknowledged()), 1500)
        self.assertEqual(self.acknowledged(), sink.recorded())

    def test_the_times_of_a_run_are_by_one_clock(self):
        with Sink(self.folder) as sink:
            summary = self.blast(sink, "--messages", "20", "--connections", "2")
        times = [record["time"] for record in sink.records()]
        self.assertAlmostEqual(sink.totals["first_message"], min(times), places=5)
        self.assertAlmostEqual(sink.totals["last_message"], max(times), places=5)
        self.assertLess(summary["started"], sink.totals["first_message"])

    def test_a_sink_that_took_nothing_has_no_times(self):
        with Sink(self.folder) as sink:
            pass
        self.assertEqual(sink.totals["first_message"], 0)
        self.assertEqual(sink.totals["last_message"], 0)

    def test_a_message_costs_one_round_trip(self):
        with Sink(self.folder) as sink:
            self.blast(sink, "--messages", "50", "--connections", "1")
        self.assertEqual(sink.totals["envelopes_behind_content"], 49)
        # EHLO; 50 envelopes, 49 of them behind content; QUIT.
        self.assertEqual(sink.totals["command_groups"], 52)

    def test_without_pipelining_one_command_travels_at_a_time(self):
        for sink_arguments, blast_arguments in (
            (["--without", "PIPELINING"], []), ([], ["--no-pipelining"]),
        ):
            with Sink(self.folder, *sink_arguments) as sink:
                summary = self.blast(sink, "--messages", "20", *blast_arguments)
            self.assertEqual(summary["status"], 0)
            self.assertEqual(sink.totals["pipelined_commands"], 0)

    def test_tls_and_auth(self):
        certificate = self.folder / "certificate.pem"
        with Sink(self.folder, *self.secure, "--require-tls", "--require-auth",
                  "--hostname", "127.0.0.1", "--write-cert", certificate) as sink:
            summary = self.blast(sink, *self.secure, "--ca-file", certificate,
                                 "--messages", "40", "--connections", "2",
                                 "--messages-per-connection", "10")
        self.assertEqual(summary["status"], 0, summary)
        self.assertEqual(sink.totals["auth_successes"], summary["sessions"])
        self.assertEqual(sink.totals["tls_handshakes"], summary["sessions"])
        self.assertEqual(sink.totals["tls_resumed"], summary["tls_resumed"])
        self.assertGreater(summary["tls_resumed"], 0)
        self.assertGreaterEqual(summary["sessions"], 4)
        for record in sink.records():
            self.assertEqual(record["user"], "u")
            self.assertEqual(record["tls"]["protocol"], "TLSv1.3")
        self.assertEqual(self.acknowledged(), sink.recorded())

    def test_blast_trusts_only_what_it_was_told_to(self):
        certificate = self.folder / "certificate.pem"
        with Sink(self.folder, "--tls", "--write-cert", certificate) as sink:
            summary = self.blast(sink, "--tls", "--ca-file", certificate, "--messages", "1",
                                 "--stop-after-errors", "1", "--server-name", "other.example")
        self.assertEqual(summary["status"], 1)
        self.assertIn("another name", " ".join(summary["problems"]))
        self.assertEqual(sink.totals["messages"], 0)

    def test_a_wrong_password_sends_nothing(self):
        wrong = self.folder / "wrong"
        wrong.write_text("wrong\n")
        wrong.chmod(0o600)
        with Sink(self.folder, *self.secure, "--require-auth") as sink:
            summary = self.blast(sink, "--tls", "--user", "u", "--password-file", wrong,
                                 "--messages", "3", "--connections", "1",
                                 "--stop-after-errors", "2")
        self.assertEqual(summary["status"], 1)
        self.assertEqual(sink.totals["auth_failures"], 2)
        self.assertEqual(sink.totals["messages"], 0)

    def test_what_fails_is_sent_again_when_told_to(self):
        faults = ("rcpt:450:0.1,dot:451:1/30,mail:421:0.02,drop@dot:0.02,garbage@data:0.02,"
                  "data:452:0.05,greeting:554:0.1")
        for pipelining in ([], ["--no-pipelining"]):
            self.tearDown()
            self.setUp()
            with Sink(self.folder, "--fault", faults, "--seed", "3") as sink:
                summary = self.blast(sink, "--messages", "300", "--recipients", "2",
                                     "--attempts", "50", *pipelining)
            self.assertEqual(summary["status"], 0, summary)
            self.assertEqual(summary["acknowledged"], 300)
            self.assertGreater(summary["repeated"], 0)
            self.assertGreater(sink.totals["faults"], 0)
            self.assertEqual(sink.totals["protocol_errors"], 0, sink.totals)
            # No reply was lost, so nothing was taken twice or without our knowing.
            self.assertEqual(self.acknowledged(), sink.recorded())

    def test_what_is_refused_is_counted_and_not_in_the_ledger(self):
        with Sink(self.folder, "--fault", "dot:554:1/4") as sink:
            summary = self.blast(sink, "--messages", "100", "--attempts", "5")
        self.assertEqual(summary["status"], 1)
        self.assertEqual((summary["acknowledged"], summary["refused"]), (75, 25))
        self.assertEqual(sink.totals["messages_refused"], 25)
        self.assertEqual(self.acknowledged(), sink.recorded())

    def test_a_lost_reply_is_no_acknowledgement(self):
        with Sink(self.folder, "--fault", "lost@dot:1/10") as sink:
            summary = self.blast(sink, "--messages", "100", "--connections", "3")
        self.assertEqual(summary["status"], 1)
        self.assertEqual((summary["acknowledged"], summary["failed"]), (90, 10))
        self.assertEqual(sink.totals["messages"], 100)
        self.assertLess(set(self.acknowledged()), set(sink.recorded()))

    def test_blast_gives_up_without_a_server(self):
        with Sink(self.folder) as sink:
            pass
        summary = self.blast(sink, "--messages", "5", "--patience", "0.1")
        self.assertEqual(summary["status"], 1)
        self.assertEqual(summary["acknowledged"], 0)
        self.assertEqual(summary["failed"], summary["messages"])
        self.assertIn("connect: Connection refused", summary["problems"])

    def test_blast_gives_up_on_a_server_that_stalls(self):
        with Sink(self.folder, "--fault", "stall@data") as sink:
            summary = self.blast(sink, "--messages", "2", "--connections", "2",
                                 "--timeout", "0.2")
        self.assertEqual(summary["status"], 1)
        self.assertEqual(summary["failed"], 2)

    def test_a_rate_is_kept(self):
        with Sink(self.folder) as sink:
            summary = self.blast(sink, "--rate", "200", "--messages", "40")
        self.assertEqual(summary["status"], 0)
        # The last of them is due 39/200 of a second after the start, and not before.
        self.assertGreaterEqual(summary["seconds"], 39 / 200)

    def test_a_signal_ends_the_blast_in_an_orderly_way(self):
        ledger = self.folder / "ledger"
        with Sink(self.folder) as sink:
            blast = subprocess.Popen(
                [BIN / "mailrace-blast", "--to", sink.address, "--json", "--ledger", ledger,
                 "--messages", "0", "--duration", "600", "--rate", "500"],
                stdout=subprocess.PIPE, text=True)
            while not ledger.exists() or ledger.stat().st_size == 0:
                self.assertIsNone(blast.poll())
                os.sched_yield()
            blast.send_signal(signal.SIGINT)
            output, _ = blast.communicate(timeout=60)
        self.assertEqual(blast.returncode, 0, output)
        self.ledger = ledger
        self.assertEqual(self.acknowledged(), sink.recorded())

    def test_the_sink_ends_after_its_messages(self):
        with Sink(self.folder, "--max-messages", "10") as sink:
            self.blast(sink, "--messages", "20", "--connections", "2", "--stop-after-errors", "5",
                       "--patience", "0.1")
            sink.finish()
        self.assertEqual(sink.status, 0)
        self.assertEqual(sink.totals["messages"], 10)
        self.assertEqual(len(self.acknowledged()), 10)

    def test_records_are_there_before_the_reply(self):
        with Sink(self.folder, "--record-sync") as sink:
            summary = self.blast(sink, "--messages", "100")
            self.assertEqual(summary["acknowledged"], 100)
            sink.process.kill()
            sink.process.communicate()
            sink.totals = {}
        self.assertEqual(self.acknowledged(), sink.recorded())

    def test_smtplib_is_served_by_every_mechanism(self):
        store = self.folder / "store"
        message = "Subject: s\r\nX-Mailrace-Id: {}\r\n\r\n.dot\r\n..dots\r\nend\r\n"
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        mechanisms = ("PLAIN", "LOGIN", "CRAM-MD5")
        for mechanism in mechanisms:
            with Sink(self.folder, *self.secure, "--require-auth", "--mechanisms", mechanism,
                      "--store", store) as sink:
                with smtplib.SMTP("127.0.0.1", sink.port) as client:
                    client.starttls(context=context)
                    client.login("u", PASSWORD)
                    client.sendmail("a@example.org", ["b@example.net"], message.format(mechanism))
            record = sink.records()[-1]
            self.assertEqual(record["id"], mechanism)
            self.assertEqual((store / record["file"]).read_bytes(),
                             message.format(mechanism).encode())

    def test_implicit_tls(self):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with Sink(self.folder, "--implicit-tls") as sink:
            with smtplib.SMTP_SSL("127.0.0.1", sink.port, context=context) as client:
                client.sendmail("a@example.org", ["b@example.net"], "X-Mailrace-Id: i\r\n\r\n")
            summary = self.blast(sink, "--implicit-tls", "--messages", "10")
        self.assertEqual(summary["status"], 0)
        self.assertEqual(sink.totals["messages"], 11)

    def test_passwords_that_others_may_read_are_refused(self):
        self.password_file.chmod(0o644)
        for program, where in (("mailrace-sink", "--listen"), ("mailrace-blast", "--to")):
            run = subprocess.run([BIN / program, where, "127.0.0.1:0", *self.secure],
                                 capture_output=True, text=True, timeout=60)
            self.assertEqual(run.returncode, 64)
            self.assertIn("chmod 600", run.stderr)
            self.assertNotIn(PASSWORD, run.stderr)

    def test_mistakes_on_the_command_line_are_named(self):
        for arguments, words in (
            (["mailrace-sink", "--listen", "nowhere"], "there is no port"),
            (["mailrace-sink", "--require-auth"], "--user"),
            (["mailrace-sink", "--require-tls"], "--tls"),
            (["mailrace-sink", "--listen", "127.0.0.1:0", "--fault", "x:1"], "'x:1'"),
            (["mailrace-blast", "--to", "127.0.0.1:1", "--rcpt", "{z}"], "'{z}'"),
            (["mailrace-blast", "--to", "127.0.0.1:1", "--messages", "0"], "--duration"),
        ):
            run = subprocess.run([BIN / arguments[0], *arguments[1:]], capture_output=True,
                                 text=True, timeout=60)
            self.assertNotEqual(run.returncode, 0)
            self.assertIn(words, run.stderr)


if __name__ == "__main__":
    BIN = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()

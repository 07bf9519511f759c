"""`mailrace bench`: what it finds, that it sends nothing unasked, and that it leaves nothing.

Which limit is found does not depend on the machine: a relay that thinks for 50 ms about each
message, and two sessions, are slower than any machine that can run the tests.
"""
import json
import os
import signal
import subprocess
import unittest

from harness import BIN, DEADLINE, EndToEndTest, wait_until, write_file

SETTINGS = """\
myhostname = mailrace.example.com
queue_directory = {directory}/spool/queue
data_directory = {directory}/spool/data
submission_listen = 127.0.0.1:2525
{settings}
"""
NARROW = "default_destination_concurrency_limit = 2\nsmtp_bdat_window = 0\n"


class Bench(EndToEndTest):
    def configuration(self, settings):
        (self.directory / "spool").mkdir(exist_ok=True)
        write_file(self.directory / "config" / "main.cf",
                   SETTINGS.format(directory=self.directory, settings=settings))
        return self.directory / "config"

    def bench(self, config, *options, check=True):
        done = subprocess.run([str(BIN / "mailrace"), "bench", "-c", str(config), "--json",
                               *map(str, options)], capture_output=True, text=True,
                              timeout=4 * DEADLINE)
        if check:
            self.assertEqual(done.returncode, 0, done.stderr)
            return json.loads(done.stdout)
        return done

    def left_behind(self):
        return os.listdir(self.directory / "spool")

    def test_it_finds_a_low_limit_of_sessions_and_tries_a_higher_one(self):
        config = self.configuration(NARROW + "relayhost = [relay.invalid]:587\n")
        report = self.bench(config, "--sink-delay", 50, "--seconds", 4)
        self.assertEqual(report["limit"], "sessions with the relay", report)
        self.assertIn("default_destination_concurrency_limit", report["diagnosis"])
        proposal = report["proposals"][0]
        self.assertEqual(proposal["parameter"], "default_destination_concurrency_limit")
        self.assertEqual(proposal["from"], "2")
        self.assertGreater(int(proposal["to"]), 2)
        self.assertGreater(proposal["predicted"], report["delivered"])
        again = report["rerun"]
        self.assertEqual((again["parameter"], again["to"]),
                         (proposal["parameter"], proposal["to"]))
        self.assertGreater(again["measured"], report["delivered"])
        self.assertEqual(self.left_behind(), [])

    def test_the_name_that_main_cf_uses_is_the_one_to_change(self):
        config = self.configuration("smtp_destination_concurrency_limit = 1\n"
                                    "smtp_bdat_window = 0\nrelayhost = [relay.invalid]:587\n")
        report = self.bench(config, "--sink-delay", 50, "--seconds", 2, "--no-rerun")
        self.assertEqual(report["proposals"][0]["parameter"],
                         "smtp_destination_concurrency_limit")
        self.assertNotIn("rerun", report)

    def test_unasked_nothing_is_sent_to_the_configured_relay(self):
        sink = self.sink()
        config = self.configuration(f"relayhost = [127.0.0.1]:{sink.port}\n"
                                    "smtp_tls_security_level = encrypt\n"
                                    "smtp_sasl_auth_enable = yes\n"
                                    "smtp_sasl_password_maps = static:secret:secret\n")
        report = self.bench(config, "--seconds", 1, "--no-rerun")
        self.assertGreater(report["delivered"], 0)
        totals = sink.totals()
        self.assertEqual((totals["messages"], totals["connections"]), (0, 0))

    def test_asked_for_it_sends_so_many_to_the_one_who_was_named(self):
        sink = self.sink("--reply-delay", "20")
        config = self.configuration(f"{NARROW}relayhost = [127.0.0.1]:{sink.port}\n")
        report = self.bench(config, "--relay", "--recipient", "postmaster@example.net",
                            "--messages", 40, "--seconds", 60, "--no-rerun")
        self.assertGreater(report["delivered"], 0)
        self.assertEqual([record["recipients"] for record in sink.records],
                         [["postmaster@example.net"]] * 40)
        self.assertEqual({record["reverse_path"] for record in sink.records},
                         {"postmaster@example.net"})

    def test_real_mail_needs_a_recipient(self):
        config = self.configuration("relayhost = [relay.invalid]:587\n")
        for options in (("--relay",), ("--relay", "--recipient", "nobody"),
                        ("--recipient", "a@example.net"),
                        ("--relay", "--recipient", "a@example.net", "--sink-delay", "5")):
            done = self.bench(config, *options, check=False)
            self.assertNotEqual(done.returncode, 0, options)
        self.assertEqual(self.left_behind(), [])

    def test_a_signal_ends_it_and_leaves_nothing(self):
        config = self.configuration(NARROW + "relayhost = [relay.invalid]:587\n")
        process = subprocess.Popen([str(BIN / "mailrace"), "bench", "-c", str(config),
                                    "--seconds", "600", "--sink-delay", "50"],
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        def at_work():
            return any((self.directory / "spool" / name / "as-it-is" / "queue" / "control").exists()
                       for name in self.left_behind())
        wait_until("its engine runs", at_work)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=DEADLINE)
        self.assertEqual(process.returncode, 0, output)
        self.assertEqual(self.left_behind(), [])

    def test_what_cannot_be_measured_is_said(self):
        config = self.configuration("relayhost = [relay.invalid]:587\nno_line\n")
        self.assertEqual(self.bench(config, check=False).returncode, 78)
        config = self.configuration("relayhost = [relay.invalid]:587\n")
        done = self.bench(config, "--work-directory", self.directory / "nowhere", check=False)
        self.assertEqual(done.returncode, 69)
        self.assertIn("--work-directory", done.stderr)


if __name__ == "__main__":
    unittest.main()

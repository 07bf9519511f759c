#!/usr/bin/env python3
"""What a long queue costs: fills queues of several lengths behind a dead relay and measures
start, memory, throughput beside the backlog, listing and draining. Prints a row for each.

    bench/scale/scale.py --bin build/release/bin --work /var/tmp/scale 10000 100000 1000000

Needs mailrace, mailrace-fill, mailrace-sink and mailrace-blast. The table is in
docs/SCALE.md. Everything made is removed, also when it is interrupted.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")


class Program:
    """A program that says when it is ready; what it says is in a file."""

    def __init__(self, arguments, ready, log):
        self.begun = time.monotonic()
        self.log = pathlib.Path(log)
        with open(self.log, "wb") as output:
            self.process = subprocess.Popen([str(part) for part in arguments], stdout=output,
                                            stderr=subprocess.STDOUT)
        while not (match := re.search(ready, self.log.read_text(errors="replace"))):
            if self.process.poll() is not None:
                raise SystemExit(f"{arguments[0]} ended: {self.log.read_text()}")
            time.sleep(0.002)
        self.ready_seconds = time.monotonic() - self.begun
        self.port = int(match.group(1))

    def rss_mib(self, field="VmRSS"):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+)", status).group(1)) // 1024

    def cpu_seconds(self):
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / TICKS

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Bench:
    def __init__(self, options, work):
        self.options = options
        self.work = work
        self.bin = pathlib.Path(options.bin)
        self.config = work / "config"
        self.sink = Program([self.bin / "mailrace-sink", "--listen", "127.0.0.1:0"],
                            r"mailrace-sink: ready on \S+:(\d+)", work / "sink.log")

    def configure(self, dead):
        self.config.mkdir(exist_ok=True)
        live = f"[127.0.0.1]:{self.sink.port}"
        (self.config / "transport").write_text(
            f"dead.example smtp:{'[127.0.0.1]:9' if dead else live}\n")
        (self.config / "main.cf").write_text(f"""\
myhostname = mailrace.example.com
inet_protocols = ipv4
queue_directory = {self.work}/queue
data_directory = {self.work}/data
submission_listen = 127.0.0.1:0
http_listen =
engine_shards = {self.options.shards}
queue_memory_limit = {self.options.memory}
maillog_file = {self.work}/maillog
transport_maps = texthash:{self.config}/transport
relayhost = {live}
""")

    def serve(self):
        return Program([self.bin / "mailrace", "serve", "-c", self.config],
                       r"mailrace: ready\b.*?127\.0\.0\.1:(\d+)", self.work / "serve.log")

    def run(self, *arguments):
        begun = time.monotonic()
        done = subprocess.run([str(part) for part in arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{arguments} ended with {done.returncode}: {done.stdout[-2000:]}")
        return time.monotonic() - begun, done.stdout

    def stats(self):
        return json.loads(self.run(self.bin / "mailrace", "stats", "-c", self.config, "--json")[1])

    def traffic(self, engine):
        """Messages a second accepted and delivered beside the backlog, CPU of each."""
        before = self.stats()
        queued = before["queue"]["total"]
        cpu = engine.cpu_seconds()
        seconds, _ = self.run(self.bin / "mailrace-blast", "--to", f"127.0.0.1:{engine.port}",
                              "--messages", self.options.messages, "--size", "1024",
                              "--connections", "20", "--rcpt", "someone@live.example")
        accepted = self.options.messages / seconds
        while self.stats()["queue"]["total"] > queued:
            time.sleep(0.05)
        return accepted, (engine.cpu_seconds() - cpu) * 1e6 / self.options.messages

    def settle(self, engine):
        """Waits until the store has put what the filling left in order, at most two minutes."""
        begun = time.monotonic()
        while time.monotonic() - begun < 120:
            before = engine.cpu_seconds()
            time.sleep(2)
            if engine.cpu_seconds() - before < 0.2:
                break
        return time.monotonic() - begun

    def listing(self):
        queue = [self.bin / "mailrace", "queue"]
        first, _ = self.run(*queue, "list", "-c", self.config, "--json", "--state", "hold")
        whole, _ = self.run("sh", "-c", f"'{queue[0]}' queue list -c '{self.config}' --json | wc -l")
        return first, whole

    def row(self, messages):
        fill_seconds, _ = self.run(self.bin / "mailrace-fill", self.work / "queue", messages,
                                   500)
        self.configure(dead=True)
        row = {"messages": messages, "fill_seconds": round(fill_seconds, 1)}
        engine = self.serve()
        try:
            row["ready_seconds"] = round(engine.ready_seconds, 2)
            time.sleep(5)
            row["rss_dead_mib"] = engine.rss_mib()
            row["settled_seconds"] = round(self.settle(engine), 1)
            accepted, cpu = self.traffic(engine)
            row["accepted_per_second"] = round(accepted)
            row["cpu_us_per_message"] = round(cpu, 1)
            first, whole = self.listing()
            row["list_held_seconds"] = round(first, 3)
            row["list_all_seconds"] = round(whole, 2)
            row["parked"] = self.stats().get("counters", self.stats()).get("parked_jobs")
            self.configure(dead=False)
            begun = time.monotonic()
            total = self.stats()["queue"]["total"]
            engine.process.send_signal(signal.SIGHUP)
            left = total
            while left > 0 and time.monotonic() - begun < self.options.drain_seconds:
                time.sleep(0.2)
                left = self.stats()["queue"]["total"]
            row["drained_per_second"] = round((total - left) / (time.monotonic() - begun))
            row["drained"] = total - left
            row["rss_live_mib"] = engine.rss_mib()
            row["rss_most_mib"] = engine.rss_mib("VmHWM")
        finally:
            engine.stop()
        return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True)
    parser.add_argument("--work", default="/var/tmp/mailrace-scale")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--memory", default="512M", help="queue_memory_limit")
    parser.add_argument("--messages", type=int, default=50000, help="sent beside the backlog")
    parser.add_argument("--drain-seconds", type=float, default=60)
    parser.add_argument("lengths", type=int, nargs="+")
    options = parser.parse_args()
    work = pathlib.Path(options.work)
    for length in options.lengths:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True, mode=0o700)
        bench = None
        try:
            bench = Bench(options, work)
            print(json.dumps(bench.row(length)), flush=True)
        finally:
            if bench is not None:
                bench.sink.stop()
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()

"""What the benches share: load source, engine and sink on this machine, and what they used.

Builds on the harness of the end-to-end tests, which starts and stops the programs; harness_for()
imports it, since it wants to know first where they are.
"""
import json
import os
import pathlib
import platform
import socket
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
USER, PASSWORD = "myid", "my:pw"


def harness_for(programs):
    """The module tests/e2e/harness.py, for the programs in this directory."""
    os.environ["MAILRACE_BIN_DIR"] = str(programs)
    sys.path.insert(0, str(ROOT / "tests/e2e"))
    import harness  # pylint: disable=import-outside-toplevel
    return harness


def machine():
    """What the figures were had on."""
    model = ""
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {"cpu": model, "cores": os.cpu_count(), "architecture": platform.machine(),
            "kernel": platform.release(), "load_at_start": os.getloadavg()[0],
            "date": time.strftime("%Y-%m-%d")}


def quantile(values, share):
    """The smallest value that `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def sync_times(directory, count=200):
    """Milliseconds of fdatasync(2) after 4 KiB appended to a file there: p50 and p99."""
    times = []
    path = pathlib.Path(directory) / "sync"
    with open(path, "wb", buffering=0) as file:
        for _ in range(count):
            file.write(bytes(4096))
            begun = time.monotonic()
            os.fdatasync(file.fileno())
            times.append((time.monotonic() - begun) * 1000)
    path.unlink()
    return {"p50": statistics.median(times), "p99": quantile(times, 0.99)}


def ask(queue_directory, request):
    """An engine's answer, over its own socket: no process is started for it."""
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(60)
        control.connect(str(pathlib.Path(queue_directory) / "control"))
        control.sendall(json.dumps(request).encode() + b"\n")
        answer = b""
        while piece := control.recv(1 << 20):
            answer += piece
    return json.loads(answer)


def await_empty(harness, queue_directory, timeout=600):
    """Until nothing is owed, and that is recorded; the statistics then."""
    def look():
        stats = ask(queue_directory, {"command": "stats"})
        owed = stats["queue"]["total"] + stats["uncommitted_outcomes"]
        return stats if owed == 0 else None
    return harness.wait_until("the queue is empty", look, timeout)


class CountingSink:
    """mailrace-sink. Its counts come to us, so that nobody has to read what it recorded; with
    `record` it writes down each message and when it came."""

    def __init__(self, harness, directory, *options, secure=False, record=False):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.record_file = self.directory / "record"
        arguments = [harness.BIN / "mailrace-sink", "--listen", "127.0.0.1:0", "--json",
                     "--stats-interval", "0.02", *map(str, options)]
        environment = {}
        if secure:
            arguments += ["--tls", "--require-tls", "--user", USER, "--require-auth"]
            environment["MAILRACE_SINK_PASSWORD"] = PASSWORD
        if record:
            arguments += ["--record", self.record_file]
        self.program = harness.Program(arguments, r"mailrace-sink: ready on \S+:(\d+)",
                                       environment)
        self.port = int(self.program.ready_line.group(1))
        self._harness = harness

    def counts(self):
        """The newest counts; nothing yet: empty."""
        last = self.program.output.rpartition("\n")[2]
        return json.loads(last) if last.startswith("{") else {}

    def await_recipients(self, count, timeout=3600):
        """Until so many were accepted."""
        self._harness.wait_until(f"{count} recipients are delivered",
                                 lambda: self.counts().get("recipients", 0) >= count, timeout)

    def stop(self):
        """The final counts."""
        self.program.stop()
        return self.counts()

    def arrivals(self):
        """When each id was accepted first. Needs `record`, and stop() before."""
        times = {}
        with open(self.record_file, encoding="utf-8") as lines:
            for line in lines:
                entry = json.loads(line)
                times.setdefault(entry["id"], entry["time"])
        return times


def blast(harness, port, *options):
    """mailrace-blast's summary. What it could not hand in is an error."""
    done = subprocess.run([str(harness.BIN / "mailrace-blast"), "--to", f"127.0.0.1:{port}",
                           "--json", *map(str, options)], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise RuntimeError(f"mailrace-blast: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def spread(values):
    """"median (lowest-highest)", four digits each."""
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.4g}"
    return f"{statistics.median(values):.4g} ({min(values):.4g}-{max(values):.4g})"

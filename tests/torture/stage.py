"""Where one torture iteration takes place: an engine on a disk that can be cut off, an
application that keeps a ledger, a relay that keeps what it takes, and the questions that
the oracle wants answered. Real processes and real sockets; standard library only.
"""
import dataclasses
import email
import email.policy
import json
import os
import pathlib
import re
import shutil
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))

import harness  # noqa: E402
import oracle  # noqa: E402
from power_cut import Disk  # noqa: E402
from smtp_recorder import SmtpRecorder  # noqa: E402

SHIM = harness.BIN.parent / "lib" / "libtorture_disk.so"
BAD_RECIPIENT = "recipient3@example.net"  # Refused with 550: the sender gets a notice.
SENDER = "app@example.com"
DRAIN_SECONDS = float(os.environ.get("MAILRACE_TORTURE_DRAIN", "60"))


class StartRefused(AssertionError):
    """The engine ended before it was ready; the text is what it printed."""

    def __init__(self, status, output):
        super().__init__(f"the engine ended with {status}:\n{output[-3000:]}")
        self.status = status
        self.output = output


class Engine(harness.Mailrace):
    """`mailrace serve` on a disk of its own, with faults of the shim."""

    def __init__(self, directory, configuration, on_log_line=None, disk=None):
        """`disk`: a power_cut.Disk, which is the default, or one of volumes.py."""
        self.disk = disk or Disk(pathlib.Path(directory) / "volume")
        self.on_log_line = on_log_line
        self.outputs = []  # Of all lives, oldest first; the log is in it.
        # It keeps its port over all its lives.
        super().__init__(directory, configuration, port=harness.free_port())

    def configure(self, configuration):
        super().configure(f"queue_directory = {self.disk.root}/spool\n"
                          f"log_output = stderr\n{configuration}")

    @property
    def queue(self):
        return self.disk.root / "spool"

    def start(self, *arguments, **faults):
        """With faults of disk_shim.cc: kill=N, eio=N, slow=MS. Raises StartRefused; a planned
        kill may be the reason."""
        environment = self.disk.arm(SHIM, **faults)
        self.program = None
        try:
            self.program = _Life([harness.BIN / "mailrace", "serve", "-c", self.config,
                                  *arguments], self, environment)
        except _EndedEarly as ended:
            self.outputs.append(ended.output)
            raise StartRefused(ended.status, ended.output) from None
        self.port = int(self.program.ready_line.group(1))
        return self

    def ended(self):
        """Waits for the end of this life; its exit status (negative: a signal)."""
        self.program.process.wait(harness.DEADLINE)
        return self.bury()

    def bury(self):
        """SIGKILL if it lives, and keeps what it printed."""
        self.program.kill()
        self.outputs.append(self.program.output)
        return self.program.process.returncode

    def drain(self, everything=True):
        """Waits until nothing is owed any more, hurrying what waits for its next attempt.
        Not `everything`: held mail may stay."""
        def empty():
            stats = self.stats()
            queue = stats["queue"]
            # An attempt has ended before its outcome is recorded, and a notice comes with that.
            if (queue["total"] == (0 if everything else queue["held"]) and
                    stats["uncommitted_outcomes"] == 0):
                return True
            if queue["deferred"]:
                self.command("queue", "flush")
            time.sleep(0.1)
            return False
        try:
            harness.wait_until("the queue is empty", empty, DRAIN_SECONDS)
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{self.program.output[-3000:]}") from None

    def leave(self):
        """A clean stop; what it printed is kept."""
        status = self.program.stop()
        self.outputs.append(self.program.output)
        if status != 0:
            raise AssertionError(f"the engine's clean stop ended with {status}:\n"
                                 f"{self.program.output[-3000:]}")

    def queued(self):
        """The pairs that `mailrace queue list` shows, with the ids of mailrace-blast."""
        pairs = []
        for line in self.command("queue", "list", "--json").splitlines():
            message = json.loads(line)
            identifier = _blast_id(message.get("message_id", ""))
            pairs += [(identifier, recipient["address"]) for recipient in message["recipients"]]
        return pairs


class _EndedEarly(Exception):
    def __init__(self, status, output):
        super().__init__(output)
        self.status = status
        self.output = output


class _Life(harness.Program):
    """One run of the engine. Tells its lines to the engine's on_log_line."""

    def __init__(self, arguments, engine, environment):
        self._engine = engine
        super().__init__(arguments, r"mailrace: ready\b.*?127\.0\.0\.1:(\d+)", environment)

    def _read(self):
        for line in self.process.stdout:
            text = line.decode("utf-8", "replace").rstrip("\n")
            with self._lock:
                self._lines.append(text)
            if self._engine.on_log_line is not None:
                self._engine.on_log_line(self.process, text)

    def _await_ready(self, pattern):
        def look():
            with self._lock:
                line = next((text for text in self._lines if "mailrace: ready" in text), "")
            found = pattern.search(line)
            if not found and self.process.poll() is not None:
                self._reader.join()
                self.process.stdout.close()
                raise _EndedEarly(self.process.returncode, self.output)
            return found
        try:
            return harness.wait_until("the engine is ready", look)
        except AssertionError:
            self.kill()
            raise


def _blast_id(message_id):
    return message_id.strip("<>").partition("@")[0]


@dataclasses.dataclass
class Taken:
    """A message that the relay has."""
    reverse_path: str
    recipients: list
    content: bytes


class SinkRelay:
    """mailrace-sink: fast, with faults made to order."""

    def __init__(self, directory, *options):
        self.store = pathlib.Path(directory) / "store"
        self._sink = harness.Sink(directory, "--store", self.store, *options)
        self.port = self._sink.port

    def taken(self):
        return [Taken(record["reverse_path"], record["recipients"],
                      (self.store / record["file"]).read_bytes())
                for record in self._sink.records]

    def count(self):
        return len(self._sink.records)

    def close(self):
        self._sink.kill()


class HookRelay:
    """Not our code, slower; calls back at each final dot and after each 250."""

    def __init__(self, on_message=lambda message: None, on_reply=lambda message: None):
        self._recorder = SmtpRecorder(on_message, on_reply)
        self.port = self._recorder.port

    def taken(self):
        return [Taken(message.reverse_path, message.recipients, message.content)
                for message in self._recorder.messages]

    def count(self):
        return len(self._recorder.messages)

    def close(self):
        self._recorder.close()


class Application:
    """mailrace-blast, and what can be known of what it tried."""

    def __init__(self, directory, port, run, messages, recipients, connections, size, *options):
        self.run, self.messages, self.recipients = run, messages, recipients
        self.connections, self.size = connections, size
        self._blast = harness.Blast(
            pathlib.Path(directory) / run, port, "--run", run, "--messages", messages,
            "--recipients", recipients, "--connections", connections, "--size", size,
            "--from", SENDER, "--stop-after-errors", 1, "--timeout", 20, "--patience", 5, *options)

    @property
    def running(self):
        return self._blast.process.poll() is None

    def acknowledged(self):
        return self._blast.acknowledged()

    def attempted(self):
        return {(f"{self.run}-{number}", f"recipient{index}@example.net")
                for number in range(self.messages + 1) for index in range(self.recipients)}

    def finish(self):
        self._blast.wait()
        self._blast.close()

    def close(self):
        self._blast.close()


def reported_pairs(notice):
    """(id, recipient) of each recipient that a notice says has failed."""
    message = email.message_from_bytes(notice, policy=email.policy.SMTP)
    if message.get_content_type() != "multipart/report":
        return []
    failed, identifier = [], ""
    for part in message.walk():
        kind = part.get_content_type()
        if kind == "message/delivery-status":
            for block in part.get_payload():
                recipient = block.get("Final-Recipient", "").partition(";")[2].strip()
                if recipient and block.get("Action", "").strip() == "failed":
                    failed.append(recipient)
        elif kind == "text/rfc822-headers":
            headers = email.message_from_string(part.get_content())
            identifier = headers.get("X-Mailrace-Id", "").strip()
        elif kind == "message/rfc822":
            identifier = part.get_payload(0).get("X-Mailrace-Id", "").strip()
    return [(identifier, recipient) for recipient in failed]


def _own_header(content):
    """From the application's first octet on: without what the engine put before it."""
    return content[content.find(b"From: <"):]


def judge(engine, relay, applications, queued=(), check_duplicates=True):
    """The oracle's verdict on everything that was seen. The engine's outputs must hold all
    its lives."""
    sizes = {application.run: application.size for application in applications}
    delivered, reported, mangled = [], [], []
    for message in relay.taken():
        if message.reverse_path == "":
            reported += reported_pairs(message.content)
            continue
        found = re.search(rb"^X-Mailrace-Id: (\S+)\r\n", message.content, re.MULTILINE)
        identifier = found.group(1).decode() if found else "none"
        delivered += [(identifier, recipient) for recipient in message.recipients]
        if len(_own_header(message.content)) != sizes.get(identifier.rpartition("-")[0]):
            mangled.append(identifier)
    acknowledged = [pair for application in applications for pair in application.acknowledged()]
    attempted = set().union(*(application.attempted() for application in applications))
    evidence = oracle.Evidence(
        acknowledged, delivered, list(queued), reported, attempted,
        possible_duplicates(engine.outputs) if check_duplicates else None,
        sum(application.connections for application in applications), mangled)
    return oracle.judge(evidence), evidence


POSSIBLE_DUPLICATES = re.compile(
    r"(\d+) recipients (?:of \d+ messages )?may be delivered twice"
    r"(?:.*; and (\d+) recipients of messages that are not known)?")


# A relay that breaks the dialogue while the engine lives: each recipient has its line.
UNCERTAIN = re.compile(r", status=deferred \(.*message may be sent more than once")


def possible_duplicates(outputs):
    """The sum of the bounds that the engine printed at its starts, and of the recipients that it
    said to be uncertain in between; None: it printed no bound. What a start carries over from an
    earlier death is in both."""
    uncertain = sum(len(UNCERTAIN.findall(output)) for output in outputs)
    bounds = [int(found.group(1)) + int(found.group(2) or 0) for output in outputs
              for found in POSSIBLE_DUPLICATES.finditer(output)]
    return sum(bounds) + uncertain if bounds else None


class Trigger:
    """Calls `strike(process)` once, when `countdown` events have passed."""

    def __init__(self, countdown, strike):
        self._left, self._strike = countdown, strike
        self._lock = threading.Lock()
        self.process = None  # None: not armed.

    def event(self, *_):
        with self._lock:
            if self.process is None:
                return
            self._left -= 1
            if self._left != 0:
                return
        self._strike(self.process)


def remove(directory):
    shutil.rmtree(directory, ignore_errors=True)

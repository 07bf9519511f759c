"""Kills and power cuts: an engine dies under load at a point that the seed chooses, once or
several times, comes back, and everything that was acknowledged is looked for."""
import dataclasses
import pathlib
import random
import time

import stage
import volumes

# Where an engine dies. "instant": some moment; "disk": before its n-th change or sync of
# the disk, which may be in its start or recovery; "line": at its n-th log line; "dot": when
# the relay has read the n-th end of data, before its 250; "reply": after that 250.
POINTS = ("instant", "disk", "line", "dot", "reply")


@dataclasses.dataclass
class Outcome:
    """Of one iteration."""
    verdict: object
    deaths: int
    points: list   # What was planned, as text.
    seconds: float


class Iteration:
    """One engine, one relay, one to three deaths."""

    def __init__(self, directory, seed, fault):
        self._directory = pathlib.Path(directory)
        self._random = random.Random(seed)
        self._fault = fault
        # On the small one a log grows, there is no space to keep a file for it.
        self._disk = (volumes.Ext4(self._directory / "volume", self._random.choice(("256M", "1G")))
                      if fault == "ext4" else None)
        self._points = []
        self._deaths = 0
        self._applications = []
        self._trigger = None
        self._hooks = self._random.random() < 0.3

    def run(self):
        began = time.monotonic()
        self._relay = self._make_relay()
        self._engine = stage.Engine(self._directory, "", self._on_line, self._disk)
        try:
            if self._random.random() < 0.4:
                self._use_logs()
            for life in range(self._random.choice((1, 1, 1, 2, 3))):
                self._live_and_die(life)
            verdict, _ = self._settle()
        finally:
            for application in self._applications:
                application.close()
            if self._engine.program is not None and self._engine.program.running:
                self._engine.bury()
            self._relay.close()
            if self._disk is not None:
                self._disk.close()
            (self._directory / "engine.log").write_text(
                "\n---- next life ----\n".join(self._engine.outputs))
        return Outcome(verdict, self._deaths, self._points, time.monotonic() - began)

    def _make_relay(self):
        if self._hooks:
            return stage.HookRelay(on_message=lambda message: self._event("dot"),
                                   on_reply=lambda message: self._event("reply"))
        faults = f"rcpt={stage.BAD_RECIPIENT}:550"
        if self._random.random() < 0.4:
            faults += ",rcpt:450:0.01,dot:451:0.02,drop@dot:0.01,garbage@dot:0.01"
        return stage.SinkRelay(self._directory / "sink", "--reply-delay",
                               self._random.choice((0, 0, 1, 5)), "--fault", faults, "--seed",
                               self._random.randint(1, 1 << 30))

    def _event(self, point):
        trigger = self._trigger
        if trigger is not None and self._point == point:
            trigger.event()

    def _on_line(self, process, line):
        self._event("line")

    def _configure(self, dying):
        limit = self._random.choice((1, 2, 8, 20)) if dying else 20
        self._engine.configure(
            f"relayhost = [127.0.0.1]:{self._relay.port}\n"
            f"engine_shards = {self._random.choice((1, 2))}\n"
            f"default_destination_concurrency_limit = {limit}\n"
            "default_destination_concurrency_failed_cohort_limit = 100\n"
            "default_destination_concurrency_negative_feedback = 0\n")

    def _use_logs(self):
        """Two lives that end in order: the next log is written over an older one."""
        for run in ("first", "second"):
            self._configure(dying=False)
            self._engine.start()
            application = stage.Application(self._directory, self._engine.port, run, 100, 1, 4, 2000)
            self._applications.append(application)
            application.finish()
            self._engine.leave()
        self._points.append("over used logs")

    def _live_and_die(self, life):
        choices = [point for point in POINTS
                   if (self._hooks or point not in ("dot", "reply")) and
                   (self._disk is None or point != "disk")]
        self._point = self._random.choice(choices)
        count = int(2 ** self._random.uniform(0, 9.5))
        self._trigger = stage.Trigger(count, self._strike)
        self._configure(dying=True)
        faults = {"kill": count} if self._point == "disk" else {}
        if self._fault in ("strict", "partial"):
            # Else few deaths come between a write and its sync, which costs nothing here.
            faults["slow"] = self._random.choice((0, 2, 5))
        load = "no load"
        try:
            self._engine.start(**faults)
            load = self._load(life)
        except stage.StartRefused as refused:
            if refused.status != -9:
                raise
        self._points.append(f"{self._point}:{count} under {load}")
        self._wait_for_death()
        self._trigger = None
        self._deaths += 1
        if self._fault in ("strict", "partial"):
            self._engine.disk.cut(self._random if self._fault == "partial" else None)
        elif self._fault == "ext4":
            self._disk.come_back()

    def _load(self, life):
        connections = self._random.choice((1, 4, 12))
        recipients = self._random.choice((1, 1, 2, 5))
        size = self._random.choice((400, 2000, 2000, 30000, 600000))
        # As fast as it goes, or for about a second.
        messages, rate = self._random.choice(((300, 0), (1000, 1000)))
        if size > 100000:
            messages, rate = 20, 30
        load = (f"{messages} messages of {size} octets to {recipients} at {rate}/s over "
                f"{connections} connections")
        self._trigger.process = self._engine.program.process
        self._applications.append(stage.Application(
            self._directory, self._engine.port, f"life{life}", messages, recipients, connections,
            size, "--rate", rate))
        return load

    def _wait_for_death(self):
        """Until the planned point, or until there is nothing left that could reach it."""
        program = self._engine.program
        if program is None:
            return  # It died in its start.
        end = time.monotonic() + self._random.uniform(0.02, 0.6)
        application = self._applications[-1]
        while program.running and (time.monotonic() < end or
                                   (application.running and self._point != "instant")):
            time.sleep(0.002)
        self._strike(program.process)
        self._engine.bury()
        application.finish()

    def _strike(self, process):
        # The process first: a sync that is under way when ext4 is shut down may say OK although
        # the kernel dropped it, which no power cut does to who survives to tell.
        process.kill()
        if self._fault == "ext4":
            self._disk.go_dark()

    def _settle(self):
        self._configure(dying=False)
        self._engine.start()
        self._engine.drain()
        self._engine.leave()
        # After a power cut the engine's list of possible duplicates is not exact, and it says so.
        return stage.judge(self._engine, self._relay, self._applications,
                           check_duplicates=self._fault == "kill")


def run(directory, seed, fault):
    """One iteration of "kill", or of a power cut: "strict", "partial" (power_cut.py) or
    "ext4" (volumes.py). Raises on what is not even a verdict: a refused start, a queue that
    does not drain."""
    return Iteration(directory, seed, fault).run()


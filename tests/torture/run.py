#!/usr/bin/env python3
"""Runs the torture and prints the table. tools/torture builds what it needs and calls this.

A breach of a promise makes the exit code 1; the iteration's seed, kill points and
directory are printed and its directory is kept.
"""
import argparse
import collections
import concurrent.futures
import dataclasses
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import traceback

import stage  # First: it sets the path of the harness.
import cases
import lives
import volumes

ROOT = pathlib.Path(__file__).resolve().parents[2]
FAULTS = {"kill": "SIGKILL", "strict": "power cut, all unsynced lost",
          "partial": "power cut, unsynced partly there", "ext4": "power cut, real ext4"}
COLUMNS = ("fault", "iterations", "deaths", "acknowledged", "lost", "duplicates", "K",
           "appeared", "seconds")


@dataclasses.dataclass
class Row:
    """What a worker hands back; plain values."""
    fault: str
    seed: int
    deaths: int = 0
    acknowledged: int = 0
    lost: int = 0
    duplicates: int = 0
    bound: int = None
    appeared: int = 0
    seconds: float = 0
    breaches: tuple = ()
    notes: str = ""
    directory: str = ""


def work(task):
    """One iteration, in a worker process."""
    fault, seed, base = task
    # Short: a socket's path has 107 octets.
    directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{fault[:16]}-{seed}-", dir=base))
    row = Row(fault, seed, directory=str(directory))
    began = time.monotonic()
    try:
        if fault in FAULTS:
            outcome = lives.run(directory, seed, fault)
            verdict, row.deaths, row.notes = outcome.verdict, outcome.deaths, "; ".join(
                outcome.points)
        else:
            verdict, row.notes = cases.CASES[fault](directory, seed)
        row.acknowledged, row.lost = verdict.acknowledged, len(verdict.lost)
        row.duplicates, row.appeared = verdict.duplicates, verdict.appeared
        row.bound, row.breaches = verdict.duplicates_max, tuple(verdict.breaches)
    except Exception as failure:  # Whatever it is, the iteration has shown nothing good.
        row.breaches = (f"{type(failure).__name__}: {failure}",)
        (directory / "traceback").write_text(traceback.format_exc())
    row.seconds = time.monotonic() - began
    if not row.breaches:
        stage.remove(directory)
    return row


def begin_worker():
    volumes.make_mounts_private()


def can_mount(base):
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        return pool.submit(volumes.available, base).result()


def tasks_of(arguments, base):
    seed = arguments.seed
    mounts = can_mount(base)
    if not mounts:
        print("torture: no mounts are permitted here: real ext4 and full disks are left out "
              "(root and loop devices are needed)")
    for number in range(arguments.kills):
        yield "kill", seed + number, base
    for number in range(arguments.power_cuts):
        # A fifth on a real file system, where mounts are permitted.
        kinds = ("strict", "partial", "strict", "partial",
                 "ext4" if mounts else "partial")
        yield kinds[number % len(kinds)], seed + number, base
    for number in range(arguments.disk):
        for name in cases.CASES:
            if mounts or name not in cases.MOUNTING:
                yield name, seed + number, base


class Table:
    """Sums of the iterations, a row for each fault."""

    def __init__(self):
        self.sums = collections.OrderedDict()
        self.failures = []

    def add(self, row):
        total = self.sums.setdefault(row.fault, Row(row.fault, 0))
        total.seed += 1  # Iterations.
        for name in ("deaths", "acknowledged", "lost", "duplicates", "appeared", "seconds"):
            setattr(total, name, getattr(total, name) + getattr(row, name))
        if row.bound is not None:
            total.bound = (total.bound or 0) + row.bound
        total.notes = row.notes
        if row.breaches:
            self.failures.append(row)

    def print(self):
        print("| " + " | ".join(COLUMNS) + " |")
        print("|" + "---|" * len(COLUMNS))
        for fault, total in self.sums.items():
            values = (FAULTS.get(fault, fault.replace("_", " ")), total.seed, total.deaths,
                      total.acknowledged, total.lost, total.duplicates,
                      "-" if total.bound is None else total.bound, total.appeared,
                      f"{total.seconds:.0f}")
            print("| " + " | ".join(map(str, values)) + " |")


def commit():
    done = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
                          capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def report_failure(row):
    print(f"torture: BREACH in {row.fault}, seed {row.seed}, commit {commit()}: {row.notes}")
    for breach in row.breaches:
        print(f"torture:   {breach[:2000]}")
    print(f"torture:   kept: {row.directory}")
    again = {"kill": "--kills 1"}.get(row.fault, f"--only {row.fault}")
    print(f"torture:   again: tools/torture {again} --seed {row.seed}", flush=True)


def run(tasks, jobs, until_breach=False):
    """Runs them side by side; the table."""
    table = Table()
    began = last = time.monotonic()
    with concurrent.futures.ProcessPoolExecutor(jobs, initializer=begin_worker) as pool:
        futures = [pool.submit(work, task) for task in tasks]
        for number, future in enumerate(concurrent.futures.as_completed(futures), 1):
            row = future.result()
            table.add(row)
            if row.breaches:
                report_failure(row)
                if until_breach:
                    print(f"torture: first breach after {number} iterations")
                    pool.shutdown(cancel_futures=True)  # Those under way come to their end.
                    break
            elif row.fault in cases.CASES:
                print(f"torture: {row.fault}: {row.notes} ({row.seconds:.1f} s)", flush=True)
            if time.monotonic() - last > 10:
                last = time.monotonic()
                print(f"torture: {number} of {len(tasks)} iterations, "
                      f"{len(table.failures)} breaches, {last - began:.0f} s", flush=True)
    return table


def parse(arguments):
    parser = argparse.ArgumentParser(prog="tools/torture", description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=0, help="iterations with SIGKILL")
    parser.add_argument("--power-cuts", type=int, default=0, help="iterations with power cuts")
    parser.add_argument("--disk", type=int, default=0, help="rounds of all faults of the disk")
    parser.add_argument("--only", default="", choices=[*FAULTS, *cases.CASES], metavar="FAULT",
                        help="one iteration of this fault: " + ", ".join([*FAULTS, *cases.CASES]))
    parser.add_argument("--until-breach", action="store_true", help="end at the first breach")
    parser.add_argument("--mutations", action="store_true",
                        help="build broken engines; each must be caught")
    parser.add_argument("--seed", type=int, default=None, help="of the first iteration")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="side by side")
    parser.add_argument("--directory", default=None, help="where iterations take place")
    return parser.parse_args(arguments)


def main():
    arguments = parse(sys.argv[1:])
    if arguments.seed is None:
        arguments.seed = int.from_bytes(os.urandom(3), "big")
    base = arguments.directory or tempfile.mkdtemp(prefix="mailrace-torture-")
    tasks = list(tasks_of(arguments, base))
    if arguments.only:
        tasks.append((arguments.only, arguments.seed, base))
    print(f"torture: {len(tasks)} iterations, seed {arguments.seed}, commit {commit()}, "
          f"programs of {stage.harness.BIN}", flush=True)
    began = time.monotonic()
    table = run(tasks, arguments.jobs, arguments.until_breach)
    failed = bool(table.failures)
    if table.sums:
        table.print()
    if arguments.mutations:
        import mutations
        failed |= not mutations.run(base, arguments.seed, arguments.jobs)
    print(f"torture: {len(table.failures)} breaches, {time.monotonic() - began:.0f} s in all")
    if not failed and not arguments.directory:
        stage.remove(base)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

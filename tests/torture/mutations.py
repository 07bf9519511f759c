"""Broken engines, on purpose: a torture that does not notice them shows nothing. Each
mutations/*.patch is applied to a copy of the tree, built and tortured until a promise is
seen broken. A patch says itself what must catch it: "Caught by: OPTIONS of run.py".
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import stage

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PATCHES = sorted((HERE / "mutations").glob("*.patch"))
# How the engine under torture was built; the copy is built alike, so that the compiler's
# cache serves it.
CACHE = ("CMAKE_BUILD_TYPE", "CMAKE_CXX_COMPILER", "CMAKE_CXX_FLAGS_DEBUG",
         "CMAKE_CXX_FLAGS_RELEASE")


class Copy:
    """A work tree of our own, and programs built from it."""

    def __init__(self, base):
        self.tree = pathlib.Path(base) / "tree"
        self._original = stage.harness.BIN.parent
        # As deep as the original's, else relative paths differ and the cache knows nothing.
        inside = self._original.is_relative_to(ROOT)
        self._build = self.tree / (self._original.relative_to(ROOT) if inside else "build/copy")
        listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard",
                                 "-z"], capture_output=True, check=True).stdout.decode()
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                target = self.tree / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)
        self._run("cmake", "-S", self.tree, "-B", self._build, "-G", "Ninja",
                  "-DMAILRACE_BENCH=OFF", *self._settings())

    def _settings(self):
        cache = (self._original / "CMakeCache.txt").read_text()
        for name in CACHE:
            found = re.search(rf"^{name}:\w+=(.*)$", cache, re.MULTILINE)
            if found and found.group(1):
                yield f"-D{name}={found.group(1)}"

    @staticmethod
    def _run(*command):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")

    def patch(self, patch, reverse=False):
        """RuntimeError: it does not apply any more."""
        self._run("patch", "-p1", "-s", "-f", "-F3", "-d", self.tree, "-i", patch,
                  *(["-R"] if reverse else []))

    def build(self):
        """Of the engine alone; its peers are those of the original."""
        self._run("cmake", "--build", self._build, "-j", os.cpu_count(), "--target", "mailrace")
        programs = self._build / "bin"
        for name in ("mailrace-sink", "mailrace-blast"):
            if not (programs / name).exists():
                shutil.copy2(self._original / "bin" / name, programs / name)
        shutil.copytree(self._original / "lib", self._build / "lib", dirs_exist_ok=True)
        return programs


def torture(programs, options, seed, jobs):
    """(exit code, output) of run.py on these programs."""
    done = subprocess.run(
        [sys.executable, "-B", str(HERE / "run.py"), "--until-breach", "--seed", str(seed),
         "--jobs", str(jobs), *options],
        env={**os.environ, "MAILRACE_BIN_DIR": str(programs), "MAILRACE_TORTURE_DRAIN": "15",
             "MAILRACE_E2E_DEADLINE": "30"},
        capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def examine(copy, patch, seed, jobs):
    """(caught, a sentence)."""
    options = re.search(r"^Caught by: (.*)$", patch.read_text(), re.MULTILINE).group(1).split()
    copy.patch(patch)
    try:
        programs = copy.build()
        code, output = torture(programs, ["--only", "calm"], seed, 1)
        if code != 0:
            return False, f"it does not even work when nothing goes wrong:\n{output[-2000:]}"
        code, output = torture(programs, options, seed, jobs)
    finally:
        copy.patch(patch, reverse=True)
    if code != 1:
        return False, f"NOT CAUGHT by {' '.join(options)}:\n{output[-2000:]}"
    iterations = re.search(r"first breach after (\d+) iterations", output).group(1)
    breach = re.search(r"torture: BREACH.*\ntorture:   (.*)", output).group(1)
    return True, f"caught after {iterations} of {' '.join(options)}: {breach[:160]}"


def run(base, seed, jobs):
    """Whether each was caught; prints a table."""
    if not PATCHES:
        raise RuntimeError("no mutations")
    copy = Copy(pathlib.Path(base) / "mutations")
    rows = []
    for patch in PATCHES:
        began = time.monotonic()
        try:
            caught, text = examine(copy, patch, seed, jobs)
        except RuntimeError as failure:
            caught, text = False, str(failure)
        rows.append((patch.stem, "yes" if caught else "NO", text,
                     f"{time.monotonic() - began:.0f}"))
        print(f"torture: mutation {patch.stem}: {text}", flush=True)
    print("| mutation | caught | how | seconds |\n|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(text.split("\n")[0] for text in row) + " |")
    return all(row[1] == "yes" for row in rows)

#!/usr/bin/env python3
"""Holds the rules of docs/ARCHITECTURE.md that a compiler does not see.

    lint.py ROOT              all rules over the tree
    lint.py ROOT --rule NAME  one rule
    lint.py --rules           their names

Every rule is a function from a Tree to complaints; lint_test.py shows each one a bad
sample. A file is what git knows or would add: nothing that .gitignore names.
"""
import pathlib
import re
import subprocess
import sys

FLOORS = {
    "base": {"base"},
    "queue": {"base", "queue"},
    "transport": {"base", "transport"},
    "engine": {"base", "queue", "transport", "engine"},
    "tools": {"base", "queue", "transport", "engine", "tools"},
    "bench": {"base", "queue", "transport", "engine", "tools", "bench"},
    "tests": {"base", "queue", "transport", "engine", "tools", "bench", "tests"},
}

# Header of a third party: where alone it may be included. Tests and benches of a fenced
# folder may see what it sees.
FENCES = [
    (r"liburing", ["transport/uring/"]),
    (r"openssl/", ["transport/tls/"]),
    (r"rocksdb/", ["queue/rocksdb_store"]),
    (r"gsasl", ["transport/sasl/"]),
    (r"unbound", ["transport/dns/"]),
    (r"spdlog/", ["engine/logs/"]),
    (r"CLI/", ["tools/"]),
    # What administrators and programs say to each other.
    (r"nlohmann/", ["engine/admin/", "engine/tokens/", "tools/mailrace/", "tests/", "bench/"]),
    (r"systemd/", ["engine/", "tools/"]),
]
FENCE_TESTS = {
    "queue/rocksdb_store": "tests/queue/",
    "transport/uring/": "tests/transport/uring/",
    "transport/tls/": "tests/transport/tls/",
    "transport/sasl/": "tests/transport/sasl/",
    "transport/dns/": "tests/transport/dns/",
    "engine/logs/": "tests/engine/logs/",
}

THREAD_WORDS = re.compile(
    r"\bstd::(thread|jthread|mutex|shared_mutex|recursive_mutex|condition_variable|atomic)\b"
    r"|\bthread_local\b|#include <(thread|mutex|shared_mutex|atomic|condition_variable)>"
)
THREADS_ALLOWED = re.compile(
    r"^(engine/shard|queue/group_commit|queue/rocksdb_store|queue/memory_store"
    r"|base/metrics|base/frame_pool|transport/dns/|transport/uring/|engine/logs/"
    r"|engine/entropy/|engine/tokens/token_store|engine/intake/client_counts|tools/|bench/|tests/)"
)

LINES_MAX = 600
SECRET_NAMES = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b"
    r"|\bxox[abprs]-[0-9A-Za-z-]{10,}"
)
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


class Tree:
    """The files of a work tree, read once."""

    def __init__(self, root):
        self.root = pathlib.Path(root).resolve()
        listed = subprocess.run(
            ["git", "-C", str(self.root), "ls-files", "-co", "--exclude-standard", "-z"],
            capture_output=True,
        )
        if listed.returncode == 0:
            names = [n for n in listed.stdout.decode().split("\0") if n]
        else:  # A release's archive has no git.
            names = [
                str(p.relative_to(self.root))
                for p in self.root.rglob("*")
                if p.is_file() and p.relative_to(self.root).parts[0] not in (".git", "build")
            ]
        self.names = sorted(n for n in set(names) if (self.root / n).is_file())
        self._text = {}

    def text(self, name):
        if name not in self._text:
            self._text[name] = (self.root / name).read_text(encoding="utf-8", errors="replace")
        return self._text[name]

    def sources(self):
        return [n for n in self.names if n.endswith((".h", ".cc"))]

    def code_lines(self, name):
        """Lines without comments and without the texts of string literals."""
        text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), self.text(name),
                      flags=re.DOTALL)
        for number, line in enumerate(text.split("\n"), 1):
            line = re.sub(r'"(\\.|[^"\\])*"', '""', line) if "#include" not in line else line
            yield number, re.sub(r"//.*", "", line)

    def scripts(self, language, suffix):
        for name in self.names:
            first = self.text(name).split("\n", 1)[0]
            if name.endswith(suffix) or (first.startswith("#!") and language in first):
                yield name


def include_direction(tree):
    """Includes point down only; queue and transport do not know each other."""
    for name in tree.sources():
        floor = name.split("/")[0]
        for bracket, header in INCLUDE.findall(tree.text(name)):
            target = header.split("/")[0]
            if bracket == "<" or target not in FLOORS or floor not in FLOORS:
                continue
            if target not in FLOORS[floor]:
                yield f"{name}: {floor}/ must not include {header}"


def library_fences(tree):
    """Each third party's headers stay in one folder."""
    for name in tree.sources():
        for _, header in INCLUDE.findall(tree.text(name)):
            for pattern, homes in FENCES:
                allowed = homes + [FENCE_TESTS[h] for h in homes if h in FENCE_TESTS]
                if re.match(pattern, header) and not name.startswith(tuple(allowed)):
                    yield f"{name}: <{header}> is allowed only in {', '.join(homes)}"


def threads_where_they_meet(tree):
    """Threads, locks and atomics appear only where a thread is born or two meet."""
    for name in tree.sources():
        if THREADS_ALLOWED.match(name):
            continue
        for number, line in tree.code_lines(name):
            match = THREAD_WORDS.search(line)
            if match:
                yield f"{name}:{number}: {match.group()} is not allowed here"


def file_length(tree):
    """One purpose a file."""
    for name in tree.names:
        if name.endswith((".h", ".cc", ".py", ".sh")) and not name.startswith("tests/"):
            lines = tree.text(name).count("\n")
            if lines > LINES_MAX:
                yield f"{name}: {lines} lines, at most {LINES_MAX}"


def no_secrets(tree):
    """Keys and tokens are made by tests, never kept."""
    for name in tree.names:
        if name.startswith("tests/lint/"):
            continue
        for number, line in enumerate(tree.text(name).split("\n"), 1):
            if SECRET_NAMES.search(line):
                yield f"{name}:{number}: looks like a secret"


def nothing_unfinished(tree):
    """What is not done is an issue, not a comment."""
    for name in tree.names:
        if not name.endswith((".h", ".cc", ".py", ".sh", ".cmake", ".txt")):
            continue
        if name.startswith("tests/data/"):
            continue
        for number, line in enumerate(tree.text(name).split("\n"), 1):
            match = UNFINISHED.search(line)
            if match:
                yield f"{name}:{number}: {match.group()}"


def header_guards(tree):
    """Headers say #pragma once, and sources say what they are for."""
    for name in tree.names:
        if name.endswith(".h") and "#pragma once" not in tree.text(name):
            yield f"{name}: no #pragma once"
        if name.endswith(".h") and not tree.text(name).startswith("//"):
            yield f"{name}: a header begins with a comment that says what it is for"


def clang_format(tree):
    """The layout is .clang-format's."""
    names = [n for n in tree.sources()]
    for start in range(0, len(names), 50):
        run = subprocess.run(
            ["clang-format-19", "--dry-run", "-Werror", *names[start : start + 50]],
            cwd=tree.root, capture_output=True, text=True,
        )
        if run.returncode != 0:
            bad = sorted({line.split(":")[0] for line in run.stderr.split("\n") if ": error:" in line})
            for name in bad or [run.stderr.strip()]:
                yield f"{name}: not formatted (clang-format-19 -i)"


def shell_parses(tree):
    """bash -n accepts every script."""
    for name in tree.scripts("bash", ".sh"):
        run = subprocess.run(["bash", "-n", name], cwd=tree.root, capture_output=True, text=True)
        if run.returncode != 0:
            yield f"{name}: {run.stderr.strip()}"


def python_compiles(tree):
    """Every Python file compiles."""
    for name in tree.scripts("python", ".py"):
        try:
            compile(tree.text(name), name, "exec")
        except (SyntaxError, ValueError) as error:
            yield f"{name}: {error}"


RULES = {
    "include-direction": include_direction,
    "library-fences": library_fences,
    "threads": threads_where_they_meet,
    "file-length": file_length,
    "secrets": no_secrets,
    "unfinished": nothing_unfinished,
    "headers": header_guards,
    "clang-format": clang_format,
    "shell": shell_parses,
    "python": python_compiles,
}


def main(arguments):
    if arguments == ["--rules"]:
        print("\n".join(RULES))
        return 0
    if len(arguments) not in (1, 3) or (len(arguments) == 3 and arguments[1] != "--rule"):
        print(__doc__, file=sys.stderr)
        return 2
    rules = RULES if len(arguments) == 1 else {arguments[2]: RULES[arguments[2]]}
    tree = Tree(arguments[0])
    if not tree.sources():
        print(f"lint: no sources under {arguments[0]}", file=sys.stderr)
        return 2
    complaints = 0
    for name, rule in rules.items():
        for complaint in rule(tree):
            print(f"{name}: {complaint}")
            complaints += 1
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

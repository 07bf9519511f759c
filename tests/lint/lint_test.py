#!/usr/bin/env python3
"""Shows every lint rule a good and a bad sample, so that each can fail."""
import pathlib
import shutil
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True
import lint  # noqa: E402

GOOD_HEADER = "// What it is for.\n#pragma once\n"


class LintTest(unittest.TestCase):
    def complaints(self, rule, files):
        with tempfile.TemporaryDirectory() as root:
            for name, text in files.items():
                path = pathlib.Path(root) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            shutil.copy(HERE.parent.parent / ".clang-format", root)
            return list(lint.RULES[rule](lint.Tree(root)))

    def good(self, rule, files):
        self.assertEqual(self.complaints(rule, files), [])

    def bad(self, rule, files, count=1):
        self.assertEqual(len(self.complaints(rule, files)), count, self.complaints(rule, files))

    def test_include_direction(self):
        rule = "include-direction"
        self.good(rule, {"engine/a.cc": '#include "queue/q.h"\n#include "base/b.h"\n'})
        self.bad(rule, {"queue/a.cc": '#include "transport/t.h"\n'})
        self.bad(rule, {"transport/a.cc": '#include "queue/q.h"\n'})
        self.bad(rule, {"base/a.h": '#include "engine/e.h"\n'})
        self.bad(rule, {"engine/a.cc": '#  include "tests/fakes/f.h"\n'})
        self.bad(rule, {"engine/a.cc": '#include "tools/t.h"\n'})
        self.bad(rule, {"tools/a.cc": '#include "tests/t.h"\n'})

    def test_library_fences(self):
        rule = "library-fences"
        homes = {
            "liburing.h": "transport/uring/a.cc",
            "openssl/ssl.h": "transport/tls/a.cc",
            "rocksdb/db.h": "queue/rocksdb_store.cc",
            "gsasl.h": "transport/sasl/a.cc",
            "unbound.h": "transport/dns/a.cc",
            "spdlog/spdlog.h": "engine/logs/a.cc",
            "CLI/CLI.hpp": "tools/a.cc",
        }
        for header, home in homes.items():
            self.good(rule, {home: f"#include <{header}>\n"})
            self.bad(rule, {"engine/delivery/a.cc": f"#include <{header}>\n"})
        self.good(rule, {"tests/queue/a.cc": "#include <rocksdb/db.h>\n"})
        self.bad(rule, {"tests/engine/a.cc": "#include <rocksdb/db.h>\n"})
        json = "#include <nlohmann/json.hpp>\n"
        for home in ("engine/admin/a.cc", "engine/admin/a.h", "tools/mailrace/a.cc"):
            self.good(rule, {home: json})
        for elsewhere in ("engine/a.cc", "engine/config/a.cc", "queue/a.cc", "tools/sink/a.cc"):
            self.bad(rule, {elsewhere: json})

    def test_threads(self):
        rule = "threads"
        for line in ("std::thread t;", "std::mutex m;", "std::atomic<int> n;",
                     "thread_local int n;", "std::condition_variable c;", "#include <atomic>"):
            self.bad(rule, {"engine/routing/a.cc": line + "\n"})
            self.good(rule, {"engine/shard.cc": line + "\n", "base/metrics.h": line + "\n",
                             "queue/group_commit.cc": line + "\n"})
        self.good(rule, {"engine/a.cc": '// std::thread\n/* std::mutex\n */ f("std::atomic");\n'})

    def test_file_length(self):
        self.good("file-length", {"engine/a.cc": "\n" * 600})
        self.bad("file-length", {"engine/a.cc": "\n" * 601})

    def test_secrets(self):
        self.good("secrets", {"docs/a.md": "a private key file\n"})
        self.bad("secrets", {"docs/a.pem": "-----BEGIN " + "RSA PRIVATE KEY-----\n"})
        self.bad("secrets", {"a.txt": "x AKIA" + "A" * 16 + "\n"})

    def test_unfinished(self):
        self.good("unfinished", {"engine/a.cc": "// TODOS is a word.\n"})
        for word in ("TO" + "DO", "FIX" + "ME", "X" + "XX"):
            self.bad("unfinished", {"engine/a.cc": f"// {word}: later\n"})

    def test_headers(self):
        self.good("headers", {"engine/a.h": GOOD_HEADER})
        self.bad("headers", {"engine/a.h": "// Text.\n"})
        self.bad("headers", {"engine/a.h": "#pragma once\n"})

    def test_clang_format(self):
        self.good("clang-format", {"engine/a.cc": "int a = 1;\n"})
        self.bad("clang-format", {"engine/a.cc": "int   a=1;\n"})

    def test_shell(self):
        self.good("shell", {"tools/a": "#!/bin/bash\necho\n"})
        self.bad("shell", {"tools/a": "#!/usr/bin/env bash\nif\n"})
        self.bad("shell", {"tools/a.sh": "case\n"})

    def test_python(self):
        self.good("python", {"tools/a.py": "pass\n"})
        self.bad("python", {"tools/a.py": "def\n"})
        self.bad("python", {"tools/a": "#!/usr/bin/env python3\ndef\n"})

    def test_every_rule_is_shown_a_bad_sample(self):
        tested = {name[len("test_"):].replace("_", "-") for name in dir(self)
                  if name.startswith("test_")}
        self.assertEqual(set(lint.RULES) - tested, set())

    def test_an_empty_tree_is_an_error(self):
        with tempfile.TemporaryDirectory() as root:
            self.assertEqual(lint.main([root]), 2)


if __name__ == "__main__":
    unittest.main()

"""The disk that the torture uses, tried with small programs: what it takes away must be what
a real one may take away, and nothing else."""
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest

import stage
from power_cut import Disk


class PowerCutTest(unittest.TestCase):
    def setUp(self):
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="mailrace-disk-"))
        self.addCleanup(shutil.rmtree, self.base)
        self.disk = Disk(self.base)

    def run_program(self, text, **faults):
        """Python as the program: its os module is the C library's calls."""
        prelude = """
            import os
            os.chdir(os.environ["TORTURE_DISK_ROOT"])
            def write(path, octets, sync=True, flags=os.O_WRONLY | os.O_CREAT | os.O_APPEND):
                file = os.open(path, flags, 0o600)
                os.write(file, octets)
                if sync:
                    os.fdatasync(file)
                os.close(file)
            def sync_directory(path="."):
                directory = os.open(path, os.O_RDONLY)
                os.fsync(directory)
                os.close(directory)
            """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(prelude) + textwrap.dedent(text)],
            env={**os.environ, **self.disk.arm(stage.SHIM, **faults)}, capture_output=True)
        self.errors = done.stderr.decode()
        return done.returncode

    def contents(self):
        return {str(path.relative_to(self.disk.root)): path.read_bytes()
                for path in self.disk.root.rglob("*") if path.is_file()}

    def assert_left(self, contents, text, random=None, **faults):
        self.assertEqual(self.run_program(text, **faults), 0, self.errors)
        self.disk.cut(random)
        self.assertEqual(self.contents(), contents)

    def test_synced_octets_of_a_synced_name_stay(self):
        self.assert_left({"a": b"one"}, "write('a', b'one'); sync_directory()")

    def test_what_was_written_after_the_sync_is_gone(self):
        self.assert_left({"a": b"one"}, """
            write('a', b'one'); sync_directory(); write('a', b'two', sync=False)""")

    def test_a_file_that_was_never_synced_is_empty(self):
        self.assert_left({"a": b""}, "write('a', b'one', sync=False); sync_directory()")

    def test_a_name_that_was_never_synced_is_gone_with_its_synced_octets(self):
        self.assert_left({}, "write('a', b'one')")

    def test_the_directory_synced_is_the_one_that_counts(self):
        self.assert_left({"a": b"1"}, """
            write('a', b'1'); os.mkdir('d'); sync_directory()
            write('d/b', b'2'); sync_directory()""")

    def test_a_file_in_a_directory_whose_own_name_was_not_synced_is_gone(self):
        self.assert_left({}, "os.mkdir('d'); write('d/b', b'2'); sync_directory('d')")

    def test_a_rename_that_was_not_synced_is_undone(self):
        self.assert_left({"a": b"old", "b": b"new"}, """
            write('a', b'old'); write('b', b'new'); sync_directory(); os.rename('b', 'a')""")

    def test_a_rename_that_was_synced_stays_although_its_old_name_never_was(self):
        self.assert_left({"a": b"new"}, """
            write('a', b'old'); sync_directory()
            write('b', b'new'); os.rename('b', 'a'); sync_directory()""")

    def test_a_removal_that_was_not_synced_is_undone(self):
        self.assert_left({"a": b"old"}, "write('a', b'old'); sync_directory(); os.unlink('a')")

    def test_a_file_written_anew_without_a_sync_is_the_old_one(self):
        self.assert_left({"a": b"old"}, """
            write('a', b'old'); sync_directory()
            write('a', b'new', flags=os.O_WRONLY | os.O_CREAT | os.O_TRUNC)""")

    def test_what_an_earlier_program_left_is_durable(self):
        self.assert_left({"a": b"one"}, "write('a', b'one'); sync_directory()")
        self.assert_left({"a": b"onetwo"}, "write('a', b'two'); write('a', b'3', sync=False)")

    def test_files_outside_the_root_are_left_alone(self):
        self.assert_left({}, "write('../outside', b'x', sync=False)")
        self.assertEqual((self.base / "outside").read_bytes(), b"x")

    def test_partly_there_is_a_prefix_behind_what_was_synced(self):
        seen = set()
        for seed in range(30):
            shutil.rmtree(self.disk.root)
            self.disk.root.mkdir()
            self.run_program("""
                write('a', b'one'); sync_directory(); write('a', b'two', sync=False)
                write('b', b'b'); write('c', b'c')""")
            self.disk.cut(random.Random(seed))
            left = self.contents()
            self.assertTrue(b"onetwo".startswith(left["a"]) and left["a"].startswith(b"one"))
            # Changes of a directory reach the disk in order.
            self.assertIn(sorted(left), (["a"], ["a", "b"], ["a", "b", "c"]))
            seen.add(str(left))
        self.assertGreater(len(seen), 5)

    def test_the_planned_change_does_not_happen_and_the_program_is_dead(self):
        # Changes: create a, sync, sync the directory, create b.
        status = self.run_program("write('a', b'1'); sync_directory(); write('b', b'2')", kill=4)
        self.assertEqual(status, -9)
        self.assertEqual(self.disk.operations(), 3)
        self.disk.cut()
        self.assertEqual(self.contents(), {"a": b"1"})

    def test_the_planned_sync_of_a_log_fails_once(self):
        self.assertEqual(self.run_program("""
            write('1.log', b'x'); write('other', b'x')
            try:
                write('1.log', b'x')
            except OSError as error:
                assert error.errno == 5, error
            else:
                raise AssertionError('no error')
            write('1.log', b'x')""", eio=2), 0, self.errors)

    def test_each_power_cut_is_another_boot(self):
        seen = set()
        for _ in range(3):
            self.run_program("write('boot', open('/proc/sys/kernel/random/boot_id', 'rb').read());"
                             "sync_directory()")
            seen.add(self.contents()["boot"])
            shutil.rmtree(self.disk.root)
            self.disk.root.mkdir()
            self.run_program("")
            self.disk.cut()
        self.assertEqual(len(seen), 3)
        self.assertNotIn(pathlib.Path("/proc/sys/kernel/random/boot_id").read_bytes(), seen)


if __name__ == "__main__":
    unittest.main()

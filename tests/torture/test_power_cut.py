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
            def overwrite(path, octets, offset, sync=True):
                file = os.open(path, os.O_WRONLY)
                os.pwrite(file, octets, offset)
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

    def test_octets_that_were_overwritten_and_not_synced_are_as_before(self):
        self.assert_left({"a": b"one two"}, """
            write('a', b'one two'); sync_directory(); overwrite('a', b'ONE', 0, sync=False)""")

    def test_octets_that_were_overwritten_and_synced_stay(self):
        self.assert_left({"a": b"one TWO"}, """
            write('a', b'one two'); sync_directory(); overwrite('a', b'TWO', 4)""")

    def test_a_sync_covers_the_overwrites_of_its_file_before_it(self):
        self.assert_left({"a": b"ONE two", "b": b"one"}, """
            write('a', b'one two'); write('b', b'one'); sync_directory()
            overwrite('b', b'ONE', 0, sync=False); overwrite('a', b'ONE', 0)
            overwrite('a', b'TWO', 4, sync=False)""")

    def test_a_sync_of_everything_covers_overwrites(self):
        self.assert_left({"a": b"ONE", "b": b"TWO"}, """
            import ctypes
            write('a', b'one'); write('b', b'two'); sync_directory()
            overwrite('a', b'ONE', 0, sync=False); overwrite('b', b'TWO', 0, sync=False)
            ctypes.CDLL(None).syncfs(os.open('.', os.O_RDONLY))""")

    def test_overwrites_of_one_place_are_undone_to_what_was_synced(self):
        self.assert_left({"a": b"ABCdef"}, """
            write('a', b'abcdef'); sync_directory(); overwrite('a', b'ABC', 0)
            overwrite('a', b'1234', 0, sync=False); overwrite('a', b'56', 2, sync=False)
            overwrite('a', b'7', 0, sync=False)""")

    def test_every_call_that_writes_is_seen(self):
        calls = {
            "os.write(f, b'1234')": 4,
            "os.lseek(f, 6, os.SEEK_SET); os.write(f, b'1234')": 2,
            "os.pwrite(f, b'1', 3)": 1,
            "os.writev(f, [b'12', b'34'])": 4,
            "os.pwritev(f, [b'12', b'34'], 6)": 2,
            "os.pwritev(f, [b'1', b'2'], 0)": 2,
        }
        for call, octets in calls.items():
            with self.subTest(call):
                self.assert_left({"a": b"abcdefgh"}, f"""
                    if not os.path.exists('a'):
                        write('a', b'abcdefgh'); sync_directory()
                    f = os.open('a', os.O_RDWR)
                    {call}
                    assert os.read(os.open('a', os.O_RDONLY), 9) != b'abcdefgh'""")
                over = [line.split() for line in self.disk.journal.read_text().splitlines()
                        if line.startswith("over")]
                self.assertEqual([int(words[3]) for words in over], [octets])

    def test_what_is_appended_overwrites_nothing(self):
        self.assert_left({"a": b"one"}, """
            write('a', b'one'); sync_directory()
            f = os.open('a', os.O_WRONLY | os.O_APPEND)
            os.pwrite(f, b'two', 0); os.write(f, b'three')
            os.pwrite(os.open('a', os.O_WRONLY), b'x', 100)""")
        self.assertNotIn("over", self.disk.journal.read_text())

    def test_an_overwrite_that_goes_on_behind_the_end_is_undone_and_cut_off(self):
        self.assert_left({"a": b"one"}, """
            write('a', b'one'); sync_directory(); overwrite('a', b'ETWO', 2, sync=False)
            overwrite('a', b'w', 4, sync=False)""")

    def test_direct_writes_are_seen(self):
        self.assert_left({"a": b"a" * 4096 + b"B" * 4096}, """
            import mmap
            write('a', b'a' * 8192); sync_directory()
            f = os.open('a', os.O_WRONLY | os.O_DIRECT)
            page = mmap.mmap(-1, 4096)  # Aligned.
            page.write(b'B' * 4096)
            os.pwrite(f, page, 4096); os.fdatasync(f); os.write(f, page)
            assert open('a', 'rb').read() == b'B' * 8192""")

    def test_a_file_that_was_renamed_or_removed_is_overwritten_as_any_other(self):
        self.assert_left({"b": b"OLD", "c": b"old"}, """
            write('a', b'old'); write('c', b'old'); sync_directory()
            f, g = os.open('a', os.O_WRONLY), os.open('c', os.O_WRONLY)
            os.rename('a', 'b'); sync_directory(); os.unlink('c')
            os.write(f, b'OLD'); os.fdatasync(f); os.write(g, b'NEW')""")

    def test_threads_overwrite_one_file(self):
        self.assertEqual(self.run_program("""
            import threading
            write('a', bytes(65536)); sync_directory()
            def run(n):
                for at in range(0, 65536, 512):
                    overwrite('a', bytes([n]) * 512, at, sync=False)
            threads = [threading.Thread(target=run, args=(n,)) for n in (1, 2, 3)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()"""), 0, self.errors)
        self.disk.cut()
        self.assertEqual(len(self.contents()["a"]), 65536)
        self.assertFalse(any(self.contents()["a"]))  # A difference would take long to print.

    def sectors_left(self, random):
        """Of 16 sectors that were "a", then "b", then "c": what they are after a power cut."""
        shutil.rmtree(self.disk.root)
        self.disk.root.mkdir()
        self.assertEqual(self.run_program("""
            write('a', b'a' * 8192); sync_directory()
            overwrite('a', b'b' * 8192, 0, sync=False); overwrite('a', b'c' * 4096, 0, sync=False)
            """), 0, self.errors)
        self.disk.cut(random)
        left = self.contents()["a"]
        self.assertEqual(len(left), 8192)
        sectors = [left[at:at + 512] for at in range(0, 8192, 512)]
        for sector in sectors:
            self.assertEqual(len(set(sector)), 1)  # Never half of one.
        return "".join(chr(sector[0]) for sector in sectors)

    def test_partly_there_are_any_sectors_of_what_was_overwritten(self):
        seen = [self.sectors_left(random.Random(seed)) for seed in range(40)]
        self.assertEqual(seen[7], self.sectors_left(random.Random(7)))
        self.assertIn("a" * 16, seen)
        self.assertIn("c" * 8 + "b" * 8, seen)
        for first, second in ("ab", "ba", "ac", "ca", "bc", "cb"):
            self.assertTrue(any(first + second in left[:8] for left in seen), first + second)
        self.assertFalse(any("c" in left[8:] for left in seen))

    def test_partly_there_a_sector_has_all_that_was_written_before_what_it_has(self):
        seen = set()
        for seed in range(40):
            shutil.rmtree(self.disk.root)
            self.disk.root.mkdir()
            self.run_program("""
                write('a', b'abc'); sync_directory()
                overwrite('a', b'A', 0, sync=False); overwrite('a', b'B', 1, sync=False)
                write('a', b'd', sync=False)""")
            self.disk.cut(random.Random(seed))
            seen.add(self.contents()["a"])
        self.assertEqual(seen, {b"abc", b"Abc", b"ABc", b"ABcd"})

    def test_a_planned_death_may_come_before_an_overwrite(self):
        # Changes: create a, sync, sync the directory, overwrite, overwrite.
        text = """
            write('a', b'one'); sync_directory()
            overwrite('a', b'O', 0, sync=False); overwrite('a', b'N', 1, sync=False)"""
        self.assertEqual(self.run_program(text, kill=5), -9)
        self.assertEqual(self.disk.operations(), 4)
        self.assertEqual(self.contents(), {"a": b"One"})
        self.disk.cut()
        self.assertEqual(self.contents(), {"a": b"one"})

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

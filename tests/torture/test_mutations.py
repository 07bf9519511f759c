"""The broken engines can still be made: their patches apply to this tree. Whether each is
caught is what `tools/torture --mutations` finds out, which has to build them."""
import subprocess
import unittest

import mutations


class PatchTest(unittest.TestCase):
    def test_each_applies_and_says_what_catches_it(self):
        self.assertTrue(mutations.PATCHES)
        for patch in mutations.PATCHES:
            with self.subTest(patch.stem):
                self.assertRegex(patch.read_text(), r"(?m)^Caught by: --(kills|power-cuts|only) \w+")
                done = subprocess.run(["patch", "-p1", "-s", "-f", "-F3", "--dry-run", "-d",
                                       mutations.ROOT, "-i", patch], capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    unittest.main()

"""`cmake --install` and the Debian package put every file where it belongs.

    packaging_test.py [-v] BUILD_DIRECTORY CMAKE CPACK
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

BUILD, CMAKE, CPACK = sys.argv[-3:]

PROGRAMS = {"bin/mailrace", "bin/mailrace-sink", "bin/mailrace-blast"}
NAMES = {"lib/mailrace/sendmail", "lib/mailrace/mailq"}
SYSTEM = {"lib/systemd/system/mailrace.service", "lib/sysusers.d/mailrace.conf",
          "lib/tmpfiles.d/mailrace.conf"}
DOCUMENTS = {f"share/doc/mailrace/{name}" for name in
             ("README.md", "CHANGELOG.md", "ARCHITECTURE.md", "CONFIGURATION.md", "LOGS.md",
              "copyright")}
EVERYTHING = PROGRAMS | NAMES | SYSTEM | DOCUMENTS


def run(*arguments, **options):
    done = subprocess.run([str(argument) for argument in arguments], capture_output=True,
                          text=True, **options)
    if done.returncode != 0:
        raise AssertionError(f"{arguments} ended with {done.returncode}:\n{done.stdout}"
                             f"{done.stderr}")
    return done.stdout


class PackagingTest(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="mailrace-packaging-"))
        self.addCleanup(shutil.rmtree, self.directory)

    def files(self, root):
        return {str(path.relative_to(root)) for path in root.rglob("*")
                if path.is_symlink() or path.is_file()}

    def install(self, prefix):
        run(CMAKE, "--install", BUILD, "--prefix", prefix)

    def test_install_under_a_prefix_of_ones_own(self):
        self.install(self.directory)
        self.assertEqual(self.files(self.directory), EVERYTHING | {"etc/mailrace/main.cf"})

    def test_install_under_usr_configures_in_etc(self):
        self.install(self.directory / "usr")
        self.assertEqual(self.files(self.directory),
                         {f"usr/{name}" for name in EVERYTHING} | {"etc/mailrace/main.cf"})
        unit = (self.directory / "usr/lib/systemd/system/mailrace.service").read_text()
        self.assertIn("\nExecStart=/usr/bin/mailrace serve -c /etc/mailrace\n", unit)

    def test_the_names_lead_to_the_program(self):
        self.install(self.directory)
        for name in NAMES:
            self.assertEqual((self.directory / name).resolve(),
                             (self.directory / "bin/mailrace").resolve())

    def test_an_administrators_configuration_is_kept(self):
        main_cf = self.directory / "etc/mailrace/main.cf"
        main_cf.parent.mkdir(parents=True)
        main_cf.write_text("relayhost = [mine.example.com]\n")
        self.install(self.directory)
        self.assertEqual(main_cf.read_text(), "relayhost = [mine.example.com]\n")

    def test_the_example_configuration_has_no_mistakes(self):
        self.install(self.directory)
        run(self.directory / "bin/mailrace", "check", "-c", self.directory / "etc/mailrace")

    def test_systemd_accepts_the_unit(self):
        if shutil.which("systemd-analyze") is None:
            self.fail("systemd-analyze is missing: package systemd")
        self.install(self.directory)
        run("systemd-analyze", "verify", "--man=no",
            self.directory / "lib/systemd/system/mailrace.service")

    def test_debian_package(self):
        run(CPACK, "-G", "DEB", "--config", pathlib.Path(BUILD) / "CPackConfig.cmake", "-B",
            self.directory, cwd=BUILD)
        [package] = self.directory.glob("mailrace_*.deb")
        unpacked = self.directory / "unpacked"
        run("dpkg-deb", "-R", package, unpacked)
        control = unpacked / "DEBIAN"
        fields = dict(line.split(": ", 1) for line in (control / "control").read_text().split("\n")
                      if line and not line.startswith(" ") and ": " in line)
        for library in ("librocksdb", "libgsasl", "liburing", "libunbound", "libssl3", "libc6"):
            self.assertIn(library, fields["Depends"])
        self.assertEqual((control / "conffiles").read_text(), "/etc/mailrace/main.cf\n")
        for script in ("postinst", "prerm", "postrm"):
            run("sh", "-n", control / script)
            self.assertEqual((control / script).stat().st_mode & 0o777, 0o755)
        shutil.rmtree(control)
        self.assertEqual(self.files(unpacked),
                         {f"usr/{name}" for name in EVERYTHING} | {"etc/mailrace/main.cf"})
        # Nothing that only root may look at, nothing that others may write.
        listing = run("dpkg-deb", "-c", package).splitlines()
        for line in listing:
            mode, owner = line.split()[:2]
            self.assertEqual(owner, "root/root", line)
            self.assertNotIn("w", mode[4:] if mode[0] != "l" else "", line)
            self.assertEqual(mode[7] if mode[0] != "l" else "r", "r", line)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:-3])

"""A private copy-on-write view of this machine in which a mail system of Debian's packages is
installed and runs: the machine's own packages, users and files stay as they are. Needs root.
"""
import os
import pathlib
import select
import signal
import socket
import subprocess
import time

INSTALL = """\
printf '#!/bin/sh\\nexit 101\\n' > root/usr/sbin/policy-rc.d
chmod +x root/usr/sbin/policy-rc.d
export DEBIAN_FRONTEND=noninteractive
chroot root apt-get install -y --no-install-recommends {packages}
"""

# The shell stays: it is process 1 in there, and collects what daemons leave behind.
MOUNT = """\
set -e
cd {directory}
mount --make-rprivate /
mount -t overlay overlay -o lowerdir=/,upperdir={directory}/upper,workdir={directory}/work root
mount --rbind /dev root/dev
mount -t proc proc root/proc
"""


class Overlay:
    """Made once; what is installed or written stays until the directory is removed."""

    def __init__(self, directory, packages):
        self.directory = pathlib.Path(directory)
        for name in ("upper", "work", "root"):
            (self.directory / name).mkdir(parents=True)
        done = self._output(INSTALL.format(packages=" ".join(packages)))
        if not list(self.directory.glob("upper/var/lib/dpkg/info/" + packages[0] + ".list")):
            raise RuntimeError(f"{' '.join(packages)} cannot be installed:\n{done}")

    def version(self, package):
        query = f"chroot root dpkg-query -W -f '${{Version}}' {package}"
        return self._output(query).strip()

    def start(self, queue, mounted_at, files, command):
        """Runs `command` with the directory `queue` of this machine's file system at
        `mounted_at` and `files`, a map of path to text. It must stay in the foreground."""
        script = f"mkdir -p root{mounted_at}\nmount --bind {queue} root{mounted_at}\n"
        for path, text in files.items():
            script += f"cat > root{path} <<'END-OF-FILE'\n{text}\nEND-OF-FILE\nchmod 600 root{path}\n"
        return self._shell(script + f"chroot root sh -c '{command}'\n")

    def _shell(self, script):
        """Its output goes to a file: it must not wait for a reader."""
        with open(self.directory / "output", "w", encoding="utf-8") as output:
            return subprocess.Popen(
                ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c",
                 MOUNT.format(directory=self.directory) + script],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)

    def _output(self, script):
        self._shell(script).wait()
        return self.output()

    def output(self):
        """What was printed since the last start."""
        return (self.directory / "output").read_text(errors="replace")


class Instance:
    """What an overlay started, once it greets on `port`."""

    def __init__(self, overlay, process, port, seconds=30):
        self.port = port
        self._process = process
        deadline = time.monotonic() + seconds
        while not self._greets():
            if process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"does not start:\n{overlay.output()}")
            time.sleep(0.05)

    def _greets(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                return connection.recv(3) == b"220"
        except OSError:
            return False

    @property
    def pid(self):
        """All its processes are below this one."""
        return self._process.pid

    def stop(self):
        """Afterwards nobody writes to the queue any more."""
        if self._process.poll() is not None:
            return
        children = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        namespaces = [os.pidfd_open(int(child)) for child in children]
        for first in namespaces:
            # And with it all processes of its namespace; it ends behind them. By hand: who runs
            # a set-user-ID program, as Exim is, survives unshare's --kill-child.
            signal.pidfd_send_signal(first, signal.SIGKILL)
            if not select.select([first], [], [], 60)[0]:
                raise RuntimeError("does not end although it was killed")
            os.close(first)
        self._process.wait()

"""File systems of our own, mounted where nobody else sees them: ext4 on a loop device that
can be cut off as by a power cut, and a small tmpfs that can be filled. Both need root.
"""
import ctypes
import fcntl
import os
import pathlib
import struct
import subprocess

import harness
from power_cut import Boot

CLONE_NEWNS = 0x00020000
# ext4's (and xfs's) emergency shutdown: from now on every operation fails with EIO, and
# with NOLOGFLUSH nothing that is not yet on the device gets there (linux/fs.h, 6.x:
# FS_IOC_SHUTDOWN; before it EXT4_IOC_SHUTDOWN of the same number).
SHUTDOWN = 0x8004587D
NOLOGFLUSH = 2


def make_mounts_private():
    """Mounts of this process and its children are theirs alone, and end with them. Once a
    process. False: not permitted."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        return False
    return subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True).returncode == 0


def available(base):
    """Whether both kinds can be had here: containers often forbid mounts or loop devices even
    to root. To be asked in a process of its own, as it makes the mounts private."""
    if not make_mounts_private():
        return False
    for number, make in enumerate((lambda path: Tmpfs(path, "1M"), lambda path: Ext4(path, "16M"))):
        try:
            make(pathlib.Path(base) / f"probe{number}").close()
        except (OSError, subprocess.CalledProcessError):
            return False
    return True


class Tmpfs:
    """A file system in memory, of `size` octets."""

    def __init__(self, base, size):
        self.root = pathlib.Path(base) / "disk"
        self.root.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "torture", self.root],
                       check=True)

    def arm(self, shim, **faults):
        assert not faults, "the shim wants a plain directory"
        return {}

    def free(self):
        status = os.statvfs(self.root)
        return status.f_bavail * status.f_frsize

    def fill(self, leave=0):
        """Takes the space but for `leave` octets."""
        with open(self.root / "filler", "ab", buffering=0) as filler:
            while self.free() > leave:
                try:
                    filler.write(bytes(min(1 << 20, self.free() - leave)))
                except OSError:
                    return

    def empty(self):
        (self.root / "filler").unlink()

    def close(self):
        subprocess.run(["umount", "-l", self.root], check=False)


class Ext4:
    """A real file system on a loop device. cut() is what its driver does when the device
    goes away; what comes back is what its journal brings back."""

    def __init__(self, base, size="256M"):
        base = pathlib.Path(base)
        self.root = base / "disk"
        self.root.mkdir(parents=True)
        self._image = base / "image"
        subprocess.run(["truncate", "-s", size, self._image], check=True)
        self._boot = Boot(base)
        # Lazy initialisation would write for seconds after the first mount.
        subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0",
                        "-J", "size=4", self._image], check=True)
        self._mount()

    def _mount(self):
        subprocess.run(["mount", "-o", "loop", self._image, self.root], check=True)

    def arm(self, shim, **faults):
        assert not faults, "the shim wants a plain directory"
        return self._boot.environment(shim)

    def go_dark(self):
        """The device is gone; processes that use it live on and find out. A sync that is under
        way at this moment may return OK although its octets are lost (seen with fdatasync in a
        loop on Linux 6.18: 50 of 627 times): what is acknowledged around it proves nothing."""
        handle = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.ioctl(handle, SHUTDOWN, struct.pack("I", NOLOGFLUSH))
        os.close(handle)

    def come_back(self):
        """The power is back. Only when nobody uses it any more; of a process that was killed
        the kernel takes down the ring, which holds on to its files, a moment later."""
        harness.wait_until(f"{self.root} can be unmounted", lambda: subprocess.run(
            ["umount", self.root], capture_output=True).returncode == 0)
        self._mount()
        self._boot.again()

    def set_read_only(self, read_only):
        """Only when nobody writes to it."""
        subprocess.run(["mount", "-o", "remount," + ("ro" if read_only else "rw"), self.root],
                       check=True)

    def close(self):
        subprocess.run(["umount", "-l", self.root], check=False)

"""What a power cut leaves of a directory, from the journal of disk_shim.cc.

Strict: everything that was not synced is gone, names whose directory was not synced too;
what was written over and not synced is as before. Partial, by a seed: of each file a prefix
of what was appended after its last sync reached the disk, of what was written over any of
its sectors, of each directory a prefix of its changes. Both are what the standard allows; a
program that keeps its promises on one of them only is broken.
"""
import os
import pathlib
import shutil
import uuid

PAGE = 4096
SECTOR = 512  # What a disk writes wholly or not at all.


class Boot:
    """The machine's boot id, as the programs of this test see it: another one after each
    power cut."""

    def __init__(self, base):
        self._file = pathlib.Path(base) / "boot_id"
        self.again()

    def again(self):
        self._file.write_text(f"{uuid.uuid4()}\n")

    def environment(self, shim):
        return {"LD_PRELOAD": str(shim), "TORTURE_DISK_BOOT": str(self._file)}


class Disk:
    """A directory `root` in `base`, with the shim's journal and graveyard beside it."""

    def __init__(self, base):
        self.base = pathlib.Path(base)
        self.root = self.base / "disk"
        self.grave = self.base / "grave"
        self.journal = self.base / "journal"
        self.root.mkdir(parents=True, exist_ok=True)
        self._names = {}
        self._sizes = {}
        self._directories = set()
        self._boot = Boot(self.base)

    def arm(self, shim, **faults):
        """The environment of the next program on this disk. What is there now is durable."""
        shutil.rmtree(self.grave, ignore_errors=True)
        self.grave.mkdir()
        self.journal.write_text("")
        self._names, self._sizes, self._directories = {}, {}, {"."}
        for directory, _, files in os.walk(self.root):
            below = pathlib.Path(directory).relative_to(self.root)
            self._directories.add(str(below))
            for name in files:
                path = pathlib.Path(directory) / name
                status = path.lstat()
                os.link(path, self.grave / str(status.st_ino))
                self._names[str(below / name)] = status.st_ino
                self._sizes[status.st_ino] = status.st_size
        environment = {**self._boot.environment(shim), "TORTURE_DISK_ROOT": str(self.root),
                       "TORTURE_DISK_JOURNAL": str(self.journal),
                       "TORTURE_DISK_GRAVE": str(self.grave)}
        for name, value in faults.items():
            environment["TORTURE_DISK_" + name.upper()] = str(value)
        return environment

    def operations(self):
        """How many changes and syncs the program has come to."""
        return self.journal.read_bytes().count(b"\n")

    def cut(self, random=None):
        """Rebuilds the root as the disk has it. `random`: partial; None: strict. Only when
        the program is dead."""
        self._boot.again()
        state = _State(self._names, self._sizes, self._directories)
        for line in self.journal.read_text().split("\n")[:-1]:
            state.apply(line.split(" "))
        if random is not None:
            state.apply_some_pending(random)
        names, directories = state.surviving()
        contents = {path: self._content(inode, state, random) for path, inode in names.items()}
        shutil.rmtree(self.root)
        for directory in sorted(directories):
            (self.root / directory).mkdir(mode=0o700, exist_ok=True)
        for path, content in contents.items():
            (self.root / path).write_bytes(content)
            (self.root / path).chmod(0o600)

    def _content(self, inode, state, random):
        written = (self.grave / str(inode)).read_bytes()
        synced = min(state.sizes.get(inode, 0), len(written))
        if inode in state.mapped:
            return _mapped_content(written, random)
        left = synced
        if random is not None:
            left = random.choice((synced, len(written), random.randint(synced, len(written))))
        overwrites = [(offset, self._overwritten(octets, place))
                      for offset, octets, place in state.overwrites.get(inode, ())]
        return _before_overwrites(written[:left], synced, overwrites, random)

    def _overwritten(self, octets, place):
        with open(self.grave / "overwritten", "rb") as file:
            file.seek(place)
            return file.read(octets)


def _before_overwrites(content, synced, overwrites, random):
    """Without those of the unsynced overwrites (offset, what was there), oldest first, that did
    not reach the disk. A sector that has one of them has all earlier ones."""
    content = bytearray(content)
    reached = set()
    if len(content) > synced and synced % SECTOR != 0:
        reached.add(synced // SECTOR)  # It has octets that were appended, so it was written.
    for offset, before in reversed(overwrites):
        sectors = range(offset // SECTOR, (offset + len(before) - 1) // SECTOR + 1)
        if random is not None:
            reached.update(_some_sectors(sectors, random))
        for sector in sectors:
            if sector in reached:
                continue
            begin = max(sector * SECTOR, offset)
            end = min((sector + 1) * SECTOR, offset + len(before), len(content))
            if begin < end:
                content[begin:end] = before[begin - offset:end - offset]
    return bytes(content)


def _some_sectors(sectors, random):
    """Those of one write that reached the disk: all, none, the first, a run of them, or any."""
    kind = random.choice(("all", "none", "first", "run", "any"))
    if kind == "all":
        return sectors
    if kind == "none":
        return ()
    if kind == "first":
        return sectors[:random.randint(0, len(sectors))]
    if kind == "run":
        first, last = sorted(random.choices(range(len(sectors) + 1), k=2))
        return sectors[first:last]
    return [sector for sector in sectors if random.random() < 0.5]


def _mapped_content(written, random):
    """Pages written through a mapping go to the disk whenever the kernel likes."""
    if random is None:
        return bytes(len(written))
    pages = [written[at:at + PAGE] for at in range(0, len(written), PAGE)]
    return b"".join(page if random.random() < 0.5 else bytes(len(page)) for page in pages)


def _directory_of(path):
    return os.path.dirname(path) or "."


class _State:
    """What the disk holds, as the journal is read."""

    def __init__(self, names, sizes, directories):
        self.names = dict(names)
        self.sizes = dict(sizes)
        self.directories = set(directories)
        self.mapped = set()
        self.overwrites = {}  # Of an inode, since its last sync: (offset, octets, place).
        self._pending = []  # (directory, operation) whose directory was not synced since.

    def apply(self, operation):
        verb = operation[0]
        if verb == "sync":
            self.sizes[int(operation[1])] = int(operation[2])
            self.overwrites.pop(int(operation[1]), None)
        elif verb == "over":
            inode, *overwrite = map(int, operation[1:])
            self.overwrites.setdefault(inode, []).append(overwrite)
        elif verb == "map":
            self.mapped.add(int(operation[1]))
        elif verb == "dirsync":
            self._commit(lambda directory: directory == operation[1])
        elif verb == "syncall":
            self._commit(lambda directory: True)
        elif verb in ("create", "rename", "link", "unlink", "mkdir"):
            self._pending.append((_directory_of(operation[-1]), operation))
        else:
            raise ValueError(f"unknown operation {operation}")

    def _commit(self, durable):
        kept = []
        for directory, operation in self._pending:
            if durable(directory):
                self._change(operation)
            else:
                kept.append((directory, operation))
        self._pending = kept

    def apply_some_pending(self, random):
        """A prefix for each directory: file systems keep the order of its changes."""
        for name in sorted({directory for directory, _ in self._pending}):
            changes = [operation for directory, operation in self._pending if directory == name]
            for operation in changes[:random.randint(0, len(changes))]:
                self._change(operation)
        self._pending = []

    def _change(self, operation):
        verb, *words = operation
        if verb == "create":
            self.names[words[1]] = int(words[0])
        elif verb == "mkdir":
            self.directories.add(words[0])
        elif verb == "unlink":
            self.names.pop(words[0], None)
        elif verb == "link":
            if words[0] in self.names:
                self.names[words[1]] = self.names[words[0]]
        elif verb == "rename":
            self._rename(*words)

    def _rename(self, source, target):
        if source in self.names:
            self.names[target] = self.names.pop(source)
        else:
            # The name that it had was never durable, but the file is: the rename makes it so.
            inode = self._pending_inode(source)
            if inode is not None:
                self.names[target] = inode

    def _pending_inode(self, path):
        for _, operation in reversed(self._pending):
            if operation[0] == "create" and operation[2] == path:
                return int(operation[1])
        return None

    def surviving(self):
        """({path: inode}, directories) that can be reached from the root."""
        def reachable(directory):
            while directory != ".":
                if directory not in self.directories:
                    return False
                directory = _directory_of(directory)
            return True
        directories = {directory for directory in self.directories if reachable(directory)}
        names = {path: inode for path, inode in self.names.items()
                 if _directory_of(path) in directories}
        return names, directories

"""What a disk can do to a queue beside losing power: one function a fault. Each brings it
about on a real process, checks what reliability demands of the engine and returns the
oracle's verdict on the mail with a sentence of what was seen; a broken promise raises.
"""
import pathlib
import random
import re
import shutil
import signal
import struct
import subprocess
import time

import stage  # First: it sets the path of the harness.
import harness
import volumes

LOG_BLOCK = 32768  # Of RocksDB's write-ahead logs.
# Of the frames in which they lie in a file that was there before (queue/log_frame.h).
SECTOR, TAG, FRAME_ALIGNMENT = 512, 4, 4096
FRAME_HEADER = struct.Struct(">8s6Q4I")
FRAME_MAGIC = b"MRLOGF1\n"
CASES = {}
MOUNTING = set()  # Their names; they need root.


def case(function):
    CASES[function.__name__] = function
    return function


def case_that_mounts(function):
    MOUNTING.add(function.__name__)
    return case(function)


class Scene:
    """An engine before a relay, with the steps that most faults have in common."""

    def __init__(self, directory, seed, disk=None, configuration="", relay_options=()):
        self.directory = pathlib.Path(directory)
        self.random = random.Random(seed)
        self.disk = disk
        self.relay = stage.SinkRelay(self.directory / "sink", *relay_options)
        self.applications = []
        self._configuration = configuration
        self.engine = stage.Engine(self.directory, "", disk=disk)
        self.deliver(True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for application in self.applications:
            application.close()
        if self.engine.program is not None and self.engine.program.running:
            self.engine.bury()
        self.relay.close()
        if hasattr(self.disk, "close"):
            self.disk.close()
        (self.directory / "engine.log").write_text(
            "\n---- next life ----\n".join(self.engine.outputs))

    def deliver(self, delivers):
        """The next start sends mail, or only queues it."""
        self.engine.configure(f"relayhost = [127.0.0.1]:{self.relay.port}\n"
                              + ("" if delivers else "defer_transports = smtp\n")
                              + self._configuration)

    def submit(self, run, messages=50, recipients=1, size=2000, complete=True, connections=4,
               rate=0):
        application = stage.Application(self.directory, self.engine.port, run, messages,
                                        recipients, connections, size, "--rate", rate)
        self.applications.append(application)
        if complete:
            application.finish()
            if len(application.acknowledged()) != messages * recipients:
                raise AssertionError(f"{len(application.acknowledged())} of "
                                     f"{messages * recipients} were acknowledged")
        return application

    def fill_queue(self, run="before", kill=False, **load):
        """A stopped queue that holds acknowledged mail. `kill`: its end was not told to it."""
        self.deliver(False)
        self.engine.start()
        self.submit(run, **load)
        if kill:
            self.engine.bury()
        else:
            self.engine.leave()

    def expect_refusal(self, *patterns):
        """A start that ends by itself, not by a crash, and says why."""
        try:
            self.engine.start()
        except stage.StartRefused as refused:
            if refused.status != 69:
                raise
            for pattern in patterns:
                if not re.search(pattern, refused.output):
                    raise AssertionError(f"the refusal does not say {pattern!r}:\n"
                                         f"{refused.output}") from None
            return refused.output
        raise AssertionError("the engine started on a damaged queue as if nothing was wrong")

    def finish(self, *arguments, held=False, check_duplicates=True):
        """Starts, drains, stops; the oracle's verdict."""
        self.deliver(True)
        self.engine.start(*arguments)
        self.engine.drain(everything=not held)
        queued = self.engine.queued()
        self.engine.leave()
        return stage.judge(self.engine, self.relay, self.applications, queued,
                           check_duplicates)[0]

    def accept_loss(self, lost_max, held=False):
        """`--accept-loss` goes on, keeps a copy and tells the gap; what is left is sent. The
        verdict is about everything but what the operator gave up."""
        verdict = self.finish("--accept-loss", held=held)
        output = self.engine.outputs[-1]
        if not re.search(r"the damaged files are kept in (\S+)", output):
            raise AssertionError(f"no copy is named:\n{output[-2000:]}")
        copy = re.search(r"the damaged files are kept in (\S+)", output).group(1)
        if not pathlib.Path(copy).is_dir():
            raise AssertionError(f"the copy {copy} is not there")
        if not re.search(r"records are missing|number of missing records is unknown", output):
            raise AssertionError(f"the loss is not told:\n{output[-2000:]}")
        given_up = len(verdict.lost)
        held = len(re.findall(r": held: ", output))
        if given_up > lost_max:
            raise AssertionError(f"{given_up} lost, at most {lost_max} needed to be")
        verdict.breaches = [breach for breach in verdict.breaches if "are lost" not in breach]
        verdict.lost = set()
        return verdict, (f"refused; with --accept-loss {given_up} given up and told, {held} held "
                         "without their content, copy kept")

    def database(self, suffix):
        files = sorted((self.engine.queue / "queue").glob(suffix), key=lambda f: f.stat().st_size)
        if not files:
            raise AssertionError(f"no {suffix} in the queue")
        return files[-1]  # The one that holds most.

    def log(self):
        """The log that holds most."""
        return max(map(Log, (self.engine.queue / "queue").glob("*.log")),
                   key=lambda log: len(log.places))


class Log:
    """A write-ahead log: which of the file's octets are those that RocksDB wrote. The file is
    longer, where it was there before."""

    def __init__(self, path):
        self.path = path
        self.name = path.name
        self.content = bytearray(path.read_bytes())
        self.frames = list(self._find_frames())  # (offset, octets of it, of its payload).
        # Where in the file each octet of the log is.
        self.places = range(len(self.content))
        if self.frames:
            self.places = [offset + _in_sectors(at) for offset, _, payload in self.frames
                           for at in range(FRAME_HEADER.size, FRAME_HEADER.size + payload)]

    def _find_frames(self):
        offset, life = 0, None
        while offset + FRAME_HEADER.size <= len(self.content):
            magic, log, its_life, *_, blank, payload, _, _ = FRAME_HEADER.unpack_from(
                self.content, offset)
            # Another life's: of the log that the file was before.
            if magic != FRAME_MAGIC or life not in (None, (log, its_life)):
                return
            life = (log, its_life)
            self.blank = blank == 1
            sectors = -(-(FRAME_HEADER.size + payload) // (SECTOR - TAG))
            octets = -(-sectors * SECTOR // FRAME_ALIGNMENT) * FRAME_ALIGNMENT
            yield offset, octets, payload
            offset += octets

    @property
    def end(self):
        """Of what was written to the file as this log."""
        return sum(self.frames[-1][:2]) if self.frames else len(self.content)

    def require_frames(self, blank):
        """Its rest was never written to, or was another log. A disk with little space left keeps
        no file for a log."""
        if not self.frames or self.blank != blank or self.end == len(self.content):
            raise AssertionError(f"{self.path} is no log over a {'blank' if blank else 'used'} "
                                 "file: nothing would be shown")

    def flip(self, place):
        """One bit of the file."""
        self.content[place] ^= 0x10
        self.path.write_bytes(self.content)

    def cut(self, octets):
        self.path.write_bytes(self.content[:octets])

    def put(self, place, garbage):
        self.content[place:place + len(garbage)] = garbage
        self.path.write_bytes(self.content)


def _in_sectors(at):
    """Of an octet of a frame's stream, in the frame: each sector ends with a tag."""
    return at // (SECTOR - TAG) * SECTOR + at % (SECTOR - TAG)


def flip(path, where):
    """One bit at a share of the file's length, or a log's: of what RocksDB wrote."""
    if path.suffix == ".log":
        log = Log(path)
        position = int(len(log.places) * where)
        # The last six octets of a log's block may be padding, which nobody reads: no damage.
        if LOG_BLOCK - position % LOG_BLOCK <= 6:
            position += 6
        log.flip(log.places[position])
        return
    content = bytearray(path.read_bytes())
    content[int(len(content) * where)] ^= 0x10
    path.write_bytes(bytes(content))


def cut(path, octets):
    path.write_bytes(path.read_bytes()[:-octets])


@case
def calm(directory, seed):
    """Nothing goes wrong."""
    with Scene(directory, seed) as scene:
        scene.engine.start()
        scene.submit("calm", 200, recipients=2)
        scene.engine.drain()
        scene.engine.leave()
        verdict = stage.judge(scene.engine, scene.relay, scene.applications)[0]
        return verdict, "everything delivered once"


# --- a full disk, a failing one, a slow one ---


@case_that_mounts
def full_disk_below_the_watermark(directory, seed):
    """452 at MAIL, what is queued goes on, resumes by itself."""
    disk = volumes.Tmpfs(directory / "volume", "96M")
    with Scene(directory, seed, disk, "message_size_limit = 1048576\nqueue_minfree = 16M\n"
               "queue_free_space_reserve = 16M\n", ("--reply-delay", "2")) as scene:
        scene.engine.start()
        scene.submit("before", 300)
        disk.fill(leave=8 << 20)
        harness.wait_until("MAIL is refused", lambda: _mail_code(scene.engine.port) == 452)
        scene.engine.drain()
        process = scene.engine.program.process.pid
        disk.empty()
        harness.wait_until("MAIL is taken", lambda: _mail_code(scene.engine.port) == 250)
        scene.submit("after", 50)
        scene.engine.drain()
        assert scene.engine.program.process.pid == process
        scene.engine.leave()
        verdict = stage.judge(scene.engine, scene.relay, scene.applications)[0]
        return verdict, "452 4.3.1 at MAIL, relaying went on, 250 again once space was back"


def _mail_code(port):
    with harness.smtplib.SMTP("127.0.0.1", port, "client.example.com", 30) as client:
        client.ehlo()
        code, text = client.mail("app@example.com")
        if code == 452 and b"4.3.1" not in text:
            raise AssertionError(f"452 {text}")
        return code


@case_that_mounts
def full_disk_to_the_last_octet(directory, seed):
    """No abort; outcomes are kept in memory, nothing is lost, resumes by itself."""
    disk = volumes.Tmpfs(directory / "volume", "96M")
    with Scene(directory, seed, disk, "message_size_limit = 1048576\nqueue_minfree = 1M\n"
               "queue_free_space_reserve = 1M\n"
               "default_destination_concurrency_limit = 4\n", ("--reply-delay", "20")) as scene:
        scene.engine.start()
        application = scene.submit("during", 20000, complete=False, size=8000, connections=8,
                                   rate=500)
        harness.wait_until("some were accepted", lambda: scene.relay.count() > 50)
        disk.fill()
        harness.wait_until("the application is refused", lambda: not application.running)
        application.finish()
        harness.wait_until("the engine has noticed",
                           lambda: "No space left" in scene.engine.program.output or
                           scene.engine.stats()["queue"]["total"] == 0)
        if not scene.engine.program.running:
            raise AssertionError(f"the engine ended:\n{scene.engine.program.output[-2000:]}")
        disk.empty()
        # Each shard looks at the disk anew once in a while, and connections take turns.
        harness.wait_until("MAIL is taken by all shards",
                           lambda: all(_mail_code(scene.engine.port) == 250 for _ in range(8)))
        scene.engine.drain()
        scene.submit("after", 50)
        scene.engine.drain()
        scene.engine.leave()
        verdict = stage.judge(scene.engine, scene.relay, scene.applications)[0]
        return verdict, "no abort, same process, everything delivered once space was back"


@case_that_mounts
def full_disk_and_restart(directory, seed):
    """Killed while the disk is full, started on the full disk, then given space."""
    disk = volumes.Tmpfs(directory / "volume", "96M")
    with Scene(directory, seed, disk, "message_size_limit = 1048576\nqueue_minfree = 1M\n"
               "queue_free_space_reserve = 1M\n") as scene:
        scene.deliver(False)
        scene.engine.start()
        scene.submit("before", 500, size=8000)
        disk.fill()
        scene.engine.bury()
        try:
            scene.engine.start()
            seen = "started on the full disk"
            scene.engine.bury()
        except stage.StartRefused as refused:
            if refused.status != 69 or "No space left" not in refused.output:
                raise
            seen = "start refused in one line while full"
        disk.empty()
        return scene.finish(), seen + ", whole once space was back"


@case
def sync_fails_with_eio(directory, seed):
    """4xx to who waits, the process ends non-zero, the restart loses nothing."""
    with Scene(directory, seed) as scene:
        scene.engine.start(eio=scene.random.randint(1, 120))
        application = scene.submit("before", 2000, complete=False, connections=8)
        status = scene.engine.ended()
        application.finish()
        if status != 70:
            raise AssertionError(f"ended with {status}, not 70 (EX_SOFTWARE)")
        return scene.finish(), "panic, exit status 70, whole after the restart"


@case_that_mounts
def disk_goes_away_while_running(directory, seed):
    """Every operation on the real ext4 fails with EIO from now on, as its outcomes come."""
    disk = volumes.Ext4(directory / "volume")
    with Scene(directory, seed, disk, "default_destination_concurrency_limit = 2\n",
               ("--reply-delay", "20")) as scene:
        scene.engine.start()
        scene.submit("before", 300)
        harness.wait_until("some were accepted", lambda: scene.relay.count() > 5)
        disk.go_dark()
        status = scene.engine.ended()
        if status != 70:
            raise AssertionError(f"ended with {status}, not 70 (EX_SOFTWARE)")
        disk.come_back()
        # The flight journal was in memory only, and the engine says that its list is old.
        return (scene.finish(check_duplicates=False),
                "panic, exit status 70, whole after the restart")


@case_that_mounts
def read_only_at_start(directory, seed):
    disk = volumes.Ext4(directory / "volume")
    with Scene(directory, seed, disk) as scene:
        scene.fill_queue()
        disk.set_read_only(True)
        scene.expect_refusal("read-only file system")
        disk.set_read_only(False)
        return scene.finish(), "refused in one line; whole once writable"


@case
def slow_disk(directory, seed):
    """Every sync takes 50 ms: slower, nothing else."""
    with Scene(directory, seed) as scene:
        scene.engine.start(slow=50)
        scene.submit("slow", 100, connections=16)
        scene.engine.drain()
        scene.engine.leave()
        verdict = stage.judge(scene.engine, scene.relay, scene.applications)[0]
        return verdict, "everything acknowledged and delivered, later"


@case
def second_instance(directory, seed):
    with Scene(directory, seed) as scene:
        scene.engine.start()
        first = scene.engine.program
        scene.expect_refusal(rf"in use by another instance \(process {first.process.pid}\)")
        scene.engine.program = first
        scene.submit("after", 20)
        scene.engine.drain()
        scene.engine.leave()
        verdict = stage.judge(scene.engine, scene.relay, scene.applications)[0]
        return verdict, "refused, naming the process that holds it; the first went on"


# --- damage ---


@case
def log_flipped_in_the_middle(directory, seed):
    with Scene(directory, seed) as scene:
        scene.fill_queue()
        log = scene.log()
        flip(log.path, scene.random.uniform(0.2, 0.8))
        scene.expect_refusal(re.escape(log.name), "--accept-loss")
        return scene.accept_loss(lost_max=45)


@case
def log_flipped_in_its_last_frame_after_a_kill(directory, seed):
    """No marker tells how long the log was, and a frame that a power cut tore is no damage."""
    with Scene(directory, seed) as scene:
        scene.fill_queue(kill=True, connections=1)
        log = scene.log()
        log.require_frames(blank=True)
        log.flip(log.places[-scene.random.randint(1, min(300, log.frames[-1][2]))])
        scene.expect_refusal(re.escape(log.name), "--accept-loss")
        return scene.accept_loss(lost_max=1)


@case
def log_flipped_in_a_frames_head(directory, seed):
    """Of any frame, the last one too, although nobody says how long the log was."""
    with Scene(directory, seed) as scene:
        scene.fill_queue(kill=True)
        log = scene.log()
        log.require_frames(blank=True)
        number = scene.random.choice((scene.random.randrange(len(log.frames)),
                                      len(log.frames) - scene.random.choice((1, 2))))
        log.flip(log.frames[number][0] + scene.random.randrange(FRAME_HEADER.size))
        scene.expect_refusal(re.escape(log.name), "--accept-loss")
        verdict, seen = scene.accept_loss(lost_max=50)
        return verdict, f"frame {number} of {len(log.frames)}: {seen}"


@case
def log_flipped_in_the_length_of_its_last_record_after_a_kill(directory, seed):
    """The record seems to go on behind the end, as one does that a power cut tore."""
    with Scene(directory, seed) as scene:
        scene.fill_queue(kill=True, connections=1)
        log = scene.log()
        log.require_frames(blank=True)
        frame, _, _ = log.frames[-1]
        # Checksum (4), length (2), type: the frame begins with a record.
        log.flip(frame + FRAME_HEADER.size + 5)
        scene.expect_refusal(re.escape(log.name), "--accept-loss")
        return scene.accept_loss(lost_max=1)


@case
def log_flipped_in_a_frames_padding(directory, seed):
    """In the zeros behind the payload, or in a sector's tag: everything is there."""
    with Scene(directory, seed) as scene:
        scene.fill_queue(kill=True)
        log = scene.log()
        log.require_frames(blank=True)
        if scene.random.random() < 0.5:
            what = "zeros"
            frame, octets, payload = scene.random.choice(log.frames)
            stream = octets // SECTOR * (SECTOR - TAG)
            place = frame + _in_sectors(scene.random.randrange(FRAME_HEADER.size + payload, stream))
            assert log.content[place] == 0
        else:
            what = "tag"
            place = scene.random.randrange(1, log.end // SECTOR + 1) * SECTOR
            place -= scene.random.randint(1, TAG)
        log.flip(place)
        return scene.finish(), f"{what} at octet {place} of {log.end}: opened, nothing lost"


@case
def log_flipped_in_its_blank_rest(directory, seed):
    """Nothing is lost, but nobody can tell that from what was written and damaged."""
    with Scene(directory, seed) as scene:
        scene.fill_queue(kill=True)
        log = scene.log()
        log.require_frames(blank=True)
        log.flip(scene.random.randrange(log.end, len(log.content)))
        scene.expect_refusal(re.escape(log.name), "octets that nobody wrote", "--accept-loss")
        return scene.accept_loss(lost_max=0)


def _fill_over_another(scene):
    """A log that is shorter than the one whose file it has."""
    scene.fill_queue("first", messages=60)
    scene.fill_queue("second", messages=60)  # Here the first one's file becomes free.
    scene.fill_queue("third", messages=20, kill=True)


@case
def log_flipped_in_what_it_was_before(directory, seed):
    """The log lies over an older one, whose octets count for nothing."""
    with Scene(directory, seed) as scene:
        _fill_over_another(scene)
        log = scene.log()
        log.require_frames(blank=False)
        assert FRAME_MAGIC in log.content[log.end:]
        # In the older frames, or behind them too.
        last = log.content.rindex(FRAME_MAGIC) + FRAME_ALIGNMENT
        log.flip(scene.random.randrange(log.end, last))
        return scene.finish(), "opened, nothing lost"


@case
def log_over_another_flipped(directory, seed):
    """The log lies over an older one, which must not be taken for its end."""
    with Scene(directory, seed) as scene:
        _fill_over_another(scene)
        log = scene.log()
        log.require_frames(blank=False)
        flip(log.path, scene.random.uniform(0.1, 0.99))
        scene.expect_refusal(re.escape(log.name), "--accept-loss")
        return scene.accept_loss(lost_max=30)


@case
def log_truncated(directory, seed):
    """Of the blank rest of its file. Nothing is lost, but who cuts may have cut more."""
    with Scene(directory, seed) as scene:
        scene.fill_queue(kill=True)
        log = scene.log()
        log.require_frames(blank=True)
        log.cut(scene.random.choice((log.end, scene.random.randrange(log.end, len(log.content)))))
        scene.expect_refusal(re.escape(log.name), f"cut short, it had {len(log.content)} octets",
                             "--accept-loss")
        return scene.accept_loss(lost_max=0)


@case
def log_truncated_among_its_frames(directory, seed):
    with Scene(directory, seed) as scene:
        scene.fill_queue(kill=True)
        log = scene.log()
        log.require_frames(blank=True)
        octets = scene.random.randint(1, 40000)
        log.cut(log.end - octets)
        scene.expect_refusal(re.escape(log.name), f"cut short, it had {len(log.content)} octets",
                             "--accept-loss")
        return scene.accept_loss(lost_max=25)


@case
def log_empty(directory, seed):
    """Nothing in it says what it was; the marker says what is missing."""
    with Scene(directory, seed) as scene:
        scene.fill_queue()
        log = scene.log()
        log.cut(0)
        scene.expect_refusal(r"\(\d+ missing\)", "--accept-loss")
        return scene.accept_loss(lost_max=50)


@case
def log_with_garbage_appended(directory, seed):
    """Not a loss; whether it looks like a damaged record is chance."""
    with Scene(directory, seed) as scene:
        scene.fill_queue()
        log = scene.log()
        log.put(len(log.content), scene.random.randbytes(300))
        try:
            scene.engine.start()
            scene.engine.leave()
            return scene.finish(), "opened, nothing lost"
        except stage.StartRefused as refused:
            if refused.status != 69 or log.name not in refused.output:
                raise
            return scene.accept_loss(lost_max=0)


@case
def log_with_garbage_behind_its_end(directory, seed):
    """Where the next frame would be."""
    with Scene(directory, seed) as scene:
        scene.fill_queue(kill=True)
        log = scene.log()
        log.require_frames(blank=True)
        log.put(log.end, scene.random.randbytes(scene.random.choice((300, 3000, 30000))))
        scene.expect_refusal(re.escape(log.name), "octets that nobody wrote", "--accept-loss")
        return scene.accept_loss(lost_max=0)


@case
def log_with_garbage_over_its_end(directory, seed):
    with Scene(directory, seed) as scene:
        scene.fill_queue(connections=1)
        log = scene.log()
        end = log.places[-1] + 1
        log.put(end - 300, scene.random.randbytes(300))
        scene.expect_refusal(re.escape(log.name), "--accept-loss")
        return scene.accept_loss(lost_max=1)


@case
def log_missing(directory, seed):
    with Scene(directory, seed) as scene:
        scene.fill_queue()
        for log in (scene.engine.queue / "queue").glob("*.log"):
            log.unlink()
        scene.expect_refusal("missing|Corruption", "--accept-loss")
        return scene.accept_loss(lost_max=50)


def _with_tables(scene):
    """Mail in tables: what a restart makes of the last run's log."""
    scene.fill_queue()
    scene.engine.start()
    scene.engine.leave()
    return scene.database("*.sst")


@case
def table_of_bodies_flipped(directory, seed):
    """Held with an alarm, the others go on; unless a compaction comes upon the damage before
    they are sent. Then the engine stops and names the table, and accepting the loss helps."""
    with Scene(directory, seed) as scene:
        table = _with_tables(scene)  # The largest: bodies.
        flip(table, scene.random.uniform(0.1, 0.7))
        try:
            verdict = scene.finish(held=True)
        except AssertionError:
            met = rf"panic: .*Corruption: block checksum .*{re.escape(table.name)}"
            scene.engine.bury()
            if not re.search(met, scene.engine.outputs[-1]):
                raise
            verdict, seen = scene.accept_loss(lost_max=0, held=True)
            return verdict, f"a compaction met the damage: stopped; then {seen}"
        held = len(re.findall(r"message is held", scene.engine.outputs[-1]))
        if held == 0:
            raise AssertionError("nothing was held")
        return verdict, f"{held} messages of the damaged block held with an alarm, others sent"


@case
def table_of_envelopes_flipped(directory, seed):
    """Refused; with loss accepted the others go on, and the queue opens as any other then."""
    with Scene(directory, seed) as scene:
        scene.fill_queue(messages=200)
        scene.engine.start()
        scene.engine.leave()
        tables = sorted((scene.engine.queue / "queue").glob("*.sst"),
                        key=lambda table: table.stat().st_size)
        flip(tables[-2], scene.random.uniform(0.1, 0.4))
        scene.expect_refusal(tables[-2].name, "--accept-loss")
        verdict, seen = scene.accept_loss(lost_max=190)
        scene.engine.start()
        scene.engine.leave()
        return verdict, seen


@case
def table_missing(directory, seed):
    with Scene(directory, seed) as scene:
        table = _with_tables(scene)
        table.unlink()
        scene.expect_refusal(table.stem, "--accept-loss")
        return scene.accept_loss(lost_max=50, held=True)


@case
def table_truncated(directory, seed):
    with Scene(directory, seed) as scene:
        table = _with_tables(scene)
        cut(table, scene.random.randint(1, table.stat().st_size // 2))
        scene.expect_refusal(table.stem, "--accept-loss")
        return scene.accept_loss(lost_max=50, held=True)


@case
def manifest_missing(directory, seed):
    with Scene(directory, seed) as scene:
        scene.fill_queue()
        scene.database("MANIFEST-*").unlink()
        scene.expect_refusal("MANIFEST", "--accept-loss")
        return scene.accept_loss(lost_max=50)


@case
def manifest_flipped(directory, seed):
    with Scene(directory, seed) as scene:
        scene.fill_queue()
        flip(scene.database("MANIFEST-*"), scene.random.uniform(0.1, 0.9))
        scene.expect_refusal("MANIFEST|Corruption", "--accept-loss")
        return scene.accept_loss(lost_max=50)


@case
def current_missing(directory, seed):
    with Scene(directory, seed) as scene:
        scene.fill_queue()
        (scene.engine.queue / "queue" / "CURRENT").unlink()
        scene.expect_refusal("CURRENT is missing", "no empty queue is created", "--accept-loss")
        return scene.accept_loss(lost_max=0)


@case
def marker_missing(directory, seed):
    with Scene(directory, seed) as scene:
        scene.fill_queue()
        (scene.engine.queue / "marker").unlink()
        scene.expect_refusal("marker is missing", "--accept-loss")
        return scene.accept_loss(lost_max=0)


@case
def marker_damaged(directory, seed):
    with Scene(directory, seed) as scene:
        scene.fill_queue()
        flip(scene.engine.queue / "marker", scene.random.uniform(0, 0.99))
        scene.expect_refusal("marker")
        return scene.accept_loss(lost_max=0)


@case
def database_gone(directory, seed):
    """The whole database beside its marker: no empty queue takes its place silently."""
    with Scene(directory, seed) as scene:
        scene.fill_queue()
        shutil.rmtree(scene.engine.queue / "queue")
        scene.expect_refusal("CURRENT is missing", "no empty queue is created", "--accept-loss")
        return scene.accept_loss(lost_max=50)


@case
def database_replaced_by_an_older_copy(directory, seed):
    """An operator's restore, or a snapshot rolled back."""
    with Scene(directory, seed) as scene:
        scene.fill_queue("old", messages=20)
        shutil.copytree(scene.engine.queue / "queue", scene.directory / "copy")
        scene.fill_queue("new", messages=30)
        shutil.rmtree(scene.engine.queue / "queue")
        shutil.copytree(scene.directory / "copy", scene.engine.queue / "queue")
        scene.expect_refusal(r"\(\d+ missing\)", "--accept-loss")
        return scene.accept_loss(lost_max=30)


@case
def terminated_while_it_recovers(directory, seed):
    """SIGTERM as soon as the process is there, again and again."""
    with Scene(directory, seed) as scene:
        scene.fill_queue(messages=300)
        for _ in range(5):
            process = subprocess.Popen(
                [str(harness.BIN / "mailrace"), "serve", "-c", str(scene.engine.config)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            time.sleep(scene.random.uniform(0, 0.2))
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=harness.DEADLINE)
            # Before it blocks its signals the default action ends it.
            if process.returncode not in (0, -signal.SIGTERM):
                raise AssertionError(f"ended with {process.returncode}:\n{output.decode()}")
        return scene.finish(), "each ended in order, nothing lost"

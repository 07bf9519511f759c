"""What a disk can do to a queue beside losing power: one function a fault. Each brings it
about on a real process, checks what reliability demands of the engine and returns the
oracle's verdict on the mail with a sentence of what was seen; a broken promise raises.
"""
import pathlib
import random
import re
import shutil
import signal
import subprocess
import time

import stage  # First: it sets the path of the harness.
import harness
import volumes

LOG_BLOCK = 32768  # Of RocksDB's write-ahead logs.
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

    def fill_queue(self, run="before", **load):
        """A stopped queue that holds acknowledged mail."""
        self.deliver(False)
        self.engine.start()
        self.submit(run, **load)
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


def flip(path, where):
    """One bit at a share of the file's length."""
    content = bytearray(path.read_bytes())
    place = int(len(content) * where)
    # The last six octets of a log's block may be padding, which nobody reads: no damage.
    if path.suffix == ".log" and LOG_BLOCK - place % LOG_BLOCK <= 6:
        place += 6
    content[place] ^= 0x10
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
        log = scene.database("*.log")
        flip(log, scene.random.uniform(0.2, 0.8))
        scene.expect_refusal(re.escape(log.name), "--accept-loss")
        return scene.accept_loss(lost_max=45)


@case
def log_truncated(directory, seed):
    with Scene(directory, seed) as scene:
        scene.fill_queue()
        log = scene.database("*.log")
        cut(log, scene.random.randint(1, 40000))
        scene.expect_refusal(re.escape(log.name), r"\(\d+ missing\)", "--accept-loss")
        return scene.accept_loss(lost_max=25)


@case
def log_with_garbage_appended(directory, seed):
    """Not a loss; whether it looks like a damaged record is chance."""
    with Scene(directory, seed) as scene:
        scene.fill_queue()
        log = scene.database("*.log")
        log.write_bytes(log.read_bytes() + scene.random.randbytes(300))
        try:
            scene.engine.start()
            scene.engine.leave()
            return scene.finish(), "opened, nothing lost"
        except stage.StartRefused as refused:
            if refused.status != 69 or log.name not in refused.output:
                raise
            return scene.accept_loss(lost_max=0)


@case
def log_with_garbage_over_its_end(directory, seed):
    with Scene(directory, seed) as scene:
        scene.fill_queue(connections=1)
        log = scene.database("*.log")
        log.write_bytes(log.read_bytes()[:-300] + scene.random.randbytes(300))
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

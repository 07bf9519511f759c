"""What the end-to-end tests speak in: a running Mailrace, its sink and its load source, a
certificate authority, and a test case that cleans up after itself and shows the logs of
what failed. Standard library only; everything on loopback, ports by the system's choice.
"""
import json
import os
import pathlib
import random
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import threading
import time
import unittest

BIN = pathlib.Path(os.environ.get("MAILRACE_BIN_DIR") or
                   pathlib.Path(__file__).parents[2] / "build" / "release" / "bin").resolve()
# Generous: sanitizers and a busy machine make everything slow. Nothing waits so long
# unless it is going to fail.
DEADLINE = float(os.environ.get("MAILRACE_E2E_DEADLINE", "90"))


def wait_until(what, condition, timeout=DEADLINE):
    """Polls `condition` until it is true and returns its value."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout:.0f} s: {what}")
        time.sleep(0.02)


def free_port():
    """A port nobody listens on now. For programs that cannot be told port 0, and for those that
    come back: the kernel gives it to no outgoing connection meanwhile."""
    first = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10000, first) if first > 11000 else 0
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return probe.getsockname()[1]


def write_file(path, text, mode=0o644):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


class CertificateAuthority:
    """Signs certificates of hosts, by openssl(1)."""

    def __init__(self, directory, certificate=None):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o755)
        self.file = self.directory / "ca.pem"
        self._key = self.directory / "ca.key"
        if certificate is not None:
            for ours, made in zip((self.file, self._key), certificate):
                ours.write_bytes(made.read_bytes())
            return
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                      "-nodes", "-days", "2", "-subj", "/CN=Test CA", "-keyout", self._key,
                      "-out", self.file)

    @staticmethod
    def _openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def subordinate(self, name):
        """An authority that this one vouches for."""
        return CertificateAuthority(self.directory / name, self.issue(
            name, f"DNS:{name}.example.com\nbasicConstraints=critical,CA:TRUE"))

    def issue(self, name, *subject_alternatives):
        """(certificate, key) for subject_alternatives such as "DNS:localhost"."""
        certificate = self.directory / f"{name}.pem"
        key = self.directory / f"{name}.key"
        request = self.directory / f"{name}.csr"
        extensions = write_file(self.directory / f"{name}.ext",
                                "subjectAltName=" + ",".join(subject_alternatives) + "\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        self._openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self._key,
                      "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out",
                      certificate)
        key.chmod(0o644)  # A test's key: other users' daemons read it.
        return certificate, key


class Program:
    """One of ours in the foreground. Its output is read all the time, so that it never
    blocks on a full pipe; started when its ready line has come."""

    def __init__(self, arguments, ready, environment=None):
        self.arguments = [str(argument) for argument in arguments]
        self._lines = []
        self._lock = threading.Lock()
        self.process = subprocess.Popen(
            self.arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})})
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.ready_line = self._await_ready(re.compile(ready))

    def _read(self):
        for line in self.process.stdout:
            with self._lock:
                self._lines.append(line.decode("utf-8", "replace").rstrip("\n"))

    @property
    def output(self):
        with self._lock:
            return "\n".join(self._lines)

    def _await_ready(self, pattern):
        def look():
            found = pattern.search(self.output)
            if not found and self.process.poll() is not None:
                self._reader.join()
                raise AssertionError(f"{self.arguments[0]} ended with "
                                     f"{self.process.returncode}:\n{self.output}")
            return found
        try:
            return wait_until(f"{self.arguments[0]} is ready", look)
        except AssertionError:
            self.kill()
            raise

    def stop(self):
        """SIGTERM; returns the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            status = self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.arguments[0]} does not stop:\n{self.output}") from None
        self._reader.join()
        self.process.stdout.close()
        return status

    def kill(self):
        """SIGKILL, as the kernel would: nothing is flushed, nobody says goodbye."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        self.process.stdout.close()

    @property
    def running(self):
        return self.process.poll() is None


class Sink(Program):
    """mailrace-sink; record and store are in its directory."""

    def __init__(self, directory, *options, password=None, port=0):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._record = self.directory / "record"
        environment = {"MAILRACE_SINK_PASSWORD": password} if password else {}
        super().__init__(
            [BIN / "mailrace-sink", "--listen", f"127.0.0.1:{port}", "--record", self._record,
             "--record-sync", "--json", *options],
            r"mailrace-sink: ready on \S+:(\d+)", environment)
        self.port = int(self.ready_line.group(1))

    @property
    def records(self):
        """One dictionary for each accepted message, oldest first."""
        if not self._record.exists():
            return []
        complete = self._record.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in complete.split("\n") if line]

    def delivered(self):
        """The (id, recipient) pairs that were accepted, with repetitions."""
        return [(record["id"], recipient) for record in self.records if "id" in record
                for recipient in record["recipients"]]

    def totals(self):
        """The counts; stops the sink."""
        self.stop()
        return json.loads(self.output.rpartition("\n")[2])


class Mailrace:
    """A configuration directory and, between start() and stop(), the engine on it."""

    def __init__(self, directory, configuration, files=None, port=0):
        self.directory = pathlib.Path(directory)
        self.config = self.directory / "config"
        self.log_file = self.directory / "maillog"
        self.program = None
        self.port = port
        for name, text in (files or {}).items():
            write_file(self.config / name, text, 0o600)
        self.configure(configuration)

    def configure(self, configuration):
        """Writes main.cf; what the test says comes last and wins."""
        self.config.mkdir(parents=True, exist_ok=True)
        write_file(self.config / "main.cf", f"""\
myhostname = mailrace.example.com
inet_protocols = ipv4
queue_directory = {self.directory}/queue
data_directory = {self.directory}/data
submission_listen = 127.0.0.1:{self.port}
http_listen =
engine_shards = 2
maillog_file = {self.log_file}
minimal_backoff_time = 1s
maximal_backoff_time = 1s
transport_retry_time = 1s
sasl_failure_pause = 1s
{configuration}
""")

    def start(self):
        self.program = Program(
            [BIN / "mailrace", "serve", "-c", self.config],
            r"mailrace: ready\b.*?127\.0\.0\.1:(\d+)")
        self.port = int(self.program.ready_line.group(1))
        return self

    def stop(self):
        status = self.program.stop()
        if status != 0:
            raise AssertionError(f"mailrace ended with {status}:\n{self.program.output}")

    def kill(self):
        self.program.kill()

    def reload(self, outcome="reload -- version"):
        """SIGHUP, until the log says what came of it."""
        before = len(re.findall(outcome, self.log))
        self.program.process.send_signal(signal.SIGHUP)
        wait_until(f"the log says {outcome!r} once more",
                   lambda: len(re.findall(outcome, self.log)) > before)

    def close(self):
        if self.program is not None and self.program.running:
            self.program.kill()

    @property
    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def wait_for_log(self, pattern):
        """The first match of `pattern` in the log, as soon as it is there."""
        return wait_until(f"the log has {pattern!r}",
                          lambda: re.search(pattern, self.log, re.MULTILINE))

    def command(self, *arguments, check=True):
        """`mailrace ARGUMENTS -c DIR`; what it printed."""
        verb, *rest = map(str, arguments)
        if verb == "queue":
            line = [verb, rest[0], "-c", self.config, *rest[1:]]
        else:
            line = [verb, "-c", self.config, *rest]
        done = subprocess.run([str(BIN / "mailrace"), *map(str, line)], capture_output=True,
                              text=True, timeout=DEADLINE)
        if check and done.returncode != 0:
            raise AssertionError(f"{line} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def stats(self):
        return json.loads(self.command("stats", "--json"))

    def wait_until_empty(self):
        def empty():
            # An attempt has ended before its outcome is recorded, and a notice comes with that.
            stats = self.stats()
            return stats["queue"]["total"] == 0 and stats["uncommitted_outcomes"] == 0
        wait_until("the queue is empty", empty)

    def submit(self, content, sender="app@example.com", recipients=("user@example.net",),
               options=()):
        """Hands `content` in exactly as it is; the queue id from the 250."""
        with smtplib.SMTP("127.0.0.1", self.port, "client.example.com", DEADLINE) as client:
            client.ehlo_or_helo_if_needed()
            self._expect(client.mail(sender, options), 250)
            for recipient in recipients:
                self._expect(client.rcpt(recipient), 250)
            self._expect(client.docmd("DATA"), 354)
            stuffed = re.sub(rb"(?m)^\.", b"..", content)
            client.send(stuffed + (b"" if content.endswith(b"\r\n") else b"\r\n") + b".\r\n")
            text = self._expect(client.getreply(), 250)
        return re.search(r"queued as (\w+)", text).group(1)

    @staticmethod
    def _expect(reply, code):
        text = reply[1].decode("utf-8", "replace")
        if reply[0] != code:
            raise RefusedError(reply[0], text)
        return text


class RefusedError(AssertionError):
    """A submission was answered with another code than the expected one."""

    def __init__(self, code, text):
        super().__init__(f"{code} {text}")
        self.code = code


class Blast:
    """mailrace-blast in the background, with a ledger of what was acknowledged."""

    def __init__(self, directory, port, *options):
        directory = pathlib.Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        self.ledger_file = directory / "ledger"
        self._output = open(directory / "blast.out", "w+b")
        self.process = subprocess.Popen(
            [str(BIN / "mailrace-blast"), "--to", f"127.0.0.1:{port}", "--ledger",
             str(self.ledger_file), *map(str, options)],
            stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT)

    def acknowledged(self):
        """The (id, recipient) pairs whose 250 was read."""
        if not self.ledger_file.exists():
            return []
        complete = self.ledger_file.read_text().rpartition("\n")[0]
        return [tuple(line.split()[:2]) for line in complete.split("\n") if line]

    def wait(self):
        """Its exit status."""
        status = self.process.wait(DEADLINE)
        self._output.seek(0)
        self.output = self._output.read().decode("utf-8", "replace")
        return status

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._output.close()


class EndToEndTest(unittest.TestCase):
    """A temporary directory, programs that end with the test, logs when it fails."""

    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="mailrace-e2e-"))
        self.directory.chmod(0o755)  # Postfix's daemons run as other users.
        self._logs = []
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.addCleanup(self._show_logs_of_failure)

    def _show_logs_of_failure(self):
        errors = self._outcome.result.errors + self._outcome.result.failures
        if not any(test is self for test, _ in errors):
            return
        for name, read in self._logs:
            print(f"---- {name} of {self.id()}\n{read()[-6000:]}", flush=True)

    def on_failure_show(self, name, read):
        self._logs.append((name, read))

    def sink(self, *options, name="sink", **others):
        sink = wait_until(f"{name} listens",
                          lambda: self._try_sink(self.directory / name, options, others))
        self.addCleanup(lambda: sink.kill() if sink.running else None)
        self.on_failure_show(name, lambda: sink.output)
        return sink

    @staticmethod
    def _try_sink(directory, options, others):
        try:
            return Sink(directory, *options, **others)
        except AssertionError as failure:
            # The kernel takes down the ring of a killed process after its end was
            # reported, and its listening socket with it.
            if "Address already in use" in str(failure):
                return None
            raise

    def mailrace(self, configuration, files=None, port=0):
        """Started on `configuration`."""
        engine = Mailrace(self.directory / "mailrace", configuration, files, port)
        self.addCleanup(engine.close)
        self.on_failure_show("mailrace log", lambda: engine.log)
        self.on_failure_show("mailrace output",
                             lambda: engine.program.output if engine.program else "")
        return engine.start()

    def blast(self, port, *options):
        blast = Blast(self.directory / "blast", port, *options)
        self.addCleanup(blast.close)
        return blast

    def authority(self):
        return CertificateAuthority(self.directory / "ca")


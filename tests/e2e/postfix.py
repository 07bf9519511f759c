"""Private instances of Debian's Postfix: own configuration, queue and data directories, a
high loopback port, started and stopped by postfix(1), never the system's own.
"""
import os
import pathlib
import pwd
import re
import smtplib
import subprocess

from harness import DEADLINE, free_port, wait_until, write_file

MASTER_CF = """\
127.0.0.1:{port} inet n - n - - smtpd
postlog   unix-dgram n - n - 1 postlogd
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
"""

# Nothing is added to, folded in or dropped from a message that passes.
MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
maillog_file = {directory}/maillog
maillog_file_prefixes = {directory}
myhostname = {host}
mydestination =
alias_maps =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
local_header_rewrite_clients =
append_dot_mydomain = no
message_drop_headers =
message_size_limit = 104857600
mailbox_size_limit = 0
disable_mime_output_conversion = yes
smtp_line_length_limit = 0
smtp_host_lookup = native
smtp_tls_security_level = none
smtpd_client_restrictions =
relayhost = [127.0.0.1]:{next_port}
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
"""


class Postfix:
    """One instance that takes mail on `port` and passes all of it on to `next_port`."""

    def __init__(self, directory, host, next_port, settings="", services=""):
        self.directory = pathlib.Path(directory)
        self.host = host
        self.log_file = self.directory / "maillog"
        self._config = self.directory / "config"
        self._next_port = next_port
        self._settings = settings
        self._services = services  # Further lines of master.cf.
        self._prepare()
        self.port = None

    def _prepare(self):
        self.directory.mkdir(parents=True)
        self.directory.chmod(0o755)
        owner = pwd.getpwnam("postfix")
        for name in ("queue", "data"):
            (self.directory / name).mkdir()
            (self.directory / name).chmod(0o755)
        os.chown(self.directory / "data", owner.pw_uid, owner.pw_gid)

    def start(self):
        # Postfix cannot be told port 0: should another take the port that was free just
        # now, the next one is tried.
        for attempt in range(5):
            self.port = free_port()
            write_file(self._config / "master.cf", MASTER_CF.format(port=self.port)
                       + self._services)
            write_file(self._config / "main.cf", MAIN_CF.format(
                directory=self.directory, host=self.host, next_port=self._next_port)
                + self._settings + "\n")
            # Its scripts look at every line of master.cf, and that may be long.
            started = self._postfix("start", timeout=4 * DEADLINE)
            if started.returncode == 0 and self._port_is_ours():
                self._await_greeting()
                return self
            self._postfix("stop")
            self.log_file.unlink(missing_ok=True)
        raise AssertionError(f"postfix does not start:\n{started.stderr}\n{self.log}")

    def change_settings(self, settings):
        """From the next start."""
        self._settings = settings

    def _postfix(self, *command, program="postfix", timeout=DEADLINE):
        return subprocess.run([program, "-c", str(self._config), *command], text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)

    def _port_is_ours(self):
        """The master says that it started, or that it could not bind."""
        return wait_until("postfix starts", lambda: re.search(
            r"master\[\d+\]: (daemon started|fatal)", self.log)).group(1) != "fatal"

    def _await_greeting(self):
        def greeted():
            if "fatal:" in self.log:
                raise AssertionError(f"{self.host}:\n{self.log}")
            try:
                with smtplib.SMTP("127.0.0.1", self.port, "probe.example.com", 5) as client:
                    return self.host in client.ehlo()[1].decode()
            except (OSError, smtplib.SMTPException):
                return False
        wait_until("postfix greets", greeted)

    def flush(self, queue_id):
        """The next try of this message is now."""
        self._postfix("-i", queue_id, program="postqueue")

    def stop(self):
        """Returns when the master has ended: `postfix stop` waits for it."""
        self._postfix("stop")

    @property
    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def wait_for_log(self, pattern):
        return wait_until(f"{self.host} logs {pattern!r}",
                          lambda: re.search(pattern, self.log, re.MULTILINE))


class PostfixRelay(Postfix):
    """An upstream relay as providers run them: AUTH by Cyrus SASL for one user (and `users`,
    by password), STARTTLS if there is a certificate, no mail for strangers."""

    USER = "myid"
    PASSWORD = "my:pw"  # A colon, as passwords may have one.

    def __init__(self, directory, next_port, certificate=None, require_auth=True,
                 require_tls=False, mechanisms="PLAIN LOGIN", settings="", users=None):
        directory = pathlib.Path(directory)
        lines = [
            "smtpd_sasl_auth_enable = yes",
            "smtpd_sasl_path = smtpd",
            "smtpd_sasl_local_domain = $myhostname",
            "smtpd_sasl_security_options = noanonymous",
            "smtpd_sasl_authenticated_header = yes",
            "smtpd_tls_received_header = yes",
        ]
        permit = "permit_sasl_authenticated" if require_auth else "permit_mynetworks"
        lines.append(f"smtpd_relay_restrictions = {permit}, reject")
        if certificate is not None:
            lines += [
                f"smtpd_tls_security_level = {'encrypt' if require_tls else 'may'}",
                f"smtpd_tls_auth_only = {'yes' if require_tls else 'no'}",
                f"smtpd_tls_chain_files = {certificate[1]}, {certificate[0]}",
                "smtpd_tls_ask_ccert = yes",
                "smtpd_tls_loglevel = 1",
            ]
        super().__init__(directory, "relay.example.net", next_port,
                         "\n".join(lines) + "\n" + settings)
        self._add_users(mechanisms, {self.USER: self.PASSWORD, **(users or {})})

    def _add_users(self, mechanisms, users):
        # Debian's Postfix looks for smtpd.conf in its configuration directory's sasl/.
        database = self._config / "sasl" / "sasldb2"
        write_file(self._config / "sasl" / "smtpd.conf", f"""\
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: {database}
mech_list: {mechanisms}
""")
        for user, password in users.items():
            subprocess.run(["saslpasswd2", "-p", "-c", "-f", str(database), "-u", self.host,
                            user], input=password, text=True, check=True,
                           capture_output=True, timeout=DEADLINE)
        owner = pwd.getpwnam("postfix")
        os.chown(database, owner.pw_uid, owner.pw_gid)


class PostfixClient(Postfix):
    """A Postfix that hands all its mail to `next_port`, as an application host's does."""

    def __init__(self, directory, next_port, settings="", services=""):
        super().__init__(directory, "apphost.example.com", next_port,
                         "smtpd_relay_restrictions = permit_mynetworks, reject\n" + settings,
                         services)

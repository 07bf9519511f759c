"""A real Postfix and Mailrace send one message each for every row of differential.table, by
the same settings to the same servers, and what came of it is compared.

Run as a program it wants a network and a mount namespace of its own: the servers have
names, and the ports of real ones.
"""
import concurrent.futures
import dataclasses
import fcntl
import hashlib
import itertools
import json
import os
import pathlib
import re
import shutil
import smtplib
import socket
import struct
import subprocess
import sys
import time

from harness import DEADLINE, CertificateAuthority, Mailrace, wait_until, write_file
from postfix import PostfixClient
from relay_street import House, Street

TABLE = pathlib.Path(__file__).with_name("differential.table")
# Mailrace's rows at a time: most of a row is waiting for a disk.
PARALLEL = 6
# What both do on every row, unless it says otherwise.
COMMON = {
    "smtp_tls_CAfile": "@ca@",
    "smtp_tls_loglevel": "1",
    "smtp_host_lookup": "dns",
    "smtp_connect_timeout": "20s",
    "smtp_helo_timeout": "30s",
    "smtp_starttls_timeout": "30s",
    "smtp_tls_security_level": "",
}
# Tables that are not the client's own: in Postfix they are all rows'.
ROUTES = ("transport_maps", "sender_dependent_relayhost_maps",
          "sender_dependent_default_transport_maps")
LEVEL = re.compile(r"(Anonymous|Untrusted|Trusted|Verified) TLS connection")


@dataclasses.dataclass
class Row:
    """One line of the table, or one of its expansions."""
    number: int
    chapter: str
    nexthop: str
    settings: str  # As it is written.
    reason: str    # Why the two differ; empty: they do not.
    tries: int = 1

    @property
    def sender(self):
        """Nobody, so that no bounce follows; somebody where that decides."""
        if "@sender" in self.settings:
            return f"app@s{self.number}.example"
        return "app@sender.example" if "sender" in self.settings else ""

    @property
    def relayhost(self):
        return "" if self.nexthop == "-" else self.nexthop

    @property
    def domain(self):
        return f"r{self.number}.test"

    def _settings(self, places, transport="smtp"):
        text = self.settings
        own = {"transport": transport, "domain": self.domain, "sender": self.sender,
               "sender_domain": self.sender.partition("@")[2]}
        for name, value in {**places, **own}.items():
            text = text.replace(f"@{name}@", str(value))
        return dict(map(str.strip, setting.split("=", 1))
                    for setting in text.split(";") if setting.strip())

    def parameters(self, places):
        """Names and values of its own."""
        settings = self._settings(places)
        settings.pop("header", None)
        return settings

    def routes(self, places, transport):
        """Of these its tables of routes, with this name for its transport."""
        settings = self._settings(places, transport)
        return {name: settings[name] for name in ROUTES if name in settings}

    def content(self):
        header = self._settings({}).get("header")
        return (f"{header}\r\n" if header else "").encode() + b"Subject: x\r\n\r\nx\r\n"


@dataclasses.dataclass
class Outcome:
    """What is compared of one program's try."""
    levels: list   # The words of its TLS lines, in order.
    visits: list   # What the servers saw, in order; first, the address of who came.
    status: str    # "sent 2.0.0"
    text: str      # Why; not compared.

    def __str__(self):
        level = f" ({', '.join(self.levels)})" if self.levels else ""
        return f"{'; '.join(self.visits) or 'nobody asked'}{level}: {self.status}"


class Table:
    """The rows, the servers and the domains of differential.table (its head says how)."""

    def __init__(self, path=TABLE):
        self.rows, self.houses, self.zone = [], [], {}
        self._words = {}
        chapter = ""
        for line in path.read_text().splitlines():
            words = line.split(None, 2)
            if not words or line.startswith("#"):
                continue
            if words[0] == "==":
                chapter = line[2:].strip()
            elif words[0] == "let":
                self._words[words[1]] = self._expand(words[2].removeprefix("= "))
            elif words[0] == "server":
                self._add_server(words[1], words[2] if len(words) > 2 else "")
            elif words[0] == "mx":
                hosts = words[2].split()
                self.zone[words[1], "MX"] = [
                    (int(preference), f"{host}.example.net")
                    for preference, host in zip(hosts[::2], hosts[1::2])]
            else:
                self._add_rows(chapter, line)

    def _expand(self, text):
        return re.sub(r"\$\{(\w+)\}", lambda word: self._words[word.group(1)], text)

    def _add_server(self, name, text):
        house = House.parse(name, f"127.0.1.{len(self.houses) + 1}", text)
        self.houses.append(house)
        self.zone[house.host, "A"] = [house.address]

    def _add_rows(self, chapter, line):
        line = self._expand(line)
        pieces = re.split(r"\(([^()]*)\)", line)
        choices = [piece.split("/") if i % 2 else [piece] for i, piece in enumerate(pieces)]
        for choice in itertools.product(*choices):
            fields = [field.strip() for field in "".join(choice).split(" | ")]
            nexthop, settings, reason = (fields + ["", ""])[:3]
            tries = 2 if nexthop.endswith(" twice") else 1
            self.rows.append(Row(len(self.rows) + 1, chapter, nexthop.removesuffix(" twice"),
                                 settings, reason, tries))


class Certificates:
    """A certificate for each server that wants one, by the word in the table."""

    def __init__(self, directory, houses):
        self.authority = CertificateAuthority(directory / "ca")
        self.stranger = CertificateAuthority(directory / "stranger")
        self.path = directory / "ca-path"
        self.path.mkdir()
        (self.path / "ca.pem").write_bytes(self.authority.file.read_bytes())
        subprocess.run(["openssl", "rehash", str(self.path)], check=True, capture_output=True)
        self.of = {}
        for word in {house.certificate for house in houses if house.certificate}:
            self.of[word] = self._make(word, [house.host for house in houses
                                              if house.certificate == word])
        self.client, self.client_key = self.authority.issue("client", "DNS:client.example.com")

    def _make(self, word, hosts):
        names = [f"DNS:{host}" for host in hosts]
        if word == "wrong-name":
            names = ["DNS:somebody.else.example"]
        elif word == "wildcard":
            names = ["DNS:*.example.net"]
        elif word == "address":
            names = ["IP:127.0.1.1"]
        elif word == "domain":
            names = ["DNS:example.com", "DNS:secure.example.com"]
        elif word == "common-name":
            names = ["email:nobody@example.net"]
        issuer = self.stranger if word == "untrusted" else self.authority
        if word == "self-signed":
            return self._self_signed(names)
        if word == "intermediate":
            issuer = self.issuer = self.authority.subordinate("issuer")
        certificate, key = issuer.issue(hosts[0] if word == "common-name" else word, *names)
        if word == "intermediate":
            certificate.write_bytes(certificate.read_bytes() + issuer.file.read_bytes())
        if word == "expired":
            self._expire(certificate, key)
        return certificate, key

    def _self_signed(self, names):
        certificate, key = self.authority.issue("self-signed", *names)
        subprocess.run(["openssl", "req", "-x509", "-key", str(key), "-days", "2", "-subj",
                        "/CN=self-signed", "-addext", f"subjectAltName={','.join(names)}",
                        "-out", str(certificate)], check=True, capture_output=True)
        return certificate, key

    def _expire(self, certificate, key):
        """Signs anew what ended yesterday."""
        directory = certificate.parent
        subprocess.run(
            ["openssl", "x509", "-req", "-in", str(directory / "expired.csr"), "-CA",
             str(self.authority.file), "-CAkey", str(directory / "ca.key"), "-CAcreateserial",
             "-days", "-1", "-extfile", str(directory / "expired.ext"), "-out",
             str(certificate)], check=True, capture_output=True)

    def fingerprints(self, word):
        """(certificate, public key)."""
        def digest(*command, octets=b""):
            return subprocess.run(["openssl", *map(str, command)], input=octets, check=True,
                                  capture_output=True).stdout
        certificate = self.of[word][0]
        whole = digest("x509", "-in", certificate, "-outform", "DER")
        key = digest("pkey", "-pubin", "-outform", "DER",
                     octets=digest("x509", "-in", certificate, "-noout", "-pubkey"))
        return [":".join(f"{octet:02X}" for octet in hashlib.sha256(octets).digest())
                for octets in (whole, key)]


class Trial:
    """Both programs, all rows."""

    def __init__(self, directory):
        self.directory = directory
        self.table = Table()
        self.certificates = Certificates(directory, self.table.houses)
        self.street = Street(self.table.houses, self.table.zone, self.certificates.of,
                             self.certificates.authority.file)
        certificate, key = self.certificates.fingerprints("relay")
        other, _ = self.certificates.fingerprints("self-signed")
        self.places = {"ca": self.certificates.authority.file, "ca_path": self.certificates.path,
                       "stranger": self.certificates.stranger.file,
                       "issuer": self.certificates.issuer.file,
                       "certificate": certificate, "public_key": key, "self_signed": other,
                       "client": self.certificates.client,
                       "client_key": self.certificates.client_key}

    def _common(self):
        return {name: self.places.get(value.strip("@"), value) for name, value in COMMON.items()}

    def run(self):
        started = time.monotonic()
        postfix = self._run_postfix()
        between = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
            mailrace = list(pool.map(self._run_mailrace, self.table.rows))
        print(f"differential: {len(self.table.rows)} rows, Postfix {between - started:.1f} s, "
              f"Mailrace {time.monotonic() - between:.1f} s", file=sys.stderr)
        return [{"chapter": row.chapter, "nexthop": row.nexthop, "settings": row.settings,
                 "tries": row.tries, "reason": row.reason, "postfix": str(theirs),
                 "postfix_text": theirs.text, "mailrace": str(ours), "mailrace_text": ours.text}
                for row, theirs, ours in zip(self.table.rows, postfix, mailrace)]

    def _outcome(self, row, client, log, levels):
        """Of the row's last try, or None if it is not over."""
        lines = re.findall(rf"to=<user@{re.escape(row.domain)}>, .*?dsn=(\S+), "
                           r"status=(\w+) \((.*)\)$", log, re.MULTILINE)
        if not lines or len(lines) < row.tries and lines[-1][1] == "deferred":
            return None
        dsn, status, text = lines[min(row.tries, len(lines)) - 1]
        return Outcome(levels, client, f"{status} {dsn}", text)

    def _with_visits(self, outcome):
        """Servers learn the end of a connection a moment after its client."""
        client = outcome.visits
        wait_until(f"all that {client} began is over",
                   lambda: all(visit.over for visit in self.street.visits(client)))
        outcome.visits = [str(visit) for visit in self.street.visits(client)]
        return outcome

    # --- Postfix: one instance, a client service of its own for each row ---

    def _run_postfix(self):
        rows = self.table.rows
        services, routes = [], []
        tables = {name: [] for name in ROUTES}
        for row in rows:
            name = f"r{row.number}"
            for table, text in row.routes(self.places, name).items():
                tables[table].append(text)
            options = {key: value for key, value in row.parameters(self.places).items()
                       if key not in ROUTES}
            options.update(syslog_name=f"postfix/{name}", relayhost=row.relayhost,
                           smtp_bind_address=self._client_address(100, row))
            if row.tries > 1:
                options["minimal_backoff_time"] = "1s"
            lines = "".join(f"  -o {{ {key} = {value} }}\n" if value else f"  -o {key}=\n"
                            for key, value in options.items())
            services.append(f"{name} unix - - n - - smtp\n{lines}")
            if row.relayhost:
                routes.append(f"{row.domain} {name}:{row.nexthop}\n")
            elif "sender_dependent_relayhost_maps" in row.settings:
                # Whoever it is relayed to, by the row's own client.
                tables["sender_dependent_default_transport_maps"].append(
                    f"inline:{{ {row.sender}={name}: }}")
        routes_file = write_file(self.directory / "routes", "".join(routes))
        tables["transport_maps"].append(f"texthash:{routes_file}")
        postfix = PostfixClient(
            self.directory / "postfix", 25, services="".join(services),
            settings="".join(f"{name} = {value}\n" for name, value in self._common().items())
                     + "minimal_backoff_time = 300s\nmaximal_backoff_time = 300s\n"
                     # What a route makes of a recipient is not said at the door.
                     "queue_run_delay = 300s\nsmtpd_reject_unlisted_recipient = no\n"
                     + "".join(f"{name} = {' '.join(texts)}\n"
                               for name, texts in tables.items()))
        postfix.start()
        try:
            self._submit(postfix.port, rows)
            end = time.monotonic() + 4 * DEADLINE
            return [self._await_postfix(postfix, row, end) for row in rows]
        finally:
            postfix.stop()

    @staticmethod
    def _submit(port, rows):
        with smtplib.SMTP("127.0.0.1", port, "client.example.com", DEADLINE) as client:
            for row in rows:
                client.sendmail(row.sender, [f"user@{row.domain}"], row.content())

    def _await_postfix(self, postfix, row, end):
        flushed = False

        def look():
            nonlocal flushed
            log = "\n".join(line for line in postfix.log.splitlines()
                            if f"postfix/r{row.number}/" in line
                            or f"to=<user@{row.domain}>" in line)
            outcome = self._outcome(row, self._client_address(100, row), log,
                                    LEVEL.findall(log))
            if outcome is None and not flushed and "status=deferred" in log:
                time.sleep(2)  # The message has to be as old as minimal_backoff_time.
                postfix.flush(re.search(r": (\w+): to=", log).group(1))
                flushed = True
            return outcome
        while (outcome := look()) is None:
            if time.monotonic() > end:
                return Outcome([], [], "nothing", postfix.log[-2000:])
            time.sleep(0.1)
        return self._with_visits(outcome)

    # --- Mailrace: an instance for each row ---

    def _run_mailrace(self, row):
        directory = self.directory / f"mailrace-{row.number}"
        backoff = "1s" if row.tries > 1 else "300s"
        settings = "".join(f"{name} = {value}\n" for name, value in
                           {**self._common(), **row.parameters(self.places)}.items())
        engine = Mailrace(directory, f"engine_shards = 1\nrelayhost = {row.relayhost}\n"
                          f"smtp_bind_address = {self._client_address(101, row)}\n"
                          f"minimal_backoff_time = {backoff}\nmaximal_backoff_time = {backoff}\n{settings}"
                          "smtp_log_tls_feature_status = no\n")
        (engine.config / "main.cf").chmod(0o600)  # It has passwords.
        try:
            engine.start()
            engine.submit(row.content(), row.sender, [f"user@{row.domain}"])
            outcome = wait_until(
                f"mailrace is done with row {row.number}: {row.nexthop} {row.settings}",
                lambda: self._outcome(row, self._client_address(101, row), engine.log,
                                      LEVEL.findall(engine.log)))
        except AssertionError as failure:
            refused = re.search(r"main\.cf:\d+: error: (.*)", str(failure))
            return Outcome([], [], "refused at start" if refused else "nothing",
                           refused.group(1) if refused else str(failure)[-2000:])
        finally:
            engine.close()
            shutil.rmtree(directory)  # A queue's first log takes its room at once: 64 MiB.
        return self._with_visits(outcome)

    @staticmethod
    def _client_address(net, row):
        return f"127.{net}.{row.number // 250}.{row.number % 250 + 1}"


def _settle_in(directory):
    """Our namespaces' loopback, name service and empty tables of hosts and trust anchors."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        up = struct.pack("16sh14x", b"lo", 0x1 | 0x40)  # IFF_UP | IFF_RUNNING
        fcntl.ioctl(control, 0x8914, up)                # SIOCSIFFLAGS
    for name, text in (("/etc/resolv.conf", "nameserver 127.0.0.53\n"),
                       ("/etc/hosts", "127.0.0.1 localhost\n")):
        ours = write_file(directory / pathlib.Path(name).name, text)
        subprocess.run(["mount", "--bind", str(ours), os.path.realpath(name)], check=True)
    if os.path.isdir("/usr/share/dns"):  # The root's key: nothing here is signed.
        subprocess.run(["mount", "-t", "tmpfs", "none", "/usr/share/dns"], check=True)


def main():
    directory = pathlib.Path(sys.argv[1])
    _settle_in(directory)
    results = Trial(directory).run()
    write_file(directory / "results.json", json.dumps(results))


if __name__ == "__main__":
    main()

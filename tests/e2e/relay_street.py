"""The servers of the differential test, and the name service that knows them: one house a
server, each with an address of its own in 127.0.1.0/24 and three doors, 25 and 587 with
STARTTLS, 465 with TLS from the first octet. For a network namespace of its own.

Each client connects from an address of its own; what its sessions looked like from the
server's side is kept by that address.
"""
import base64
import dataclasses
import hashlib
import hmac
import re
import selectors
import socket
import socketserver
import ssl
import struct
import threading

CLEAR_PORTS = (25, 587)
WRAPPED_PORT = 465
NAME_SERVER = "127.0.0.53"
PASSWORD = "se:cret"  # A colon, as passwords may have one.


@dataclasses.dataclass
class House:
    """What one server does. Replies are octets as text, without the line end."""
    name: str
    address: str
    certificate: str = ""           # A name of Certificates; empty: no TLS.
    starttls: str = "220 2.0.0 Go"  # The reply; empty: not offered.
    garbage: bool = False           # Clear text behind the 220, where TLS belongs.
    hang_up: bool = False           # Ends the connection there.
    greeting: str = "220 {name} ESMTP"
    ehlo: str = ""                  # Empty: the usual.
    helo: str = "250 {name}"
    auth_clear: str = ""            # The mechanisms; "-": AUTH without one; empty: no AUTH.
    auth_tls: str = ""
    auth_word: str = "AUTH "
    auth_reply: str = ""            # Empty: right passwords are right.
    auth_lie: bool = False          # Cannot prove that it knows the password.
    mail: str = "250 2.1.0 Ok"
    versions: str = ""              # "TLSv1.2" or "TLSv1-TLSv1.1".
    ciphers: str = ""
    ask_certificate: bool = False

    @classmethod
    def parse(cls, name, address, text):
        """`text`: name=value or name="value with blanks", between blanks."""
        house = cls(name, address)
        for key, quoted, plain in re.findall(r'([\w-]+)=(?:"([^"]*)"|(\S*))', text):
            field = key.replace("-", "_")
            if not hasattr(house, field):
                raise ValueError(f"server {name}: what is {key}?")
            value = quoted or plain
            house.__setattr__(field, value == "yes" if isinstance(getattr(house, field), bool)
                              else value)
        return house

    @property
    def host(self):
        return f"{self.name}.example.net"


@dataclasses.dataclass
class Visit:
    """One connection as its server saw it."""
    house: str
    tls: str = ""          # The version.
    failed_tls: bool = False
    server_name: str = ""
    certificate: str = ""  # The client's common name.
    logins: list = dataclasses.field(default_factory=list)
    took_mail: bool = False
    old_hello: bool = False  # HELO, and nothing that EHLO offered.
    over: bool = False

    def __str__(self):
        words = [self.tls or ("no TLS" if self.failed_tls else "clear")]
        if self.server_name:
            words.append(f"SNI {self.server_name}")
        if self.certificate:
            words.append(f"certificate {self.certificate}")
        words += self.logins
        if self.old_hello:
            words.append("HELO")
        if self.took_mail:
            words.append("mail")
        return f"{self.house}: " + ", ".join(words)


class _Talk:
    """A conversation at one door."""

    def __init__(self, street, house, wrapped, connection, visit):
        self.street, self.house, self.visit = street, house, visit
        self.wrapped = wrapped
        self.connection = connection
        self.reader = connection.makefile("rb")

    def say(self, text):
        self.connection.sendall(text.format(name=self.house.host).encode() + b"\r\n")

    def start_tls(self):
        context = self.street.context(self.house)
        self.connection = context.wrap_socket(self.connection, server_side=True,
                                              do_handshake_on_connect=False)
        self.connection.visit = self.visit
        try:
            self.connection.do_handshake()
        except (ssl.SSLError, OSError):
            self.visit.failed_tls = True
            raise
        self.reader = self.connection.makefile("rb")
        self.visit.tls = self.connection.version()
        subject = (self.connection.getpeercert() or {}).get("subject", ())
        self.visit.certificate = "".join(value for part in subject for key, value in part
                                         if key == "commonName")

    def hold(self):
        if self.wrapped:
            self.start_tls()
        self.say(self.house.greeting)
        while line := self.reader.readline(65536):
            verb, _, argument = line.decode("latin-1").strip().partition(" ")
            answer = getattr(self, f"do_{verb.lower()}", None)
            if answer is None:
                self.say("502 5.5.2 Not here")
            elif answer(argument):
                return

    def offered(self):
        return self.house.auth_tls if self.visit.tls else self.house.auth_clear

    def do_ehlo(self, _):
        if self.house.ehlo:
            self.say(self.house.ehlo)
            return
        words = ["PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME"]
        if self.house.starttls and not self.visit.tls:
            words.append("STARTTLS")
        if self.offered():
            words.append((self.house.auth_word + self.offered()).removesuffix("-").strip())
        for word in ["{name}", *words]:
            self.say(f"250-{word}")
        self.say("250 HELP")

    def do_helo(self, _):
        self.visit.old_hello = True
        self.say(self.house.helo)

    def do_starttls(self, _):
        self.say(self.house.starttls or "502 5.5.1 Not here")
        if not self.house.starttls.startswith("220"):
            return False
        if self.house.garbage:
            self.visit.failed_tls = True
            self.say("250 this is no ServerHello")
            self.reader.read(1)
            return True
        if self.house.hang_up:
            self.visit.failed_tls = True
            return True
        self.start_tls()
        return False

    def do_auth(self, argument):
        mechanism, _, initial = argument.partition(" ")
        user, right = getattr(self, f"auth_{mechanism.lower().replace('-', '_')}",
                              lambda _: ("", False))(initial)
        self.visit.logins.append(f"AUTH {mechanism} {user}".strip())
        self.say(self.house.auth_reply or
                 ("235 2.7.0 Welcome" if right else "535 5.7.8 Wrong"))

    def ask(self, challenge):
        self.say("334 " + base64.b64encode(challenge).decode())
        return base64.b64decode(self.reader.readline(65536).strip() or b"")

    def auth_plain(self, initial):
        octets = base64.b64decode(initial) if initial else self.ask(b"")
        _, user, password = octets.decode().split("\0")
        return user, password == PASSWORD

    def auth_login(self, initial):
        user = base64.b64decode(initial) if initial else self.ask(b"Username:")
        return user.decode(), self.ask(b"Password:").decode() == PASSWORD

    def auth_cram_md5(self, _):
        challenge = b"<1.2@relay.example.net>"
        user, _, digest = self.ask(challenge).decode().rpartition(" ")
        right = hmac.new(PASSWORD.encode(), challenge, hashlib.md5).hexdigest()
        return user, digest == right

    def auth_scram_sha_1(self, initial):
        return self._scram("sha1", initial)

    def auth_scram_sha_256(self, initial):
        return self._scram("sha256", initial)

    def _scram(self, name, initial):
        """RFC 5802."""
        def sign(key, text):
            return hmac.new(key, text, name).digest()

        first = base64.b64decode(initial) if initial else self.ask(b"")
        flag, authorization, bare = first.split(b",", 2)
        words = dict(word.split(b"=", 1) for word in bare.split(b","))
        nonce = words[b"r"] + b"3rfcNHYJY1ZVvWVs7j"
        salt, rounds = b"salt of relays", 4096
        challenge = b"r=%s,s=%s,i=%d" % (nonce, base64.b64encode(salt), rounds)
        final, _, proof = self.ask(challenge).rpartition(b",p=")
        salted = hashlib.pbkdf2_hmac(name, PASSWORD.encode(), salt, rounds)
        said = b",".join((bare, challenge, final))
        key = sign(salted, b"Client Key")
        mask = sign(hashlib.new(name, key).digest(), said)
        binding = base64.b64encode(flag + b"," + authorization + b",")
        right = (base64.b64decode(proof) == bytes(a ^ b for a, b in zip(key, mask))
                 and final == b"c=%s,r=%s" % (binding, nonce))
        if right:
            proof = sign(sign(salted, b"Server Key"), b"" if self.house.auth_lie else said)
            self.ask(b"v=" + base64.b64encode(proof))
        return words[b"n"].decode(), right

    def auth_digest_md5(self, _):
        """RFC 2831."""
        def md5(text):
            return hashlib.md5(text.encode()).hexdigest()

        nonce = "OA6MG9tEQGm2hh"
        answer = self.ask(f'realm="relay",nonce="{nonce}",qop="auth",charset=utf-8,'
                          "algorithm=md5-sess".encode()).decode()
        words = {key: quoted or plain
                 for key, quoted, plain in re.findall(r'([\w-]+)=(?:"([^"]*)"|([^,]*))', answer)}
        account = hashlib.md5(f"{words['username']}:relay:{PASSWORD}".encode()).digest()
        session = hashlib.md5(account + f":{nonce}:{words['cnonce']}".encode()).hexdigest()

        def response(verb):
            asked = md5(f"{verb}:{words['digest-uri']}")
            return md5(f"{session}:{nonce}:{words['nc']}:{words['cnonce']}:auth:{asked}")

        right = words["response"] == response("AUTHENTICATE") and words["nonce"] == nonce
        if right:
            self.ask(b"rspauth=" + response("LIE" if self.house.auth_lie else "").encode())
        return f"{words['username']} at {words['digest-uri']}", right

    def auth_external(self, initial):
        octets = b"" if initial == "=" else base64.b64decode(initial) if initial else self.ask(b"")
        return octets.decode(), bool(self.visit.certificate)

    def do_mail(self, _):
        self.say(self.house.mail)

    def do_rcpt(self, _):
        self.say("250 2.1.5 Ok" if self.house.mail.startswith("2") else "503 5.5.1 No")

    def do_data(self, _):
        if not self.house.mail.startswith("2"):
            self.say("503 5.5.1 No")
            return
        self.say("354 Go on")
        while (line := self.reader.readline(65536)) and line != b".\r\n":
            pass
        self.visit.took_mail = True
        self.say("250 2.0.0 Ok: taken")

    def do_rset(self, _):
        self.say("250 2.0.0 Ok")

    def do_quit(self, _):
        self.say("221 2.0.0 Bye")
        return True


class Street:
    """All servers, and the name service. `zone`: (name, "A" or "MX"): [address] or
    [(preference, host)]."""

    def __init__(self, houses, zone, certificates, authority):
        self._certificates, self._authority = certificates, authority
        self._contexts = {house.name: self._make_context(house) for house in houses
                          if house.certificate or house.ciphers}
        self._visits = {}
        self._lock = threading.Lock()
        self._doors = selectors.DefaultSelector()
        for house in houses:
            for port in (*CLEAR_PORTS, WRAPPED_PORT):
                if port == WRAPPED_PORT and house.name not in self._contexts:
                    continue
                door = socket.create_server((house.address, port), backlog=64)
                self._doors.register(door, selectors.EVENT_READ, (house, port == WRAPPED_PORT))
        threading.Thread(target=self._accept, daemon=True).start()
        self._names = socketserver.ThreadingUDPServer((NAME_SERVER, 53), _Question)
        self._names.daemon_threads = True
        self._names.zone = zone
        threading.Thread(target=self._names.serve_forever, daemon=True).start()

    def visits(self, client):
        """Of the client with this address, in the order of their beginnings."""
        with self._lock:
            return list(self._visits.get(client, ()))

    def context(self, house):
        return self._contexts[house.name]

    def _make_context(self, house):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if house.certificate:
            context.load_cert_chain(*self._certificates[house.certificate])
        if house.ask_certificate:
            context.load_verify_locations(self._authority)
            context.verify_mode = ssl.CERT_OPTIONAL
        # The contexts of old servers; what is too old for the client is the client's word.
        context.set_ciphers((house.ciphers or "DEFAULT") + ":@SECLEVEL=0")
        if house.versions:
            first, _, last = house.versions.partition("-")
            context.minimum_version = getattr(ssl.TLSVersion, first.replace(".", "_"))
            context.maximum_version = getattr(ssl.TLSVersion, (last or first).replace(".", "_"))
        context.sni_callback = self._note_server_name
        return context

    @staticmethod
    def _note_server_name(connection, name, _):
        connection.visit.server_name = name or ""

    def _accept(self):
        while True:
            for key, _ in self._doors.select():
                connection, client = key.fileobj.accept()
                house, wrapped = key.data
                visit = Visit(house.name)
                with self._lock:
                    self._visits.setdefault(client[0], []).append(visit)
                threading.Thread(target=self._hold, daemon=True,
                                 args=(house, wrapped, connection, visit)).start()

    def _hold(self, house, wrapped, connection, visit):
        connection.settimeout(60)
        talk = _Talk(self, house, wrapped, connection, visit)
        try:
            talk.hold()
        except (OSError, ValueError):
            pass  # The client went, or said what nobody understands: the visit tells.
        finally:
            talk.connection.close()
            visit.over = True


def _wire_name(name):
    return b"".join(bytes([len(label)]) + label.encode()
                    for label in name.rstrip(".").split(".")) + b"\0"


class _Question(socketserver.BaseRequestHandler):
    """One question over UDP (RFC 1035 4.1); names that are not in the zone do not exist."""
    TYPES = {1: "A", 15: "MX"}

    def handle(self):
        packet, channel = self.request
        end = packet.index(0, 12) + 5
        labels, at = [], 12
        while packet[at]:
            labels.append(packet[at + 1:at + 1 + packet[at]].decode())
            at += 1 + packet[at]
        name = ".".join(labels).lower()
        kind, = struct.unpack("!H", packet[end - 4:end - 2])
        zone = self.server.zone
        answers = [self._data(record) for record in zone.get((name, self.TYPES.get(kind)), ())]
        known = any(owner == name or owner.endswith("." + name) for owner, _ in zone)
        channel.sendto(
            packet[:2] + struct.pack("!HHHHH", 0x8580 | (0 if known else 3), 1, len(answers), 0, 0)
            + packet[12:end]
            + b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data
                       for data in answers), self.client_address)

    @staticmethod
    def _data(record):
        if isinstance(record, str):
            return socket.inet_aton(record)
        return struct.pack("!H", record[0]) + _wire_name(record[1])

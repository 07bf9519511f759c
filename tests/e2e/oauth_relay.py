"""A provider that takes bearer tokens: TLS from the first octet, AUTH by OAUTHBEARER and
XOAUTH2 as RFC 7628 and Google write them, tokens that end when the test says so."""
import base64
import json
import socketserver
import ssl
import threading


class _Session(socketserver.StreamRequestHandler):
    def setup(self):
        self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def reply(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        try:
            self.converse()
        except (ConnectionError, ssl.SSLError):
            pass

    def converse(self):
        relay = self.server.relay
        user = None
        self.reply("220 oauth.example.net ESMTP")
        while line := self.rfile.readline(65536):
            verb, _, argument = line.decode().rstrip("\r\n").partition(" ")
            verb = verb.upper()
            if verb == "EHLO":
                self.reply("250-oauth.example.net")
                self.reply(f"250 AUTH PLAIN {relay.mechanisms}")
            elif verb == "AUTH":
                user = self.authenticate(*argument.split(" ", 1))
            elif verb == "MAIL" and user is None:
                self.reply("530 5.7.0 Authentication required")
            elif verb in ("MAIL", "RCPT"):
                self.reply("250 2.1.0 Ok")
            elif verb == "DATA":
                self.reply("354 go on")
                while self.rfile.readline(65536) not in (b".\r\n", b""):
                    pass
                relay.note(("message", user))
                self.reply("250 2.0.0 Ok")
            elif verb == "QUIT":
                self.reply("221 2.0.0 Bye")
                return
            else:
                self.reply("250 2.0.0 Ok")

    def authenticate(self, mechanism, initial=None):
        relay = self.server.relay
        if initial is None:
            self.reply("334 ")
            initial = self.rfile.readline(65536).decode().strip()
        message = base64.b64decode(initial, validate=True).decode()
        fields = message.split("\x01")
        if mechanism == "XOAUTH2":
            user = fields[0].removeprefix("user=")
            assert fields[2:] == ["", ""], message
        else:
            gs2, _, user = fields[0].partition("a=")
            assert gs2 == "n," and user.endswith(",") and fields[-2:] == ["", ""], message
            user = user[:-1]
        [token] = [f.removeprefix("auth=Bearer ") for f in fields if f.startswith("auth=Bearer ")]
        relay.note((mechanism, user, token))
        if token in relay.tokens:
            self.reply("235 2.7.0 Accepted")
            return user
        error = json.dumps({"status": "401", "schemes": "bearer", "scope": "mail"}).encode()
        self.reply("334 " + base64.b64encode(error).decode())
        answer = self.rfile.readline(65536).strip()
        relay.note(("answer", base64.b64decode(answer, validate=True)))
        self.reply("535 5.7.8 Token refused")
        return None


class OauthRelay:
    def __init__(self, certificate, mechanisms="XOAUTH2 OAUTHBEARER"):
        self.mechanisms = mechanisms
        self.tokens = set()
        self._events = []
        self._changed = threading.Condition()
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Session)
        self._server.daemon_threads = True
        self._server.relay = self
        self._server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server.context.load_cert_chain(certificate[0], certificate[1])
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def note(self, event):
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    @property
    def events(self):
        with self._changed:
            return list(self._events)

    def wait_for_messages(self, count, seconds=60):
        def come():
            return sum(e[0] == "message" for e in self._events) >= count
        with self._changed:
            if not self._changed.wait_for(come, seconds):
                raise AssertionError(f"{count} messages did not come: {self._events}")

    def close(self):
        self._server.shutdown()
        self._server.server_close()

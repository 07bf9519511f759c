"""A relay that answers what its test says, octet for octet, and keeps what it was told.
Apart from the project's own SMTP code, so that a mistake there cannot hide here.
"""
import dataclasses
import re
import socketserver
import threading

from wire_audit import WireAudit

EXTENSIONS = ("PIPELINING", "SIZE 104857600", "8BITMIME", "SMTPUTF8", "DSN",
              "ENHANCEDSTATUSCODES")


@dataclasses.dataclass
class Taken:
    """A message that was accepted."""
    reverse_path: str
    mail_parameters: str
    recipients: dict  # Address: the parameters of its RCPT.
    content: bytes


class _Session(socketserver.StreamRequestHandler):
    def say(self, reply):
        self.wfile.write(reply if reply.endswith(b"\r\n") else reply + b"\r\n")

    def handle(self):
        relay = self.server.relay
        self.say(b"220 relay.example.net ESMTP")
        mail, recipients = None, {}
        while True:
            line = self.rfile.readline(65536)
            if not line:
                return
            relay.audit.command(line)
            verb = line[:4].upper().decode("ascii", "replace")
            argument = line[5:].decode("utf-8").strip()
            notice = (argument.upper().startswith("FROM:<>") if verb == "MAIL"
                      else mail is not None and mail[0] == "")
            answer = relay.answer(verb, argument, notice)
            if verb == "EHLO" and answer:
                self.say(answer)
            elif verb == "EHLO":
                words = ("relay.example.net", *relay.extensions)
                self.say("".join(f"250{'-' if i + 1 < len(words) else ' '}{word}\r\n"
                                 for i, word in enumerate(words)).encode())
            elif verb == "MAIL":
                path = re.match(r"FROM:<([^>]*)>\s*(.*)", argument, re.IGNORECASE)
                mail, recipients = None if answer else path.groups(), {}
                self.say(answer or b"250 2.1.0 Ok")
            elif verb == "RCPT":
                path = re.match(r"TO:<([^>]*)>\s*(.*)", argument, re.IGNORECASE)
                if mail is None:
                    answer = b"503 5.5.1 Need MAIL first"
                if not answer:
                    recipients[path.group(1)] = path.group(2)
                self.say(answer or b"250 2.1.5 Ok")
            elif verb == "DATA":
                if answer or not recipients:
                    self.say(answer or b"554 5.5.1 No valid recipients")
                    continue
                self.say(b"354 Go on")
                content = self.read_content()
                if content is None:
                    return
                relay.audit.content(content)
                answer = relay.answer("DOT", "", mail[0] == "")
                if not answer:
                    relay.keep(Taken(*mail, recipients, content))
                self.say(answer or b"250 2.0.0 Ok: taken")
            elif verb == "QUIT":
                self.say(b"221 2.0.0 Bye")
                return
            else:
                self.say(b"250 2.0.0 Ok")

    def read_content(self):
        lines, at_line_start = [], True
        while True:
            piece = self.rfile.readline(1 << 20)
            if not piece:
                return None
            if at_line_start and piece == b".\r\n":
                return b"".join(lines)
            lines.append(piece[1:] if at_line_start and piece.startswith(b".") else piece)
            at_line_start = piece.endswith(b"\r\n")


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


class ScriptedRelay:
    """`script(verb, argument)` gives the octets of a reply, or None for the usual one; verbs
    are EHLO, MAIL, RCPT, DATA and DOT. Notices (mail from "<>") are not in its hands: they
    pass."""

    def __init__(self, script=lambda verb, argument: None, extensions=EXTENSIONS):
        self.script = script
        self.extensions = extensions
        self._taken = []
        self._lock = threading.Lock()
        self.audit = WireAudit()
        self._server = _Server(("127.0.0.1", 0), _Session)
        self._server.relay = self
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def answer(self, verb, argument, notice):
        return None if notice else self.script(verb, argument)

    def keep(self, message):
        with self._lock:
            self._taken.append(message)

    @property
    def taken(self):
        with self._lock:
            return list(self._taken)

    @property
    def notices(self):
        return [message for message in self.taken if message.reverse_path == ""]

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.audit.raise_problems()

"""An SMTP server that keeps the exact octets of what it is sent.

Written apart from the project's own SMTP code, so that a mistake there cannot hide here:
lines end at CRLF and nowhere else, and only CRLF "." CRLF ends the content.
"""
import dataclasses
import re
import socketserver
import sys
import threading

from wire_audit import WireAudit

EXTENSIONS = ("PIPELINING", "SIZE 104857600", "8BITMIME", "SMTPUTF8", "DSN",
              "ENHANCEDSTATUSCODES")


@dataclasses.dataclass
class RecordedMessage:
    reverse_path: str
    mail_parameters: str
    recipients: list
    content: bytes
    session: int


class _Session(socketserver.StreamRequestHandler):
    def reply(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        try:
            self.converse()
        except ConnectionError:
            pass  # The client was killed.

    def converse(self):
        recorder = self.server.recorder
        session = recorder.next_session()
        self.reply("220 recorder.example.org ESMTP")
        reverse_path, parameters, recipients = None, "", []
        while True:
            line = self.rfile.readline(65536)
            if not line:
                return
            recorder.audit.command(line)
            verb = line[:4].upper()
            if verb == b"EHLO":
                for extension in EXTENSIONS:
                    self.reply("250-" + extension)
                self.reply("250 HELP")
            elif verb == b"MAIL":
                path = re.match(rb"MAIL FROM:<([^>]*)>(.*)", line, re.IGNORECASE)
                reverse_path = path.group(1).decode("utf-8")
                parameters = path.group(2).decode("utf-8").strip()
                recipients = []
                self.reply("250 2.1.0 Ok")
            elif verb == b"RCPT":
                path = re.match(rb"RCPT TO:<([^>]*)>", line, re.IGNORECASE)
                recipients.append(path.group(1).decode("utf-8"))
                self.reply("250 2.1.5 Ok")
            elif verb == b"DATA":
                self.reply("354 End data with <CR><LF>.<CR><LF>")
                content = self.read_content()
                if content is None:
                    return
                recorder.audit.content(content)
                message = RecordedMessage(reverse_path, parameters, recipients, content, session)
                recorder.keep(message)
                recorder.replies.wait()
                self.reply("250 2.0.0 Ok: recorded")
                recorder.on_reply(message)
            elif verb == b"QUIT":
                self.reply("221 2.0.0 Bye")
                return
            elif verb in (b"RSET", b"NOOP", b"HELO"):
                self.reply("250 2.0.0 Ok")
            else:
                self.reply("502 5.5.2 Not here")

    def read_content(self):
        lines = []
        at_line_start = True
        while True:
            piece = self.rfile.readline(1 << 20)
            if not piece:
                return None
            if at_line_start and piece == b".\r\n":
                return b"".join(lines)
            if at_line_start and piece.startswith(b"."):
                piece = piece[1:]
            lines.append(piece)
            # readline() stops at LF and at its limit too; neither begins an SMTP line.
            at_line_start = piece.endswith(b"\r\n")


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A client that is killed resets its connections; everything else is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class SmtpRecorder:
    """Listens on a loopback port of the system's choice; thread-safe. `on_message` and
    `on_reply` are called, on the session's thread, when a message was kept and when the
    250 for it was sent."""

    def __init__(self, on_message=lambda message: None, on_reply=lambda message: None):
        self._on_message = on_message
        self.on_reply = on_reply
        self._changed = threading.Condition()
        self._messages = []
        self._sessions = 0
        # Cleared: the message is taken, and its reply waits.
        self.replies = threading.Event()
        self.replies.set()
        self.audit = WireAudit()
        self._server = _Server(("127.0.0.1", 0), _Session)
        self._server.recorder = self
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def next_session(self):
        with self._changed:
            self._sessions += 1
            return self._sessions

    def keep(self, message):
        with self._changed:
            self._messages.append(message)
            self._changed.notify_all()
        self._on_message(message)

    @property
    def messages(self):
        with self._changed:
            return list(self._messages)

    def wait_for(self, count, timeout=60):
        """The first `count` messages, as soon as they are there."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._messages) >= count, timeout):
                raise AssertionError(
                    f"{len(self._messages)} of {count} messages arrived within {timeout} s")
            return list(self._messages)

    def close(self):
        self.replies.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.audit.raise_problems()

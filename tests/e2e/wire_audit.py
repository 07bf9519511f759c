"""What holds for every octet that reaches a relay, whatever a test is about: lines end by CRLF,
content ends once, what follows is a command, and nobody logs in where nobody encrypts.

A relay gives it what it reads and, when it closes, raises what was wrong."""

VERBS = (b"EHLO", b"HELO", b"MAIL", b"RCPT", b"DATA", b"RSET", b"NOOP", b"QUIT", b"AUTH",
         b"STARTTLS", b"BDAT")


class WireAudit:
    def __init__(self):
        self.problems = []

    def command(self, line):
        """A line as it was read, with its end."""
        self._check(line)
        if not line.endswith(b"\r\n"):
            return  # The connection broke.
        verb = line.split()[0].upper() if line.split() else b""
        if verb not in VERBS:
            self.problems.append(f"no command: {line!r}")
        if verb == b"AUTH":
            self.problems.append("AUTH in clear")

    def content(self, octets):
        """All of one message's content, as sent but for its end."""
        self._check(octets)

    def _check(self, octets):
        rest = octets.replace(b"\r\n", b"")
        for octet, name in ((b"\r", "CR"), (b"\n", "LF")):
            if octet in rest:
                self.problems.append(f"a bare {name} in {octets[-80:]!r}")

    def raise_problems(self):
        if self.problems:
            raise AssertionError("on the wire: " + "; ".join(self.problems))

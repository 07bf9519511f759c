"""OpenSMTPD of Debian, relaying everything over STARTTLS + AUTH, with its limits out of the way."""
from rivals.overlay import Instance, Overlay

PACKAGES = ["opensmtpd"]

CONFIGURATION = """\
smtp limit max-mails 1000000
smtp max-message-size "100M"
mta limit {limits}
table secrets file:/etc/relay-secrets
listen on 127.0.0.1 port {port}
action "out" relay host "smtp+tls://relay@127.0.0.1:{relay_port}" tls no-verify auth <secrets>
match from any for any action "out"
"""

# As many sessions as the others have, and no pause between them or within one.
PLACES = ("host", "relay", "source", "connector", "domain", "route")
LIMITS = " ".join([f"max-conn-per-{place} 20" for place in PLACES]
                  + [f"conn-delay-{place} 0" for place in PLACES]
                  + ["session-transaction-delay 0"])


class Opensmtpd:
    NAME = "OpenSMTPD"
    # It greets 12 callers at once; a thirteenth waits until one of them has gone.
    CONNECTIONS_MAX = 10

    def __init__(self, directory):
        self._overlay = Overlay(directory, PACKAGES)
        self.version = self._overlay.version("opensmtpd")

    def start(self, queue, port, relay_port, user, password):
        files = {"/etc/smtpd.conf": CONFIGURATION.format(
            port=port, relay_port=relay_port, limits=LIMITS),
                 "/etc/relay-secrets": f"relay {user}:{password}\n"}
        return Instance(self._overlay, self._overlay.start(
            queue, "/var/spool/smtpd", files,
            "chown opensmtpd /etc/relay-secrets; chmod 711 /var/spool/smtpd; exec smtpd -d"), port)

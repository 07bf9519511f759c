"""Exim 4 of Debian, relaying everything over STARTTLS + AUTH. Tuned as its specification
advises for a busy relay: directories split, no look-ups of callers, log to a file, several
messages a connection. fsync is on: it cannot be switched off in Debian's build.
"""
from rivals.overlay import Instance, Overlay

PACKAGES = ["exim4-daemon-light"]

CONFIGURATION = """\
primary_hostname = exim.example.com
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
spool_directory = /var/spool/exim4
log_file_path = /var/spool/exim4/log/%slog
log_selector = -all
notifier_socket =
tls_advertise_hosts =
host_lookup =
rfc1413_query_timeout = 0s
split_spool_directory = true
check_spool_space = 0
smtp_accept_max = 500
smtp_accept_max_per_connection = 0
smtp_accept_queue_per_connection = 0
queue_run_max = 20
remote_max_parallel = 20
message_size_limit = 100M
acl_smtp_rcpt = accept
acl_smtp_data = accept

begin routers
relay:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = relay

begin transports
relay:
  driver = smtp
  port = {relay_port}
  allow_localhost
  hosts_require_tls = *
  hosts_require_auth = *
  tls_verify_hosts =
  tls_try_verify_hosts =
  tls_verify_cert_hostnames =
  connection_max_messages = 0

begin retry
* * F,1h,1s

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  client_send = ^{user}^{password}
"""


class Exim:
    NAME = "Exim"
    CONNECTIONS_MAX = 1000

    def __init__(self, directory):
        self._overlay = Overlay(directory, PACKAGES)
        self.version = self._overlay.version("exim4-daemon-light")

    def start(self, queue, port, relay_port, user, password):
        configuration = CONFIGURATION.format(
            port=port, relay_port=relay_port, user=user, password=password.replace(":", "::"))
        return Instance(self._overlay, self._overlay.start(
            queue, "/var/spool/exim4", {"/etc/exim4/exim4.conf": configuration},
            "chown Debian-exim:Debian-exim /var/spool/exim4; exec exim4 -bdf -q1m"), port)

"""Entropy that comes and goes: mail and TLS go on, and the audit says what happened."""
import pathlib
import socket
import socketserver
import threading
import unittest

from harness import EndToEndTest, wait_until

MESSAGE = b"Subject: hello\r\n\r\nHello.\r\n"


class EgdServer:
    """The protocol of EGD and PRNGD: {1, n} asks for n octets, the answer begins with
    their count. Octets that are easy to find, if they turned up anywhere."""

    OCTET = b"\xc7"

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.asked = []
        owner = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self):
                owner.sessions.append(self.connection)
                while len(request := self.rfile.read(2)) == 2 and request[0] == 1:
                    owner.asked.append(request[1])
                    self.wfile.write(bytes([request[1]]) + owner.OCTET * request[1])

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

        self.sessions = []
        self.server = Server(str(self.path), Session)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
        for connection in self.sessions:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.path.unlink(missing_ok=True)


class EntropyTest(EndToEndTest):
    def engine(self, source, more=""):
        certificate, key = self.authority().issue("relay", "DNS:localhost")
        self.relay = self.sink("--tls", "--cert", certificate, "--key", key)
        return self.mailrace(f"relayhost = [127.0.0.1]:{self.relay.port}\n"
                             "smtp_tls_security_level = encrypt\n"
                             "smtp_connection_cache_on_demand = no\n"
                             "smtp_tls_session_cache_database =\n"
                             f"tls_random_source = {source}\n"
                             "tls_random_reseed_period = 3s\n"
                             f"tls_random_exchange_name = {self.directory}/exchange\n{more}")

    @staticmethod
    def audit_when(engine, what, condition):
        def look():
            audit = engine.stats()["entropy"]
            return audit if condition(audit) else None
        return wait_until(what, look)

    def deliver(self, engine):
        before = len(self.relay.records)
        engine.submit(MESSAGE)
        wait_until("the relay has it", lambda: len(self.relay.records) == before + 1)

    def test_a_source_that_vanishes_stops_neither_mail_nor_tls(self):
        path = self.directory / "egd"
        server = EgdServer(path)
        engine = self.engine(f"egd:{path}")
        self.deliver(engine)
        audit = self.audit_when(engine, "it reseeds", lambda a: a["reseeds"] >= 2)
        self.assertEqual(audit["source"], f"egd:{path}")
        self.assertEqual(audit["octets_from_source"], 32 * audit["reseeds"])
        self.assertEqual(audit["source_failures"], 0)
        self.assertGreaterEqual(audit["last_reseed_seconds_ago"], 0)
        self.assertTrue(audit["source_open"] and audit["ready_for_tls"])
        self.assertEqual(set(server.asked), {32})

        server.close()
        audit = self.audit_when(engine, "the loss is noticed", lambda a: a["source_failures"] >= 1)
        self.assertFalse(audit["source_open"])
        self.assertTrue(audit["ready_for_tls"])
        engine.wait_for_log(rf"lost connection to EGD server {path} -- exiting to reconnect")
        self.deliver(engine)

        server = EgdServer(path)
        self.addCleanup(server.close)
        before = audit["reseeds"]
        audit = self.audit_when(engine, "it is taken up again", lambda a: a["reseeds"] > before)
        self.assertTrue(audit["source_open"])
        self.deliver(engine)

        for text in (engine.log, engine.program.output, engine.command("stats")):
            self.assertNotIn("c7c7", text.lower())
            self.assertNotIn("\udcc7" * 2, text)
        self.assertNotIn(EgdServer.OCTET * 4, (self.directory / "exchange").read_bytes())

    def test_a_source_that_was_never_there_is_a_warning(self):
        engine = self.engine(f"egd:{self.directory}/nobody")
        self.deliver(engine)
        engine.wait_for_log(rf"warning: cannot connect to EGD server {self.directory}/nobody: ")
        audit = engine.stats()["entropy"]
        self.assertEqual((audit["reseeds"], audit["octets_from_source"]), (0, 0))
        self.assertEqual(audit["last_reseed_seconds_ago"], -1)
        self.assertGreaterEqual(audit["source_failures"], 1)
        self.assertTrue(audit["ready_for_tls"])

    def test_the_exchange_file_is_private_and_never_repeats(self):
        engine = self.engine("dev:/dev/urandom", "tls_random_prng_update_period = 3s\n")
        exchange = self.directory / "exchange"
        self.assertEqual(exchange.stat().st_mode & 0o777, 0o600)
        seen = set()
        for _ in range(3):
            seen.add(exchange.read_bytes())
            updates = engine.stats()["entropy"]["exchange_updates"]
            audit = self.audit_when(engine, "it is written",
                                    lambda a, n=updates: a["exchange_updates"] > n)
        seen.add(exchange.read_bytes())
        self.assertEqual(len(seen), 4)
        self.assertEqual(audit["exchange_file"], str(exchange))
        self.assertTrue(audit["exchange_file_open"])

        def removed():
            # Again and again: an update that is under way puts it back.
            exchange.unlink(missing_ok=True)
            return "PRNG exchange file was removed -- exiting to reopen" in engine.log
        wait_until("the removal is noticed", removed)
        wait_until("it is there again", exchange.exists)
        before = exchange.read_bytes()
        engine.stop()
        self.assertNotEqual(exchange.read_bytes(), before, "saved at the end")


if __name__ == "__main__":
    unittest.main()

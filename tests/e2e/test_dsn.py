"""Delivery status notifications as they arrive, each kind made for real and read by two
parsers that share no code with ours: Python's email package, and Sisimai, which knows how
bounces look in the wild."""
import email
import email.policy
import json
import os
import re
import smtplib
import subprocess
import unittest

from harness import BIN, DEADLINE, EndToEndTest, Mailrace, free_port, wait_until
from postfix import PostfixRelay
from scripted_relay import EXTENSIONS, ScriptedRelay

WITHOUT_DSN = tuple(word for word in EXTENSIONS if word != "DSN")
CONTENT = (b"From: app@example.com\r\nTo: user@example.net\r\nSubject: Your order\r\n"
           b"Message-ID: <order-1@app.example.com>\r\n\r\nThank you.\r\n")
SISIMAI = 'binmode STDOUT; print Sisimai->dump($ARGV[0], "delivered" => 1) // "[]"'


class Report:
    """A notice as Python's email package reads it."""

    def __init__(self, taken):
        self.content = taken.content
        self.recipient = list(taken.recipients)
        self.message = email.message_from_bytes(
            taken.content, policy=email.policy.default.clone(utf8=True))
        parts = list(self.message.iter_parts())
        self.text_part, self.status_part = parts[0], parts[1]
        self.original = parts[2] if len(parts) > 2 else None
        self.defects = [defect for part in self.message.walk() for defect in part.defects]
        self.text = self.text_part.get_content()
        blocks = list(self.status_part.get_payload())
        if self.status_part.get_content_type() != "message/delivery-status":
            # Python reads only that type as blocks, others as one message.
            rest = blocks[0].get_payload(decode=True).replace(b"\r\n", b"\n").strip(b"\n")
            blocks += [email.message_from_bytes(block + b"\n\n", policy=self.message.policy)
                       for block in rest.split(b"\n\n")]
        self.fields = self._flat(blocks[0])
        self.recipients = [self._flat(block) for block in blocks[1:]]

    @staticmethod
    def _flat(block):
        return {name.lower(): " ".join(str(value).split()) for name, value in block.items()}


class DsnTest(EndToEndTest):
    def relay(self, *arguments, **others):
        relay = ScriptedRelay(*arguments, **others)
        self.addCleanup(relay.close)
        return relay

    def engine_before(self, relay, configuration=""):
        return self.mailrace(f"relayhost = [127.0.0.1]:{relay.port}\n{configuration}\n")

    def submit(self, engine, recipients=(("user@example.net", ()),), sender="app@example.com",
               mail_options=(), content=CONTENT):
        """`recipients`: (address, options of its RCPT)."""
        with smtplib.SMTP("127.0.0.1", engine.port, "client.example.com", DEADLINE) as client:
            client.ehlo()
            self.assertEqual(client.mail(sender, list(mail_options))[0], 250)
            for address, options in recipients:
                self.assertEqual(client.rcpt(address, list(options))[0], 250)
            self.assertEqual(client.data(content)[0], 250)

    def notices(self, relay, count=1):
        wait_until(f"{count} notices arrived", lambda: len(relay.notices) >= count)
        reports = [Report(taken) for taken in relay.notices]
        for report in reports:
            self.assertEqual(report.defects, [])
            self.assertEqual(report.message["Auto-Submitted"], "auto-replied")
            self.assertEqual(report.message.get_content_type(), "multipart/report")
        return reports

    def sisimai(self, report):
        """What Sisimai makes of it, by recipient."""
        file = self.directory / "notice.eml"
        # As a mailbox would have it: lines end with LF.
        file.write_bytes(report.content.replace(b"\r\n", b"\n"))
        done = subprocess.run(["perl", "-MSisimai", "-e", SISIMAI, str(file)],
                              capture_output=True, timeout=DEADLINE, check=True)
        return {record["recipient"]: record for record in json.loads(done.stdout or b"[]")}

    def test_refused_for_good_at_each_step(self):
        for verb, reply, status, reason in (
                ("MAIL", b"550 5.7.1 Sender rejected by policy", "5.7.1", None),
                ("RCPT", b"550 5.1.1 <user@example.net>: User unknown", "5.1.1", "userunknown"),
                ("DATA", b"554 5.7.1 Not today", "5.7.1", None),
                ("DOT", b"552 5.2.2 Mailbox full", "5.2.2", "mailboxfull")):
            with self.subTest(step=verb):
                relay = self.relay(lambda v, _, verb=verb, reply=reply: reply if v == verb
                                   else None)
                engine = self.engine_before(relay)
                self.submit(engine, mail_options=["ENVID=order+201", "RET=FULL"],
                            recipients=[("user@example.net", ["ORCPT=rfc822;User@example.net"])])
                report, = self.notices(relay)
                engine.wait_until_empty()
                engine.stop()
                self.assertEqual(report.recipient, ["app@example.com"])
                self.assertEqual(report.message["Subject"],
                                 "Undelivered Mail Returned to Sender")
                self.assertEqual(report.message["In-Reply-To"], "<order-1@app.example.com>")
                self.assertEqual(report.fields["original-envelope-id"], "order 1")
                self.assertEqual(report.fields["reporting-mta"], "dns; mailrace.example.com")
                recipient, = report.recipients
                self.assertEqual(recipient["final-recipient"], "rfc822; user@example.net")
                self.assertEqual(recipient["original-recipient"], "rfc822;User@example.net")
                self.assertEqual(recipient["action"], "failed")
                self.assertEqual(recipient["status"], status)
                self.assertEqual(recipient["diagnostic-code"], "smtp; " + reply.decode())
                self.assertEqual(recipient["remote-mta"], "dns; 127.0.0.1")
                self.assertIn(reply.decode().split(" ", 2)[2], " ".join(report.text.split()))
                self.assertEqual(report.original.get_content_type(), "message/rfc822")
                self.assertEqual(report.original.get_payload(0)["Subject"], "Your order")
                bounce = self.sisimai(report)["user@example.net"]
                self.assertEqual(bounce["action"], "failed")
                self.assertEqual(bounce["deliverystatus"], status)
                self.assertEqual(bounce["replycode"], reply[:3].decode())
                self.assertEqual(bounce["addresser"], "app@example.com")
                self.assertEqual(bounce["subject"], "Your order")
                self.assertIn(reply.decode(), bounce["diagnosticcode"])
                if reason:
                    self.assertEqual(bounce["reason"], reason)

    def test_given_up_after_its_lifetime(self):
        relay = self.relay(lambda verb, _: b"450 4.2.1 Try later" if verb == "RCPT" else None)
        engine = self.engine_before(relay, "maximal_queue_lifetime = 2s")
        self.submit(engine)
        report, = self.notices(relay)
        recipient, = report.recipients
        self.assertEqual(recipient["action"], "failed")
        self.assertEqual(recipient["status"], "4.4.7")
        self.assertEqual(recipient["diagnostic-code"], "smtp; 450 4.2.1 Try later")
        self.assertIn("delivery time expired", " ".join(report.text.split()))
        bounce = self.sisimai(report)["user@example.net"]
        self.assertEqual(bounce["action"], "failed")
        # Sisimai prefers the code within the diagnostic to the field.
        self.assertIn(bounce["deliverystatus"], ("4.4.7", "4.2.1"))

    def test_late(self):
        relay = self.relay(lambda verb, _: b"451 4.3.0 Busy" if verb == "MAIL" else None)
        engine = self.engine_before(relay, "delay_warning_time = 1s")
        self.submit(engine)
        report, = self.notices(relay)
        self.assertEqual(report.message["Subject"], "Delayed Mail (still being retried)")
        self.assertIn("YOU DO NOT NEED TO RESEND YOUR MESSAGE", report.text)
        recipient, = report.recipients
        self.assertEqual(recipient["action"], "delayed")
        # After an attempt its own status, else that of waiting.
        self.assertIn(recipient["status"], ("4.3.0", "4.4.0"))
        self.assertIn("451 4.3.0 Busy", recipient["diagnostic-code"])
        self.assertIn("will-retry-until", recipient)
        self.assertEqual(report.original.get_content_type(), "text/rfc822-headers")
        bounce = self.sisimai(report)["user@example.net"]
        self.assertEqual(bounce["action"], "delayed")
        # Once: the mail is delivered later, and nothing more is said.
        relay.script = lambda verb, argument: None
        engine.wait_until_empty()
        self.assertEqual(len(relay.notices), 1)
        self.assertEqual([m.reverse_path for m in relay.taken], ["", "app@example.com"])

    def test_late_behind_a_relay_that_is_down(self):
        dead = free_port()
        engine = self.mailrace(f"relayhost = [127.0.0.1]:{dead}\ndelay_warning_time = 1s\n"
                               "delay_notice_sender_limit = 4\nengine_shards = 1\n")
        for _ in range(20):
            self.submit(engine)
        # Most of them are never tried: they wait in line.
        wait_until("senders were told", lambda: engine.log.count("sender delay notification") == 4)
        engine.wait_for_log("had 4 delay notifications within an hour")
        wait_until("all were looked at",
                   lambda: engine.stats()["delay_notices_left_out"] >= 16)
        self.assertEqual(engine.log.count("sender delay notification"), 4)

    def test_relayed_to_a_server_that_does_no_dsn(self):
        relay = self.relay(extensions=WITHOUT_DSN)
        engine = self.engine_before(relay)
        self.submit(engine, [("user@example.net", ["NOTIFY=SUCCESS"]),
                             ("other@example.net", ["NOTIFY=FAILURE"])])
        report, = self.notices(relay)
        self.assertEqual(report.message["Subject"], "Successful Mail Delivery Report")
        recipient, = report.recipients
        self.assertEqual(recipient["final-recipient"], "rfc822; user@example.net")
        self.assertEqual(recipient["action"], "relayed")
        self.assertEqual(recipient["status"], "2.0.0")
        self.assertEqual(report.original.get_content_type(), "text/rfc822-headers")
        self.assertEqual({to: p for m in relay.taken for to, p in m.recipients.items()},
                         {"user@example.net": "", "other@example.net": "", "app@example.com": ""})
        delivered = self.sisimai(report)["user@example.net"]
        self.assertEqual(delivered["action"], "relayed")
        self.assertEqual(delivered["deliverystatus"], "2.0.0")

    def test_one_notice_of_many_recipients_and_reasons(self):
        relay = self.relay(lambda verb, argument: f"550 5.1.1 {argument} unknown".encode()
                           if verb == "RCPT" else None)
        engine = self.engine_before(relay)
        users = [f"user{i}@example.net" for i in range(200)]
        self.submit(engine, [(user, ()) for user in users])
        report, = self.notices(relay)
        engine.wait_until_empty()
        self.assertEqual(len(relay.notices), 1)
        self.assertEqual([recipient["final-recipient"] for recipient in report.recipients],
                         [f"rfc822; {user}" for user in users])
        bounces = self.sisimai(report)
        self.assertEqual(set(bounces), set(users))
        self.assertEqual({bounce["reason"] for bounce in bounces.values()}, {"userunknown"})
        for user, recipient in zip(users, report.recipients):
            self.assertIn(f"<{user}>", recipient["diagnostic-code"])

    def test_hostile_replies_stay_in_their_field(self):
        reply = (b"550-5.7.1 caf\xe9 <script>alert(1)</script> \x1b[2J\r\n"
                 b"550-5.7.1 Final-Recipient: rfc822; evil@example.org\r\n"
                 b"550-5.7.1 Action: delivered\r\n" +
                 b"".join(b"550-5.7.1 " + b"A" * 400 + b"\r\n" for _ in range(12)) +
                 b"550 5.7.1 end\r\n")
        relay = self.relay(lambda verb, _: reply if verb == "RCPT" else None)
        engine = self.engine_before(relay)
        self.submit(engine)
        report, = self.notices(relay)
        self.assertTrue(report.content.isascii())
        self.assertLess(len(report.content), 8000)
        recipient, = report.recipients
        self.assertEqual(recipient["action"], "failed")
        self.assertTrue(recipient["diagnostic-code"].startswith("smtp; 550-5.7.1 caf? <script>"),
                        recipient["diagnostic-code"])
        self.assertEqual(list(self.sisimai(report)), ["user@example.net"])

    def test_international_mail_and_an_international_sender(self):
        relay = self.relay(lambda verb, _: b"550 5.1.1 Unknown" if verb == "RCPT" else None)
        engine = self.engine_before(relay)
        content = CONTENT.replace(b"Your order", "Grüße".encode())
        self.submit(engine, [("usér@example.net", ["ORCPT=utf-8;us\\x{E9}r@example.net"])],
                    sender="jürgen@example.com", mail_options=["SMTPUTF8"], content=content)
        report, = self.notices(relay)
        self.assertEqual(relay.notices[0].mail_parameters.split()[-1], "SMTPUTF8")
        self.assertEqual(report.recipient, ["jürgen@example.com"])
        self.assertEqual(report.message.get_param("report-type"), "global-delivery-status")
        self.assertEqual(report.status_part.get_content_type(), "message/global-delivery-status")
        recipient, = report.recipients
        self.assertEqual(recipient["final-recipient"], "utf-8; usér@example.net")
        self.assertEqual(recipient["original-recipient"], "utf-8;usér@example.net")
        self.assertEqual(report.original.get_content_type(), "message/global")

    def test_international_mail_that_the_relay_cannot_take(self):
        relay = self.relay(extensions=("PIPELINING", "SIZE", "DSN", "ENHANCEDSTATUSCODES"))
        engine = self.engine_before(relay)
        content = CONTENT.replace(b"Your order", "Grüße".encode())
        self.submit(engine, [("usér@example.net", ())], mail_options=["SMTPUTF8"],
                    content=content)
        # The way back takes no SMTPUTF8 and no 8-bit content either.
        report, = self.notices(relay)
        self.assertTrue(report.content.isascii())
        self.assertNotIn("SMTPUTF8", relay.notices[0].mail_parameters)
        recipient, = report.recipients
        self.assertEqual(recipient["final-recipient"], "utf-8; us\\x{E9}r@example.net")
        self.assertEqual(recipient["status"], "5.6.7")
        self.assertIn("<usér@example.net>:", report.text)
        self.assertEqual(report.original.get_content_type(), "message/global")

    def test_postfix_as_the_relay_gets_what_was_asked_for(self):
        destination = self.relay(extensions=WITHOUT_DSN)
        relay = PostfixRelay(self.directory / "relay", destination.port, require_auth=False)
        relay.start()
        self.addCleanup(relay.stop)
        engine = self.mailrace(f"relayhost = [127.0.0.1]:{relay.port}\n")
        self.submit(engine, [("user@example.net", ["NOTIFY=SUCCESS,FAILURE",
                                                   "ORCPT=rfc822;Us+2Ber@example.org"])],
                    mail_options=["RET=HDRS", "ENVID=order+3D1"])
        # Postfix answers for the server behind it; we do not answer for Postfix.
        report, = self.notices(destination)
        engine.wait_until_empty()
        self.assertEqual(report.fields["reporting-mta"], "dns; relay.example.net")
        self.assertEqual(report.fields["original-envelope-id"], "order=1")
        recipient, = report.recipients
        self.assertEqual(recipient["original-recipient"], "rfc822;Us+er@example.org")
        self.assertEqual(recipient["action"], "relayed")
        self.assertNotIn("notification", engine.log)

    def test_sendmails_options_become_parameters(self):
        relay = self.relay()
        engine = self.mailrace(f"relayhost = [127.0.0.1]:{relay.port}\n", port=free_port())
        subprocess.run([str(BIN / "sendmail"), "-i", "-f", "app@example.com", "-N",
                        "success,delay", "-R", "hdrs", "-V", "order=1", "user@example.net"],
                       input=CONTENT, check=True, timeout=DEADLINE, capture_output=True,
                       env={**os.environ, "MAIL_CONFIG": str(engine.config)})
        message, = wait_until("it arrived", lambda: relay.taken)
        self.assertIn("RET=HDRS", message.mail_parameters.split())
        self.assertIn("ENVID=order+3D1", message.mail_parameters.split())
        self.assertEqual(message.recipients["user@example.net"].split()[0],
                         "NOTIFY=SUCCESS,DELAY")

    def test_applications_may_be_kept_from_asking(self):
        relay = self.relay()
        engine = self.engine_before(relay, "smtpd_discard_ehlo_keywords = silent-discard, dsn")
        with smtplib.SMTP("127.0.0.1", engine.port, "client.example.com", DEADLINE) as client:
            client.ehlo()
            self.assertFalse(client.has_extn("DSN"))
            self.assertEqual(client.mail("app@example.com", ["RET=FULL"])[0], 501)
            self.assertEqual(client.mail("app@example.com")[0], 250)
            self.assertEqual(client.rcpt("user@example.net", ["NOTIFY=SUCCESS"]),
                             (501, b"5.7.1 DSN support is disabled"))

    def test_a_relay_that_is_ourselves_keeps_the_mail_until_it_is_corrected(self):
        port = free_port()
        engine = self.mailrace(f"relayhost = [127.0.0.1]:{port}\n", port=port)
        self.submit(engine)
        engine.wait_for_log(r"dsn=4\.3\.5, status=deferred "
                            r"\(mail for 127\.0\.0\.1 loops back to myself\)")
        self.assertEqual(engine.stats()["notices_sent"], 0)

    def test_a_loop_of_two_ends_at_the_hop_limit(self):
        ports = free_port(), free_port()
        engine, other = (
            Mailrace(self.directory / name,
                     f"relayhost = [127.0.0.1]:{there}\nhopcount_limit = 12\n", port=here)
            for name, here, there in (("one", *ports), ("other", *reversed(ports))))
        for each in (engine, other):
            self.addCleanup(each.close)
            each.start()
        self.submit(engine)
        # Every second hop is the same host's: one of the two sees the limit first, twice.
        both = (engine, other)
        too_many = r"status=bounced \(host .* said: 554 5\.4\.6 Error: too many hops"
        wait_until("it ends", lambda: any(re.search(too_many, each.log) for each in both))
        # The notice goes round as well, and nobody is told of that.
        wait_until("its notice ends", lambda: any(
            "undeliverable mail with a null sender discarded" in each.log for each in both))
        for each in (*both, *both):
            each.wait_until_empty()
        self.assertEqual(sum(each.stats()["notices_sent"] for each in both), 1)


if __name__ == "__main__":
    unittest.main()

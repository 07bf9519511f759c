"""The judge of every fault: set algebra over what was acknowledged and where it is.

A pair is (id, recipient): the id is the message's X-Mailrace-Id, which no part of the
engine makes or looks at. The rules are the invariants of docs/ARCHITECTURE.md, "What is
promised". Nothing here knows how the engine works.
"""
import collections
import dataclasses


@dataclasses.dataclass
class Evidence:
    """What was seen from outside, after the fault and the restart."""
    acknowledged: list               # Pairs whose 250 the application read.
    delivered: list                  # Pairs the relay took, in order, with repetitions.
    queued: list = dataclasses.field(default_factory=list)    # Pairs still owed.
    reported: list = dataclasses.field(default_factory=list)  # Pairs in notices that arrived.
    # None: the application kept no list of what it tried to send.
    attempted: set = None
    # Recipients that may come twice, as the engine said at its starts; None: it was not asked.
    duplicates_max: int = None
    # Messages that the application began and had no answer for when the engine died.
    unanswered_max: int = None
    mangled: list = dataclasses.field(default_factory=list)   # Ids whose content differs.


@dataclasses.dataclass
class Verdict:
    """Empty collections: all promises were kept."""
    acknowledged: int
    lost: set                        # Acknowledged and nowhere.
    duplicates: int                  # Recipients served or told once too often, all counted.
    appeared: int                    # Never acknowledged and there: the client may repeat it.
    duplicates_max: int              # As the evidence has it.
    duplicated: dict                 # Pair -> how often too often.
    breaches: list                   # Sentences; one for each broken promise.

    @property
    def kept(self):
        return not self.breaches


def judge(evidence):
    acknowledged = set(evidence.acknowledged)
    delivered = collections.Counter(evidence.delivered)
    reported = collections.Counter(evidence.reported)
    queued = collections.Counter(evidence.queued)
    places = delivered + reported + queued
    lost = acknowledged - set(places)
    duplicated = {pair: count - 1 for pair, count in places.items() if count > 1}
    duplicates = sum(duplicated.values())
    appeared = {pair for pair in places if pair not in acknowledged}
    breaches = []
    if lost:
        breaches.append(f"{len(lost)} of {len(acknowledged)} acknowledged recipients are lost: "
                        f"{_some(lost)}")
    if evidence.duplicates_max is not None and duplicates > evidence.duplicates_max:
        breaches.append(f"{duplicates} duplicates, the engine said at most "
                        f"{evidence.duplicates_max}: {_some(duplicated)}")
    if evidence.attempted is not None and set(places) - evidence.attempted:
        invented = set(places) - evidence.attempted
        breaches.append(f"{len(invented)} recipients that nobody sent to: {_some(invented)}")
    messages_appeared = {identifier for identifier, _ in appeared}
    if evidence.unanswered_max is not None and len(messages_appeared) > evidence.unanswered_max:
        breaches.append(f"{len(messages_appeared)} messages appeared without an "
                        f"acknowledgement, only {evidence.unanswered_max} were unanswered: "
                        f"{_some(appeared)}")
    if evidence.mangled:
        breaches.append(f"{len(evidence.mangled)} messages were altered or cut: "
                        f"{_some(evidence.mangled)}")
    return Verdict(len(acknowledged), lost, duplicates, len(messages_appeared),
                   evidence.duplicates_max, duplicated, breaches)


def _some(pairs, limit=5):
    """A few of them, for a line."""
    listed = sorted(map(str, pairs))
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more

"""How each zone came to be what it is: the steps that IXFR sends (RFC 1995 §5)."""

from __future__ import annotations

from collections import deque

from dns_server.book import Book, Change
from dns_server.rules.transfer import Step, newer, weight
from dns_server.rules.zone import Zone


class History:
    """Watches a book. Bounded over all zones by records and by octets: what was longest ago is forgotten first."""

    def __init__(self, book: Book, *, records: int, octets: int) -> None:
        self._max_records = records
        self._max_octets = octets
        self._steps: dict[bytes, deque[Step]] = {}
        self._order: deque[bytes] = deque()
        """Whose steps came in which order."""
        self.records = 0
        self.octets = 0
        book.watchers.append(self.note)

    def note(self, change: Change) -> None:
        before, after = change.before, change.after
        if before is None or after is None:
            zone = before or after
            if zone is not None:
                self.forget(zone.key)
            return
        if change.whole:
            self.forget(after.key)
            return
        if not change.removed and not change.added:
            return  # read anew and found the same
        if not newer(after.serial, before.serial):
            self.forget(after.key)  # two versions under one serial, or back in time: no step leads there
            return
        known = self._steps.setdefault(after.key, deque())
        if known and known[-1].after != before.serial:
            self.forget(after.key)
            known = self._steps.setdefault(after.key, deque())
        step = Step.of(before.serial, after.serial, change.removed, change.added)
        if step.records > self._max_records or step.octets > self._max_octets:
            self.forget(after.key)
            return
        known.append(step)
        self._order.append(after.key)
        self.records += step.records
        self.octets += step.octets
        while self.records > self._max_records or self.octets > self._max_octets:
            self._drop(self._order[0])

    def forget(self, key: bytes) -> None:
        for step in self._steps.pop(key, ()):
            self.records -= step.records
            self.octets -= step.octets
        self._order = deque(other for other in self._order if other != key)

    def _drop(self, key: bytes) -> None:
        self._order.remove(key)
        step = self._steps[key].popleft()
        self.records -= step.records
        self.octets -= step.octets

    def since(self, zone: Zone, serial: int) -> list[Step] | None:
        """The steps from that serial to the zone's; None when one is not known, or all of them say more than the zone
        itself would."""
        found: list[Step] = []
        wanted = zone.serial
        octets = 0
        for step in reversed(self._steps.get(zone.key, ())):
            if step.after != wanted:
                return None
            found.append(step)
            octets += step.octets
            wanted = step.before
            if wanted == serial:
                found.reverse()
                return found if _is_larger(zone, octets) else None
        return None

    def statistics(self) -> dict[str, int]:
        return {"steps": len(self._order), "records": self.records, "bytes": self.octets}


def _is_larger(zone: Zone, octets: int) -> bool:
    """Whether the zone's records are more than so many octets; counted no further than that."""
    total = 0
    for rrset in zone.rrsets():
        total += weight(rrset)
        if total > octets:
            return True
    return False

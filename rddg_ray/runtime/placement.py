"""Which host takes which chain: one that answers, and among those one with few chains."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection

_RECENT_S = 5.0
_OWN_HOST_S = 60.0
_PATIENCE_S = 300.0


class Placement:
    """Knows which hosts answer and which chains they have.

    A host whose node is gone is not gone itself: it waits for a node to restart on, perhaps for
    ever, and refuses every chain until then. So a chain that is started again goes to a host
    that has answered in the last 5 s, and where none has, it waits for up to five minutes, in
    which a lost machine may be replaced.

    Chains are first spread evenly, each over a host of its own turn. A host that is not there
    after a minute, because others use its CPU, is not waited for any longer.

    Args:
        n_hosts: Hosts, which go by their position from here on.
        clock: Seconds on a clock that never goes back.
    """

    def __init__(self, n_hosts: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard_s: list[float | None] = [None] * n_hosts
        self._start_s = self._last_s = clock()
        self._host_of: dict[int, int] = {}
        self._running: set[int] = set()
        self._begun: set[int] = set()

    @property
    def is_hopeless(self) -> bool:
        """Return whether no host has answered for five minutes."""
        return self._clock() - self._last_s > _PATIENCE_S

    def heard(self, host: int, chains: Collection[int]) -> None:
        """Note that a host answered, and which chains it has begun."""
        self._heard_s[host] = self._last_s = self._clock()
        self._begun.update(c for c in chains if c in self._running and self._host_of[c] == host)

    def silent(self, host: int) -> None:
        """Note that a host is lost; it counts again once it answers."""
        self._heard_s[host] = None

    def put(self, chain: int) -> int | None:
        """Place a chain and return its host, or None where it must wait."""
        host = self._choice(chain)
        if host is not None:
            self._host_of[chain] = host
            self._running.add(chain)
            self._begun.discard(chain)
        return host

    def end(self, chain: int) -> tuple[int, bool]:
        """Note that a chain ended or was lost; return its host, and whether that had begun it."""
        self._running.discard(chain)
        return self._host_of[chain], chain in self._begun

    def _choice(self, chain: int) -> int | None:
        n_hosts, living = len(self._heard_s), self._living()
        if chain not in self._host_of:
            own = chain % n_hosts
            if own in living:
                return own
            if self._clock() - self._start_s < _OWN_HOST_S:
                return None
        last = self._host_of.get(chain)
        loads = Counter(self._host_of[running] for running in self._running)
        # Not where it was lost, for what it lost there, such as a Caller, may still be missing.
        order = sorted(living, key=lambda h: (h == last, loads[h], (h - chain) % n_hosts))
        return order[0] if order else None

    def _living(self) -> list[int]:
        since_s = self._clock() - _RECENT_S
        return [h for h, at_s in enumerate(self._heard_s) if at_s is not None and at_s >= since_s]

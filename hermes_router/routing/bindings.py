"""Which conversation stays with which target, and whose turn it is.

Owns affinity (the provider's prompt cache and signatures live there) and the turn stamps that rotation goes by. It
must never know whether a target can serve: it only says where a conversation would rather be.
"""

from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice

from hermes_router.core.ids import CredentialId, Target
from hermes_router.routing.changes import Changes
from hermes_router.routing.names import Pin

IDLE_S = 600.0  # after this the provider's prompt cache is gone (OR-2), and a free target may take over from a paid
MOST = 20_000


class Binding:
    """One conversation. `settled` = it has had a turn that obeyed the binding; `floor` = its hardest turn so far."""

    __slots__ = ("floor", "pin", "settled", "target", "used_at")

    def __init__(self, pin: Pin | None) -> None:
        self.target: Target | None = None
        self.pin = pin
        self.used_at = 0.0
        self.floor = 1
        self.settled = False


class Bindings:
    """Conversations by affinity key, the least recently used forgotten first."""

    def __init__(self, most: int = MOST, *, changes: Changes | None = None) -> None:
        self._most = most
        self._changes = changes if changes is not None else Changes()
        self._by_key: OrderedDict[str, Binding] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_key)

    def get(self, key: str) -> Binding | None:
        """The binding of a conversation, None where there is none."""
        return self._by_key.get(key)

    def floor(self, key: str | None) -> int:
        """The difficulty below which this conversation does not fall."""
        found = self._by_key.get(key) if key is not None else None
        return found.floor if found is not None else 1

    def planned(self, key: str, pin: Pin | None) -> None:
        """Note under which pin a turn is sent: a changed pin ends the affinity."""
        found = self._by_key.get(key)
        if found is None:
            if pin is not None:
                self._make(key, pin)
        elif found.pin != pin:
            found.pin = pin
            found.target = None
            found.settled = False
            self._changes.talked(key)

    def served(self, key: str, target: Target, now: float, *, binds: bool, difficulty: int) -> None:
        """Bind a conversation to the target that answered.

        A first turn does not take over the binding of a conversation under way that began with the same words
        (cron jobs do), so that one never bounces.
        """
        found = self._by_key.get(key)
        if found is None:
            found = self._make(key, None)
        else:
            self._by_key.move_to_end(key)
        if not binds and found.settled and found.target is not None and now - found.used_at < IDLE_S:
            return
        found.target = target
        found.used_at = now
        found.settled = binds
        found.floor = max(found.floor, difficulty) if binds else difficulty
        self._changes.talked(key)

    def latest(self, most: int) -> list[tuple[str, Binding]]:
        """The `most` conversations used last, the oldest of them first."""
        found = list(islice(reversed(self._by_key.items()), most))
        found.reverse()
        return found

    def restore(self, key: str, binding: Binding) -> None:
        """Take over a binding; the last one restored counts as used last."""
        self._by_key.pop(key, None)
        self._by_key[key] = binding
        self._bound()

    def forget(self, credential: CredentialId) -> None:
        """A credential was removed: its conversations keep their difficulty, and go where they like."""
        for key, binding in self._by_key.items():
            if binding.target is not None and binding.target.credential == credential:
                binding.target = None
                binding.settled = False
                self._changes.talked(key)

    def all(self) -> Iterable[str]:
        """The keys of all conversations, the one used last at the end."""
        return self._by_key

    def _make(self, key: str, pin: Pin | None) -> Binding:
        made = self._by_key[key] = Binding(pin)
        self._changes.talked(key)
        self._bound()
        return made

    def _bound(self) -> None:
        if len(self._by_key) > self._most:
            self._changes.talked(self._by_key.popitem(last=False)[0])


class Rotor:
    """When a provider last had its turn, as a count of turns: rotation asks whoever waited longest."""

    __slots__ = ("provider", "stamp")

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.stamp = 0

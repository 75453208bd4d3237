"""The links between nodes: who hears whom, how late, how often. Floor 8."""

from dataclasses import dataclass, field
from random import Random


@dataclass
class Links:
    """Every directed pair has the same delay, loss and duplication, but for what is cut or slow.

    Each message draws its own delay, so messages overtake each other.
    """

    random: Random
    delay_ms: tuple[int, int] = (1, 8)
    loss: float = 0.0
    duplication: float = 0.0
    cut: set[tuple[int, int]] = field(default_factory=set)
    """(from, to) pairs that carry nothing: one way may be cut and the other not."""
    slow_ms: dict[int, int] = field(default_factory=dict)
    """What all messages from a node take longer."""

    def arrivals(self, sender: int, receiver: int) -> list[int]:
        """After how many milliseconds a message arrives; none when it is lost, two when it is doubled."""
        if (sender, receiver) in self.cut:
            return []
        if self.loss and self.random.random() < self.loss:
            return []
        copies = 2 if self.duplication and self.random.random() < self.duplication else 1
        slow = self.slow_ms.get(sender, 0)
        return [slow + self.random.randint(*self.delay_ms) for _ in range(copies)]

    def split(self, group: set[int], nodes: int, *, one_way: bool) -> None:
        """Cut a group off from the rest; `one_way`: the rest still hears it, and it hears nobody."""
        for inside in group:
            for outside in set(range(nodes)) - group:
                self.cut.add((outside, inside))
                if not one_way:
                    self.cut.add((inside, outside))

    def heal(self) -> None:
        """All links work again."""
        self.cut.clear()

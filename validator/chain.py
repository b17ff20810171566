"""The validator's own copy of L2: the finalized link, and in memory the links after it that are on L1 but not final. Pure.

A link not yet final may go again, when L1 forks or rejects it; then the chain is cut back and followed anew. Links follow each other by
parent hash: the epoch numbers of rejected checkpoints are missing between them.
"""

from dataclasses import dataclass

from settlement.ledger import Parent, State
from settlement.messages import CheckpointMessage
from settlement.signing import Domain


@dataclass(frozen=True)
class Link:
    """A checkpoint and the state it led to; before epoch 1 no checkpoint and the empty state."""

    message: CheckpointMessage | None
    state: State

    @classmethod
    def genesis(cls) -> "Link":
        return cls(None, State.empty())

    @property
    def epoch(self) -> int:
        return 0 if self.message is None else self.message.epoch

    def parent(self, domain: Domain) -> Parent:
        """What the next epoch extends."""
        return Parent.genesis(domain) if self.message is None else Parent.of(self.message, domain, self.state)


class Chain:
    """From a finalized link on. `candidates` are states of proposals that this validator attested, by checkpoint hash: if one of them is
    posted, it need not be computed again."""

    def __init__(self, finalized: Link, domain: Domain) -> None:
        self.finalized = finalized
        self.candidates: dict[bytes, Link] = {}
        self._domain = domain
        self._recent: list[Link] = []

    @property
    def head(self) -> Link:
        return self._recent[-1] if self._recent else self.finalized

    def hash_of(self, epoch: int) -> bytes | None:
        """The checkpoint hash of an epoch after the finalized one, or of that; None when it is not here."""
        for link in (self.finalized, *self._recent):
            if link.epoch == epoch:
                return link.parent(self._domain).hash
        return None

    def append(self, link: Link) -> None:
        """ValueError unless it extends the head."""
        head = self.head
        extends = link.message is not None and link.message.parent_hash == head.parent(self._domain).hash
        if not extends or link.epoch <= head.epoch:
            raise ValueError(f"a link of epoch {link.epoch} does not extend epoch {head.epoch}")
        self._recent.append(link)
        self.candidates = {name: one for name, one in self.candidates.items() if one.epoch > link.epoch}

    def cut_back_to(self, epoch: int) -> None:
        """Forgets all links after `epoch`. ValueError when that would undo what is final."""
        if epoch < self.finalized.epoch:
            raise ValueError(f"epoch {self.finalized.epoch} is final, nothing goes back to {epoch}")
        self._recent = [link for link in self._recent if link.epoch <= epoch]

    def finalize(self, epoch: int) -> Link:
        """Makes `epoch` the finalized link and returns it. ValueError when it is not here."""
        if self.hash_of(epoch) is None:
            raise ValueError(f"epoch {epoch} is not here to finalize")
        while self.finalized.epoch < epoch:
            self.finalized = self._recent.pop(0)
        return self.finalized

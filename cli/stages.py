"""The way of a task as people see it, from the queue to the pay on L1, made of what sequencer and L1 say. Pure.

The sequencer's `paid` is "accepted" here: the ledger has promised the fee, but L1 knows of it only with the epoch's checkpoint, and the worker
has the lamports only once it has claimed them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

from rich.text import Text

from settlement.validator_set import bytes_to_bitmap


class Stage(IntEnum):
    QUEUED = 0
    LEASED = 1
    COMMITTED = 2
    VERIFYING = 3
    ACCEPTED = 4
    POSTED = 5
    FINALIZED = 6
    PAID = 7

    @property
    def title(self) -> str:
        return self.name.lower()


_OF_STATUS = {
    "pending": Stage.QUEUED,
    "leased": Stage.LEASED,
    "committed": Stage.COMMITTED,
    "revealed": Stage.VERIFYING,
    "paid": Stage.ACCEPTED,
}
_OF_CHECKPOINT = {"posted": Stage.POSTED, "finalized": Stage.FINALIZED}
_VOTES = {"accept": Text("✓", "green"), "reject": Text("✗", "bold red"), "abstain": Text("–", "yellow")}


def stage_of(task: Mapping[str, Any], checkpoint: Mapping[str, Any] | None, claimed: bool = False) -> Stage | None:
    """Where a task object stands, with the checkpoint of its epoch once there is one; None when it was refunded."""
    stage = _OF_STATUS.get(task["status"])
    if stage is not Stage.ACCEPTED or checkpoint is None:
        return stage
    reached = _OF_CHECKPOINT.get(checkpoint["status"], stage)
    return Stage.PAID if claimed and reached is Stage.FINALIZED else reached


def line(stage: Stage | None) -> Text:
    """All stages in one line of 78 columns, the one that it stands at marked."""
    if stage is None:
        return Text("refunded: the deadline passed, the fee is the client's again", "yellow")
    text = Text()
    for one in Stage:
        style = "green" if one < stage else "bold reverse" if one == stage else "dim"
        text.append(one.title, style)
        if one is not Stage.PAID:
            text.append(" › ", "green" if one < stage else "dim")
    return text


def dots(stage: Stage | None) -> Text:
    """The same in a table's cell of 18 columns."""
    if stage is None:
        return Text("refunded", "yellow")
    style = "green" if stage >= Stage.FINALIZED else "cyan"
    return Text.assemble(("●" * (stage + 1), style), ("○" * (Stage.PAID - stage), "dim"), " ", (stage.title, style))


def votes(result: Mapping[str, Any] | None, validators: Sequence[str]) -> Text:
    """One sign for each validator of the set, in its order: ✓ accepts, ✗ rejects, – abstains, · has not spoken."""
    given = {} if result is None else {one["validator"]: one["verdict"] for one in result["verdicts"]}
    return Text().join(_VOTES.get(given.get(name, ""), Text("·", "dim")) for name in validators)


def signatures(checkpoint: Mapping[str, Any]) -> Text:
    """Likewise for a checkpoint: ✓ for each validator whose signature is in it."""
    bitmap = bytes_to_bitmap(bytes.fromhex(checkpoint["bitmap"]))
    size = min(int(checkpoint["setSize"]), 16)
    signs = [Text("✓", "green") if bitmap >> index & 1 else Text("·", "dim") for index in range(size)]
    return Text().join([*signs, Text(f" {checkpoint['signers']}/{checkpoint['setSize']}")])

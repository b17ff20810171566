"""How a posted checkpoint is rejected in tests over the fake L1: a demand that nobody answers."""

from __future__ import annotations

from settlement import dispute_instructions
from settlement.accounts import LOCALNET_PROFILE, Checkpoint
from settlement.dispute_accounts import DemandKind
from tests.fake_l1 import PAYER, PROGRAM, World

Place = tuple[int, int]


def _checkpoint(world: World, epoch: int) -> Checkpoint:
    found = world.checkpoint(epoch, "processed")
    assert found is not None, f"L1 has no epoch {epoch}"
    return found


def demand(world: World, epoch: int) -> Place:
    """Demands the first chunk."""
    kind = int(DemandKind.CHUNK)
    world.do(dispute_instructions.open_demand(PROGRAM, PAYER.pubkey(), epoch, kind, 0))
    return kind, 0


def time_out(world: World, epoch: int, place: Place, *, waits: bool = True) -> None:
    """Nobody answered in time: the checkpoint falls in the next block."""
    if waits:
        world.advance(LOCALNET_PROFILE.answer_slots + 1)
    timing_out = dispute_instructions.timeout_demand(
        PROGRAM, PAYER.pubkey(), _checkpoint(world, epoch), place, PAYER.pubkey()
    )
    world.do(timing_out)


def reject(world: World, epoch: int) -> None:
    time_out(world, epoch, demand(world, epoch))

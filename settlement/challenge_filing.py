"""Files what settlement/challenging.py has found: one proof, or demands that are followed until they are answered or their time is over.

Every function looks at L1 first and does what is missing, so each can be run again after a crash at any point. Anybody may do all of it;
that somebody was faster is answered by looking again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from solders.instruction import Instruction
from solders.keypair import Keypair

from settlement import buffers, dispute_accounts, instructions, pda
from settlement import dispute_instructions as build
from settlement.accounts import Checkpoint, CheckpointStatus, Config, InboxEntryAccount
from settlement.buffers import Payer
from settlement.challenging import Demands, Proof
from settlement.client import L1Client
from settlement.dispute_accounts import Demand, DemandKind
from settlement.errors import AccountMissing, ProgramError
from settlement.messages import CheckpointMessage

PROOF_COMPUTE_UNITS = 1_400_000
SOMEBODY_WAS_FASTER = frozenset({"NotPosted", "CheckpointVoid", "DemandExists", "AccountNotInitialized"})
Place = tuple[DemandKind, int]


@dataclass(frozen=True)
class Filed:
    """What L1 says afterwards. `signature` is None when somebody else had done it already."""

    status: CheckpointStatus
    signature: str | None


async def file(client: L1Client, payer: Keypair, checkpoint: Checkpoint, proof: Proof) -> Filed:
    """Sends the proof, its evidence first. ProgramError when L1 finds that it shows nothing."""
    program, challenger = client.program_id, payer.pubkey()
    by = Payer(client, payer)
    before: list[Instruction] = []
    after: list[Instruction] = []
    address = None
    if proof.evidence is not None:
        buffer_id = int.from_bytes(hashlib.sha256(proof.evidence).digest()[:8], "little")
        address = pda.proof_buffer(program, challenger, buffer_id)
        after = [instructions.close_proof_buffer(program, challenger, buffer_id)]
    made = [proof.build(program, challenger, checkpoint, address), *after]
    if proof.evidence is not None:
        before = await buffers.fill(by, buffer_id, proof.evidence, made, PROOF_COMPUTE_UNITS)
    signature = None
    try:
        confirmed = await client.send_and_confirm([*before, *made], payer, compute_unit_limit=PROOF_COMPUTE_UNITS)
        signature = confirmed.signature
    except ProgramError as error:
        if proof.evidence is not None:
            await buffers.close(by, buffer_id)
        if error.name not in SOMEBODY_WAS_FASTER:
            raise
    return Filed(await status_of(client, checkpoint.epoch), signature)


async def status_of(client: L1Client, epoch: int) -> CheckpointStatus:
    return (await fetch_checkpoint(client, epoch)).status


async def fetch_checkpoint(client: L1Client, epoch: int) -> Checkpoint:
    """AccountMissing when L1 has none."""
    found = await client.fetch_checkpoint(epoch)
    if found is None:
        raise AccountMissing(str(pda.checkpoint(client.program_id, epoch)), f"checkpoint of epoch {epoch}")
    return found


def message_of(checkpoint: Checkpoint, set_hash: bytes) -> CheckpointMessage:
    """What was signed for a posted checkpoint; `set_hash` is that of its set_version."""
    fields = {name: getattr(checkpoint, name) for name in CheckpointMessage.__dataclass_fields__ if name != "set_hash"}
    return CheckpointMessage(**fields, set_hash=set_hash)


async def entries_of(client: L1Client, checkpoint: Checkpoint) -> tuple[InboxEntryAccount, ...]:
    """The inbox entries that it must have taken."""
    parent = await client.fetch_checkpoint(checkpoint.parent_epoch) if checkpoint.parent_epoch else None
    first = parent.inbox_cursor if parent else 0
    return await client.fetch_inbox_entries(first, checkpoint.inbox_cursor)


# -- demands ---------------------------------------------------------------------------------------------------------------------------


async def fetch_demand(client: L1Client, epoch: int, place: Place) -> Demand | None:
    """None when it was never opened, or was answered, timed out or returned."""
    address = pda.demand(client.program_id, epoch, *place)
    held = await client.get_account(address)
    if held is None or held.owner != client.program_id:
        return None
    return dispute_accounts.decode_demand(address, bytes(held.data))


async def demand(client: L1Client, payer: Keypair, checkpoint: Checkpoint, demands: Demands, most: int) -> list[Place]:
    """Opens the first `most` of them, one transaction each; returns those that are open now, whoever opened them.

    ProgramError ChallengeWindowOver when it is too late for any."""
    opened: list[Place] = []
    for index in demands.indexes[:most]:
        place = (demands.kind, index)
        if await fetch_demand(client, checkpoint.epoch, place) is None:
            sent = build.open_demand(client.program_id, payer.pubkey(), checkpoint.epoch, demands.kind, index)
            try:
                await client.send_and_confirm([sent], payer)
            except ProgramError as error:
                if error.name not in SOMEBODY_WAS_FASTER:
                    raise
                continue
        opened.append(place)
    return opened


async def follow(client: L1Client, payer: Keypair, epoch: int, places: Iterable[Place]) -> list[Place]:
    """Looks once at demands: has the checkpoint rejected for the first whose time is over, gets bonds back when it fell, and returns those
    that wait still. A place that has no demand any more was answered."""
    waiting = []
    for place in places:
        held = await fetch_demand(client, epoch, place)
        if held is None:
            continue
        checkpoint, config = await fetch_checkpoint(client, epoch), await client.fetch_config()
        if not is_live(config, checkpoint):
            sent = build.return_demand(client.program_id, payer.pubkey(), epoch, place, held.demander)
        elif await client.get_slot() > held.answer_until_slot:
            sent = build.timeout_demand(client.program_id, payer.pubkey(), checkpoint, place, held.demander)
        else:
            waiting.append(place)
            continue
        try:
            await client.send_and_confirm([sent], payer)
        except ProgramError as error:
            if error.name not in SOMEBODY_WAS_FASTER | {"AnswerOpen"}:
                raise
            waiting.append(place)
    return waiting


def is_live(config: Config, checkpoint: Checkpoint) -> bool:
    """Whether it can still be rejected: posted, in no void range, and the hatch is closed."""
    return checkpoint.status is CheckpointStatus.POSTED and not config.is_dead(checkpoint.epoch) and not config.escaped

"""The state that a posted checkpoint starts from, computed from the batches before it: nothing is believed but L1's accounts and hashes.

A checkpoint's ancestors are found by its parent hash, on L1 or, where their accounts are closed already, among what the sequencer keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from settlement import pda
from settlement.accounts import Checkpoint
from settlement.client import L1Client
from settlement.ledger import BatchError, Context, Parent, check_batch
from settlement.messages import CheckpointMessage, genesis_parent
from settlement.sequencer_client import RpcError, SequencerClient
from settlement.signing import Domain
from settlement.validator_set import ValidatorSet


class CannotReplay(Exception):
    """The state before the checkpoint cannot be computed; the message says what is missing, or which batch is false before it."""


@dataclass(frozen=True)
class Base:
    """A link to start from: `parent` is what the epoch after `epoch` extends."""

    epoch: int
    parent: Parent

    @classmethod
    def genesis(cls, domain: Domain) -> Base:
        return cls(0, Parent.genesis(domain))


@dataclass(frozen=True)
class _Step:
    message: CheckpointMessage
    set_version: int
    name: str


async def parent_of(client: L1Client, sequencer: SequencerClient, checkpoint: Checkpoint, base: Base) -> Parent:
    """What `checkpoint` extends. CannotReplay when `base` is not among its ancestors, or a batch between them is not to be had or false."""
    domain = await client.domain()
    parent = base.parent
    for step in await _steps(sequencer, domain, checkpoint, base):
        epoch, validators = step.message.epoch, await sealed_set(client, domain, step.set_version)
        context = context_of(client, domain, parent, epoch, validators)
        try:
            data = await sequencer.get_blob(step.name)
            roots = await trio.to_thread.run_sync(check_batch, parent, step.message, data, context)
        except RpcError as error:
            raise CannotReplay(f"the batch of epoch {epoch} is not to be had: {error}") from error
        except (BatchError, ValueError) as error:
            raise CannotReplay(
                f"epoch {epoch} is false already, look at that one (`pouw challenge prove {epoch}`): {error}"
            ) from error
        parent = Parent.of(step.message, domain, roots.state)
    return parent


def context_of(client: L1Client, domain: Domain, parent: Parent, epoch: int, validators: ValidatorSet) -> Context:
    return Context(domain, epoch, parent.cut_slot, validators, bytes(pda.treasury(client.program_id)))


async def sealed_set(client: L1Client, domain: Domain, version: int) -> ValidatorSet:
    """CannotReplay when L1 has closed it."""
    held = await client.fetch_validator_set(version)
    if held is None or not held.sealed:
        raise CannotReplay(f"validator set {version} is not on L1 any more: start from a validator's data directory")
    return held.validator_set


async def _steps(sequencer: SequencerClient, domain: Domain, checkpoint: Checkpoint, base: Base) -> Sequence[_Step]:
    """The ancestors after `base`, oldest first."""
    found: list[_Step] = []
    wanted, epoch = checkpoint.parent_hash, checkpoint.parent_epoch
    while wanted != base.parent.hash:
        if epoch <= base.epoch or wanted == genesis_parent(domain):
            raise CannotReplay(
                f"epoch {base.epoch}, from which to start, is not one that epoch {checkpoint.epoch} builds on"
            )
        step = await _step(sequencer, epoch)
        if step is not None and step.message.hash(domain) == wanted:
            found.append(step)
            wanted = step.message.parent_hash
        epoch -= 1  # numbers of rejected epochs are missing, whatever the sequencer keeps under them
    return found[::-1]


async def _step(sequencer: SequencerClient, epoch: int) -> _Step | None:
    try:
        said = await sequencer.call("getCheckpoint", {"epoch": epoch})
        return _Step(CheckpointMessage.from_json(said), int(said["setVersion"]), str(said["dataSha256"]))
    except RpcError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise CannotReplay(f"the sequencer's checkpoint of epoch {epoch} is none: {error}") from error

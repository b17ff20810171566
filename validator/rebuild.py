"""The state that L1 made final, without a sequencer: a validator's store, and where it lags behind L1 batches that somebody kept.

Nothing is believed: what a batch must lead to is the Checkpoint account on L1, and the rules are applied in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import trio

from settlement import merkle, pda
from settlement.accounts import Checkpoint
from settlement.challenge_filing import message_of
from settlement.client import ACCOUNTS_PER_CALL, L1Client
from settlement.ledger import MAX_RECORDS, BatchError, Context, State, batch, check_batch
from settlement.records import RECORD_BYTES
from settlement.signing import AUTHORISATION_BYTES, Domain
from validator.batches import Kept
from validator.chain import Link
from validator.store import Store, StoreError

MAX_FILE_BYTES = 2 * MAX_RECORDS * (RECORD_BYTES + AUTHORISATION_BYTES)
"""A batch's, with the trace that a validator keeps beside it."""


class NotRebuilt(Exception):
    """The final state cannot be had from what was given; the message says what is missing."""


def store_folder(folder: Path) -> Path:
    """Where the state is in a validator's data folder, or the folder itself when it is the state's."""
    inner = folder / "state"
    return inner if (inner / "CURRENT").is_file() else folder


async def final_state(l1: L1Client, folder: Path, batches: Path | None = None) -> State:
    """The state under the root that L1's Config calls final, from the validator's data in `folder`, the batches that it kept, and those (files
    of their bytes, under any name) in or below `batches`. StoreError, or NotRebuilt."""
    domain = await l1.domain()
    link = await trio.to_thread.run_sync(Store.read, store_folder(folder), domain)
    final = (await l1.check_cluster()).finalized
    if link.state.root == final.state_root:
        return link.state
    if link.epoch >= final.epoch:
        raise StoreError(
            f"{folder} holds epoch {link.epoch}, which is not what L1 holds as final, epoch {final.epoch}: another chain's, "
            "or --url leads to a node that lags"
        )
    missing = await _missing(l1, link.epoch, final.epoch)
    folders = [store_folder(folder).parent / "batches", *([] if batches is None else [batches])]
    found = await trio.to_thread.run_sync(_find, folders, {one.data_root for one in missing})
    for account in missing:
        data = found.get(account.data_root)
        if data is None:
            epochs = ", ".join(str(one.epoch) for one in missing if one.data_root not in found)
            raise NotRebuilt(
                f"{folder} holds epoch {link.epoch}, L1's last final one is {final.epoch}: name another validator's folder, or with --batches "
                f"one that has the batches of epochs {epochs}, as a sequencer's blobs"
            )
        link = await _apply(l1, domain, link, account, data)
    return link.state


async def _missing(l1: L1Client, start: int, end: int) -> list[Checkpoint]:
    """The checkpoints that lead from epoch `start` to `end`, oldest first: without those that were rejected."""
    held: dict[int, Checkpoint] = {}
    path: list[Checkpoint] = []
    epoch = end
    while epoch > start:
        if epoch not in held:
            window = range(max(start + 1, epoch - ACCOUNTS_PER_CALL + 1), epoch + 1)
            held |= {one.epoch: one for one in await l1.fetch_checkpoints(window) if one is not None}
        if epoch not in held:
            raise NotRebuilt(f"the checkpoint of epoch {epoch} was closed on L1: a state as new as that is needed")
        path.append(held[epoch])
        epoch = held[epoch].parent_epoch
    return path[::-1]


def _find(folders: Sequence[Path], roots: set[bytes]) -> dict[bytes, bytes]:
    """The bytes under these data roots among the files in and below folders: plain ones, or as a validator keeps them."""
    found: dict[bytes, bytes] = {}
    for path in (path for folder in folders for path in sorted(folder.rglob("*"))):
        if len(found) == len(roots):
            break
        if not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
            continue
        data = _batch_in(path.read_bytes())
        root = merkle.root("data-root", batch.chunks(data))
        if root in roots:
            found[root] = data
    return found


def _batch_in(raw: bytes) -> bytes:
    try:
        return Kept.decode(raw).data
    except ValueError:
        return raw


async def _apply(l1: L1Client, domain: Domain, link: Link, account: Checkpoint, data: bytes) -> Link:
    sealed = await l1.fetch_validator_set(account.set_version)
    if sealed is None or not sealed.sealed:
        raise NotRebuilt(
            f"validator set {account.set_version} was closed on L1: a state of epoch {account.epoch} is needed"
        )
    validators, parent = sealed.validator_set, link.parent(domain)
    context = Context(domain, account.epoch, parent.cut_slot, validators, bytes(pda.treasury(l1.program_id)))
    message = message_of(account, validators.hash(domain))
    try:
        roots = await trio.to_thread.run_sync(check_batch, parent, message, data, context)
    except (BatchError, ValueError) as error:
        raise NotRebuilt(f"the batch of epoch {account.epoch} does not lead to what L1 holds: {error}") from error
    return Link(message, roots.state)

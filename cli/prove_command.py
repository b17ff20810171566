"""`pouw challenge prove`: replays a posted checkpoint's batch, says what is wrong with it, and shows L1."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import SigningOnBoth, expanded
from cli.output import emit
from cli.runtime import CommandError, run
from cli.settings import JsonOption

if TYPE_CHECKING:
    from solders.keypair import Keypair

    from settlement.accounts import Checkpoint
    from settlement.challenging import Finding
    from settlement.client import L1Client
    from settlement.replaying import Base
    from settlement.sequencer_client import SequencerClient
    from settlement.signing import Domain

Found = dict[str, Any]


def register(challenge_app: typer.Typer) -> None:
    challenge_app.command("prove")(expanded(prove))


def prove(
    epoch: Annotated[int, typer.Argument(help="The posted checkpoint's epoch.", min=1)],
    *,
    batch: Annotated[
        Path | None,
        typer.Option(help="A file with the bytes under its data root, if the sequencer does not give them."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="A validator's data directory to start from; it must not run. Otherwise from genesis."),
    ] = None,
    demands: Annotated[
        int, typer.Option(help="How many demands to open at most, where only demands help.", min=0, max=64)
    ] = 4,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is wrong, and send nothing.")] = False,
    at: SigningOnBoth,
    as_json: JsonOption = False,
) -> None:
    """Replay a posted checkpoint, and have it rejected if it is false. --keypair pays, and gets half of the poster's bond."""
    given = None if batch is None else _bytes(batch)
    payer = None if dry_run else at.signer()

    async def command() -> Found:
        async with at.l1() as client, at.l2() as sequencer:
            return await _prove(client, sequencer, epoch, given, data_dir, payer, demands)

    emit(run(command), as_json)


async def _prove(
    client: L1Client,
    sequencer: SequencerClient,
    epoch: int,
    given: bytes | None,
    data_dir: Path | None,
    payer: Keypair | None,
    most: int,
) -> Found:
    from settlement import batch_source, challenge_filing
    from settlement.challenging import Demands, find

    config = await client.check_cluster()
    checkpoint = await client.fetch_checkpoint(epoch)
    if checkpoint is None:
        raise CommandError(f"L1 has no checkpoint {epoch}")
    held = await _held(client, sequencer, checkpoint, given, data_dir)
    finding = find(held)
    if isinstance(finding, Demands):
        trace = await batch_source.fetch_trace(sequencer, checkpoint)
        finding = finding if trace is None else find(replace(held, trace=trace))
    told: Found = {
        "epoch": epoch,
        "finding": "honest" if finding is None else finding.name,
        "reason": "it is what its batch leads to" if finding is None else finding.reason,
        "status": checkpoint.status.name.lower(),
    }
    if finding is None or payer is None:
        return told
    if not challenge_filing.is_live(config, checkpoint):
        raise CommandError(
            f"epoch {epoch} is {told['status']} or void: it cannot be rejected any more ({told['reason']})"
        )
    return told | await _file(client, payer, checkpoint, finding, most)


async def _held(
    client: L1Client, sequencer: SequencerClient, checkpoint: Checkpoint, given: bytes | None, data_dir: Path | None
) -> Any:
    from settlement import batch_source, challenge_filing, replaying, shown_answers
    from settlement.challenge_case import Held

    domain = await client.domain()
    base = replaying.Base.genesis(domain) if data_dir is None else _base(data_dir, domain)
    try:
        parent = await replaying.parent_of(client, sequencer, checkpoint, base)
        validators = await replaying.sealed_set(client, domain, checkpoint.set_version)
    except replaying.CannotReplay as error:
        raise CommandError(str(error)) from None
    shown = await shown_answers.all_shown(client, checkpoint)
    data = given if given is not None else await batch_source.fetch_batch(sequencer, checkpoint)
    return Held(
        checkpoint,
        parent,
        replaying.context_of(client, domain, parent, checkpoint.epoch, validators),
        await challenge_filing.entries_of(client, checkpoint),
        data=data,
        records=shown.records,
        trace=shown.trace,
        chunks=shown.chunks,
    )


async def _file(client: L1Client, payer: Keypair, checkpoint: Checkpoint, finding: Finding, most: int) -> Found:
    from settlement import challenge_filing, slashing
    from settlement.accounts import CheckpointStatus
    from settlement.challenging import Demands, Proof

    if isinstance(finding, Demands):
        places = await challenge_filing.demand(client, payer, checkpoint, finding, most)
        status = await challenge_filing.status_of(client, checkpoint.epoch)
        opened = [f"{kind.name.lower()} {index}" for kind, index in places]
        return {"status": status.name.lower(), "demands": opened, "slashed_indexes": []}
    if not isinstance(finding, Proof):
        raise CommandError(f"this rests on the quorum, nothing on L1 shows it: {finding.reason}")
    filed = await challenge_filing.file(client, payer, checkpoint, finding)
    indexes: list[int] = []
    if filed.status is CheckpointStatus.REJECTED:
        indexes = await slashing.slash_rejected(client, payer, checkpoint.epoch)
    return {
        "status": filed.status.name.lower(),
        "signature": filed.signature,
        "demands": [],
        "slashed_indexes": indexes,
    }


def _base(data_dir: Path, domain: Domain) -> Base:
    """What a validator has on its disk as final."""
    from settlement.replaying import Base
    from validator.store import Store, StoreError

    if not (data_dir / "state").is_dir():
        raise CommandError(f"there is no state in {data_dir}: name the data directory of a validator")
    try:
        store = Store(data_dir / "state", domain)
        try:
            link = store.load()
        finally:
            store.close()
    except StoreError as error:
        raise CommandError(str(error)) from None
    return Base(link.epoch, link.parent(domain))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from None

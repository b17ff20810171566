"""What `pouw program` shows before and while it works: the cost, a question, a progress bar; and the comparison of bytes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cli.output import lamports, note
from cli.runtime import CommandError

if TYPE_CHECKING:
    from solders.pubkey import Pubkey

    from settlement.client import L1Client
    from settlement.loader_artifact import Artifact
    from settlement.loader_deploy import Plan
    from settlement.loader_program import Keys

_VERBS = {"deploy": "deploys", "upgrade": "upgrades", "buffer": "writes a buffer for"}


@dataclass(frozen=True)
class Upkeep:
    """What is about to be done, and lines about it in order."""

    name: str
    rows: Mapping[str, str]


def plan_rows(client: L1Client, plan: Plan, keys: Keys) -> Upkeep:
    cost, size = plan.cost, len(plan.artifact.elf)
    rows = {
        "what": f"{_VERBS[plan.kind]} {client.program_id} on {client.url}",
        "program": f"{plan.artifact.name}, {size:,} bytes, hash {plan.artifact.hash.hex()}",
        "authority": str(keys.authority.pubkey()),
        "buffer": f"{plan.writing.buffer}, {plan.chunks:,} of {plan.all_chunks:,} chunks written",
        "rent": f"{lamports(cost.rent_lamports)} stay in its accounts",
        "fees": f"{lamports(cost.fee_lamports)} for {plan.all_chunks - plan.chunks:,} writes and a few more transactions",
        "needed": f"{lamports(cost.needed_lamports)} at one moment, {lamports(cost.returned_lamports)} of them come back",
        "payer": f"{keys.payer.pubkey()} has {lamports(cost.balance_lamports)}",
    }
    if plan.extension_bytes:
        rows["room"] = f"{plan.extension_bytes:,} bytes are added to the program's account"
    if plan.max_bytes > size:
        rows["room"] = f"{plan.max_bytes:,} bytes, for later upgrades"
    if plan.successor is not None:
        rows["in the end"] = f"{plan.successor} is the authority"
    rows["stopped?"] = (
        f"run it again to go on; `pouw program close-buffer {plan.writing.buffer}` gives it up and returns its rent"
    )
    return Upkeep(plan.kind, rows)


def confirmed_by_person(work: Upkeep, yes: bool, as_json: bool) -> None:
    """Shows what it will be, on stderr; returns if it may be done. CommandError when nobody can be asked, Abort when they decline."""
    import typer

    width = max(map(len, work.rows))
    for name, text in work.rows.items():
        note(f"{name:<{width}}  {text}")
    if yes:
        return
    if as_json or not sys.stdin.isatty():
        raise CommandError("nothing was done: pass --yes to go ahead without being asked")
    print("Go ahead? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        note("nothing was done")
        raise typer.Abort


@contextmanager
def progress_bar(as_json: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr for people, nothing for programs."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if as_json or not console.is_terminal:
        yield lambda done, total: None
        return
    columns = TextColumn("writing"), BarColumn(), MofNCompleteColumn(), TextColumn("chunks"), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("writing", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


async def check_same(
    client: L1Client, artifact: Artifact, buffer: Pubkey | None, judge_authority: bool, expected: Pubkey | None
) -> dict[str, Any]:
    """What is on L1, if it has the artifact's bytes, and, if it is to be judged, the expected authority. CommandError else."""
    from settlement import loader
    from settlement.loader_program import fetch_program

    where: dict[str, Any]
    if buffer is not None:
        account = await client.get_account(buffer)
        if account is None or account.owner != loader.LOADER:
            raise CommandError(f"there is no buffer {buffer} on {client.url}")
        held = loader.decode_buffer(buffer, account.data)
        code, authority, where = held.data, held.authority, {"buffer": str(buffer)}
    else:
        program = await fetch_program(client)
        if program is None:
            raise CommandError(f"there is no program {client.program_id} on {client.url}")
        code, authority = program.code, program.authority
        where = {"program_id": str(program.program_id), "slot": program.slot}
    found = loader.program_hash(code)
    at = buffer or client.program_id
    if found != artifact.hash:
        raise CommandError(
            f"{at} on {client.url} is another program: hash {found.hex()}, {artifact.name} has {artifact.hash.hex()} "
            "(a file must be built for the program's id: `./run just program-build --id ID -o FILE`)"
        )
    if judge_authority and authority != expected:
        raise CommandError(
            f"the bytes are right, but {authority or 'nobody'} may change them, not {expected or 'nobody'}"
        )
    return {
        **where,
        "verified": True,
        "hash": found.hex(),
        "file": artifact.name,
        "upgrade_authority": None if authority is None else str(authority),
    }

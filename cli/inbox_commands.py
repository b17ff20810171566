"""`pouw inbox`: tasks and withdrawals that the sequencer cannot refuse, sent to L1 itself, and what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import OnL1, SigningOnBoth, SigningOnL1, expanded
from cli.output import emit, emit_rows, warn
from cli.runtime import CommandError, run
from cli.settings import JsonOption
from cli.task_commands import DatasetOption, DeadlineOption, SpecArgument, checked_task_id, deadline_of

if TYPE_CHECKING:
    from solders.keypair import Keypair

    from settlement.client import L1Client
    from settlement.forcing import Forced, Listed
    from settlement.signing import Domain

inbox_app = typer.Typer(
    help="What the sequencer cannot refuse: tasks and withdrawals through L1's inbox.", no_args_is_help=True
)
MaxFeeOption = Annotated[
    int | None,
    typer.Option(
        "--max-entry-fee", help="The most that the entry may cost beside what it brings; else what it costs now.", min=0
    ),
]
_COLUMNS = ("inbox_index", "kind", "status", "epoch", "lamports", "beneficiary", "slot", "overdue_slot")


def register(app: typer.Typer) -> None:
    app.add_typer(inbox_app, name="inbox", rich_help_panel="Move money")


@inbox_app.command("task")
@expanded
def force_task(
    spec: SpecArgument,
    dataset: DatasetOption,
    fee: Annotated[int, typer.Option("--fee", help="Lamports for the worker, paid on L1 now.", min=1)],
    deadline: DeadlineOption = "+1500",
    max_entry_fee: MaxFeeOption = None,
    wait: Annotated[
        float,
        typer.Option("--wait", help="Seconds in which the sequencer should take the spec and the dataset.", min=0),
    ] = 60,
    *,
    at: SigningOnBoth,
    as_json: JsonOption = False,
) -> None:
    """Submit a task through L1: no epoch can be posted without it for long. Then tell the sequencer what it is."""
    from cli.inbox_calls import describe, prepared
    from settlement.forcing import force_task as force

    until, described = deadline_of(deadline), prepared(spec, dataset)

    async def forced(client: L1Client, owner: Keypair) -> dict[str, Any]:
        done = await force(
            client,
            owner,
            spec_hash=described.spec_hash,
            fee_lamports=fee,
            deadline_slot=until(await client.get_slot()),
            max_forced_fee_lamports=max_entry_fee,
        )
        trouble = await describe(at, described, wait)
        if trouble is not None:
            warn(
                f"the task is in the inbox, but the sequencer has not taken what it is: {trouble}; until "
                f"`pouw inbox describe {spec} --dataset {dataset}` succeeds nobody can work on it. After the deadline "
                f"`pouw inbox withdraw all --task {(done.task_id or b'').hex()}` gets the fee back"
            )
        return {**_shown(done), "described": trouble is None}

    emit(at.act(forced), as_json)


@inbox_app.command("describe")
@expanded
def describe_task(
    spec: SpecArgument,
    dataset: DatasetOption,
    wait: Annotated[float, typer.Option("--wait", help="Seconds to keep trying.", min=0)] = 60,
    *,
    at: SigningOnBoth,
    as_json: JsonOption = False,
) -> None:
    """Tell the sequencer what a task in the inbox is: upload spec and dataset. Anybody with an L2 account may; can be run again."""
    from cli.inbox_calls import describe, prepared

    described = prepared(spec, dataset)

    async def command() -> dict[str, Any]:
        trouble = await describe(at, described, wait)
        if trouble is not None:
            raise CommandError(f"the sequencer has not taken it: {trouble}")
        return {"spec_hash": described.spec_hash.hex(), "dataset_sha256": described.dataset_sha256}

    emit(run(command), as_json)


@inbox_app.command("withdraw")
@expanded
def force_withdrawal(
    lamports: Annotated[
        str, typer.Argument(metavar="LAMPORTS|all", help="How much of your L2 balance; `all` takes what there is.")
    ],
    task: Annotated[
        str | None,
        typer.Option("--task", help="A task of yours whose deadline has passed: its fee is given back first."),
    ] = None,
    max_entry_fee: MaxFeeOption = None,
    *,
    at: SigningOnL1,
    as_json: JsonOption = False,
) -> None:
    """Withdraw from L2 through L1: no epoch can be posted without it for long. `pouw claim` pays it out once it is final."""
    from settlement.forcing import force_withdrawal as force

    amount = _amount(lamports)
    named = bytes(32) if task is None else bytes.fromhex(checked_task_id(task))

    async def forced(client: L1Client, owner: Keypair) -> dict[str, Any]:
        done = await force(client, owner, lamports=amount, task_id=named, max_forced_fee_lamports=max_entry_fee)
        asked = {} if amount is None else {"withdrawn_lamports": amount + done.cost.entering_lamports}
        return {**_shown(done), **asked}

    emit(at.act(forced), as_json)


@inbox_app.command("list")
@expanded
def list_inbox(
    first: Annotated[
        int | None, typer.Option("--from", help="The first entry's index; else the last --limit of them.", min=0)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000)] = 50,
    *,
    at: OnL1,
    as_json: JsonOption = False,
) -> None:
    """The inbox's entries: waiting, overdue, taken by an epoch, final, or, after the escape, refundable or refunded."""
    from settlement.forcing import list_entries

    async def listed(client: L1Client) -> list[dict[str, Any]]:
        count = (await client.check_cluster()).inbox.count
        start = max(0, count - limit) if first is None else first
        domain = await client.domain()
        return [_row(domain, one) for one in await list_entries(client, start, limit)]

    emit_rows(at.ask(listed), _COLUMNS, as_json, "no entries")


def _amount(given: str) -> int | None:
    if given == "all":
        return None
    if not given.isdecimal() or not 0 < int(given) < 2**63:
        raise typer.BadParameter(f"{given!r}: expected lamports, or `all`", param_hint="LAMPORTS")
    return int(given)


def _shown(forced: Forced) -> dict[str, Any]:
    cost = forced.cost
    return {
        "inbox_index": forced.index,
        **({"task_id": forced.task_id.hex()} if forced.task_id else {}),
        "slot": forced.slot,
        "overdue_slot": forced.overdue_slot,
        "entering_lamports": cost.entering_lamports,
        "entry_fee_lamports": cost.fee_lamports,
        "rent_lamports": cost.rent_lamports,
        "signature": forced.signature,
    }


def _row(domain: Domain, listed: Listed) -> dict[str, Any]:
    from settlement.messages import InboxKind, inbox_task_id

    entry = listed.entry
    kind = InboxKind(entry.kind)
    row = {
        "inbox_index": entry.index,
        "kind": kind.name.lower(),
        "status": listed.status.value,
        "epoch": listed.epoch,
        "lamports": entry.lamports,
        "beneficiary": str(entry.beneficiary),
        "slot": entry.slot,
        "overdue_slot": listed.overdue_slot,
    }
    if kind is InboxKind.TASK:
        made = inbox_task_id(domain, bytes(entry.beneficiary), entry.index, entry.reference)
        row |= {"task_id": made.hex(), "spec_hash": entry.reference.hex(), "deadline_slot": entry.number}
    elif kind is InboxKind.WITHDRAWAL:
        row |= {"asked_lamports": entry.number, "task_id": entry.reference.hex() if any(entry.reference) else None}
    elif kind is InboxKind.STRIKE:
        row |= {"task_id": entry.reference.hex(), "result_hash": entry.result_hash.hex()}
    return row

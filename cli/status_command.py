"""`pouw status`: L1, sequencer, queue, validators and workers on one screen. What does not answer is said, and the rest is shown all the same."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import typer

from cli.errors import describe
from cli.options import OnBoth, expanded
from cli.runtime import run
from cli.settings import JsonOption, sequencer_url

MAX_TASKS = 1_000
SHOWN_ROWS = 12


def register(app: typer.Typer) -> None:
    app.command("status", rich_help_panel="Start here")(expanded(status))


def status(*, at: OnBoth, as_json: JsonOption = False) -> None:
    """The whole network on one screen: L1, sequencer, queue, validators, workers. Ends with 1 when something is not well."""

    async def command() -> dict[str, Any]:
        import trio

        found: dict[str, Any] = {}
        async with trio.open_nursery() as nursery:
            for name, look in (("l1", _l1), ("sequencer", _sequencer)):
                nursery.start_soon(_into, found, name, look, at)
        return {"healthy": all("problem" not in found[name] for name in ("l1", "sequencer")), **found}

    seen = run(command)
    if as_json:
        print(json.dumps(seen), flush=True)
    else:
        _show(seen)
    if not seen["healthy"]:
        raise typer.Exit(1)


async def _into(found: dict[str, Any], name: str, look: Any, at: OnBoth) -> None:
    from settlement.errors import L1Error
    from settlement.sequencer_client import SequencerError

    found[name] = {"url": ", ".join(at.l1_urls) if name == "l1" else sequencer_url(at.sequencer)}
    try:
        await look(at, found[name])
    except (L1Error, SequencerError) as error:
        found[name]["problem"] = describe(error)


async def _l1(at: OnBoth, shown: dict[str, Any]) -> None:
    async with at.l1() as l1:
        shown["program_id"] = str(l1.program_id)
        for level in ("confirmed", "finalized"):
            shown[f"{level}_slot"] = await l1.get_slot(level)
        config = await l1.check_cluster(commitment="confirmed")
        shown |= {"posted_epoch": config.posted.epoch, "finalized_epoch": config.finalized.epoch}
        shown |= {"inbox_entries": config.inbox.count, "registered": len((await l1.fetch_registry()).slots)}


async def _sequencer(at: OnBoth, shown: dict[str, Any]) -> None:
    from sequencer.lifecycle import Status

    async with at.l2() as l2:
        info = await l2.call("getEpochInfo")
        names = {"epoch": "epoch", "records": "records", "slot": "slot", "postedEpoch": "posted_epoch"}
        shown |= {name: info[key] for key, name in {**names, "finalizedEpoch": "finalized_epoch"}.items()}
        counts = Counter(task["status"] for task in (await l2.call("getTasks", {"limit": MAX_TASKS}))["tasks"])
        shown["tasks"] = {status.value: counts[status.value] for status in Status}
        shown["validators"] = [
            {
                "authority": one["authority"],
                "stake_lamports": one["stakeLamports"],
                "last_seen_slot": one["lastSeenSlot"],
            }
            for one in await l2.call("getValidators")
        ]
        shown["workers"] = [
            {
                "public_key": one["publicKey"],
                "locked_stake_lamports": one["lockedStakeLamports"],
                "tasks_paid": one["tasksPaid"],
                "tasks_rejected": one["tasksRejected"],
                "task": one.get("lease", {}).get("taskId"),
            }
            for one in await l2.call("getWorkers")
        ]
        await l2.call("getHealth")  # last: its refusal is what is wrong, and all else is shown then too


def _show(seen: Mapping[str, Any]) -> None:
    from rich.console import Console, Group
    from rich.table import Table
    from rich.text import Text

    l1, l2 = seen["l1"], seen["sequencer"]
    facts = Table(show_header=False, box=None, pad_edge=False)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("L1", _well(l1))
    if "confirmed_slot" in l1:
        facts.add_row("", f"slot {l1['confirmed_slot']} confirmed, {l1['finalized_slot']} finalized")
    if "posted_epoch" in l1:
        facts.add_row("program", f"{l1['program_id']}")
        facts.add_row(
            "",
            f"epoch {l1['posted_epoch']} posted, {l1['finalized_epoch']} final; {l1['inbox_entries']} inbox entries, "
            f"{l1['registered']} validators registered",
        )
    facts.add_row("sequencer", _well(l2))
    if "epoch" in l2:
        facts.add_row("", f"epoch {l2['epoch']} open with {l2['records']} records, at L1 slot {l2['slot']}")
    if "tasks" in l2:
        counts = [f"{count} {status}" for status, count in l2["tasks"].items() if count]
        facts.add_row("tasks", ", ".join(counts) or "none yet: `pouw task submit`")
    parts: list[Any] = [facts]
    if l2.get("validators"):
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("validator", "stake (SOL)", "last seen at slot"):
            table.add_column(heading, no_wrap=True, justify="left" if heading == "validator" else "right")
        for one in l2["validators"][:SHOWN_ROWS]:
            seen_at = f"{one['last_seen_slot']}" if one["last_seen_slot"] else "not yet"
            table.add_row(one["authority"], _sol(one["stake_lamports"]), seen_at)
        parts += [Text(), table, *_more(len(l2["validators"]))]
    if l2.get("workers"):
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("worker", "stake (SOL)", "paid", "rejected", "works on"):
            table.add_column(heading, no_wrap=True, justify="left" if heading.startswith("w") else "right")
        for one in l2["workers"][:SHOWN_ROWS]:
            counted = str(one["tasks_paid"]), str(one["tasks_rejected"])
            table.add_row(one["public_key"], _sol(one["locked_stake_lamports"]), *counted, (one["task"] or "-")[:8])
        parts += [Text(), table, *_more(len(l2["workers"]))]
    Console(highlight=False).print(Group(*parts))


def _well(part: Mapping[str, Any]) -> Any:
    from rich.text import Text

    problem = part.get("problem")
    return Text.assemble(part["url"], "  ", (problem, "bold red") if problem else ("ok", "green"))


def _more(count: int) -> list[Any]:
    from rich.text import Text

    return [Text(f"and {count - SHOWN_ROWS} more: --json shows all", "dim")] if count > SHOWN_ROWS else []


def _sol(lamports: int) -> str:
    return f"{lamports / 1e9:.9f}".rstrip("0").rstrip(".")

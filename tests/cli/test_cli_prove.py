"""`pouw challenge prove` against the real program on the embedded L1; the sequencer is away, as that of liars may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from solders.pubkey import Pubkey

from settlement import inbox, pda
from settlement.accounts import CheckpointStatus
from settlement.ledger import Context, State, batch
from settlement.money import deposit
from settlement.records import Record
from settlement.sequencer_client import SequencerClient
from settlement.signing import EMPTY
from tests.cli.test_cli_dispute import at, deployment  # noqa: F401 - fixtures
from tests.cli.test_cli_slash import STAKE
from tests.settlement import kit

SOL = 1_000_000_000
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SequencerClient.__init__.__kwdefaults__, "attempts", 1)


async def _batch(l1: Any, more: list[Record]) -> tuple[batch.BatchRoots, dict[str, Any]]:
    """An honest batch of one deposit and `more` of alice's, and what a checkpoint message says of it."""
    domain, config = await l1.client.domain(), await l1.client.fetch_config()
    (entry,) = await l1.client.fetch_inbox_entries(0, 1)
    validators = (await l1.client.fetch_validator_set(config.pinned.version)).validator_set
    context = Context(domain, 1, 0, validators, bytes(pda.treasury(l1.program_id)))
    content = [inbox.record_of(domain, entry, 1), *more]
    signed = [EMPTY, *(kit.authorise(one, "alice", 10**6, domain) for one in more)]
    roots = batch.close(State.empty(), content, signed, context)
    said = {
        "results_root": roots.results_root,
        "state_root": roots.state.root,
        "trace_root": roots.trace_root,
        "data_root": roots.data_root,
        "payable_total": roots.state.totals.payable,
        "inbox_cursor": 1,
        "inbox_hash": entry.hash_after,
    }
    return roots, said


@pytest.mark.parametrize("lie_lamports", [0, 1_000])
async def test_prove(lie_lamports: int, at: Any, deployment: Any, l1: Any, tmp_path: Path) -> None:  # noqa: F811
    await deposit(l1.client, l1.rich, SOL, Pubkey(kit.public_key("alice")))
    roots, said = await _batch(l1, [kit.withdrawal("alice", 0, 5)])
    said["payable_total"] += lie_lamports
    await deployment.post(await deployment.message(**said), 0, 1, 2)
    file = tmp_path / "batch"
    file.write_bytes(roots.data)
    challenger = await l1.funded(SOL)
    call = ("challenge", "prove", 1, "--batch", file, "--sequencer", NOWHERE, "--json")
    before = await l1.client.get_balance(challenger.pubkey())
    looked = (await at(challenger, *call, "--dry-run")).json
    assert looked["status"] == "posted"
    assert await l1.client.get_balance(challenger.pubkey()) == before
    if not lie_lamports:
        assert (looked["finding"], (await at(challenger, *call)).json) == ("honest", looked)
        assert await l1.client.get_balance(challenger.pubkey()) == before
        return
    assert looked["finding"] == "prove_totals" and "payable total 5" in looked["reason"]
    told = (await at(challenger, *call)).json
    assert (told["status"], told["slashed_indexes"], told["demands"]) == ("rejected", [0, 1, 2], [])
    slots = (await l1.client.fetch_registry()).slots
    assert [slot.stake_lamports for slot in slots] == [STAKE // 2] * 3 + [STAKE]
    again = await at(challenger, *call)
    assert again.code == 1 and "cannot be rejected any more" in again.err


async def test_prove_by_demands(at: Any, deployment: Any, l1: Any, tmp_path: Path) -> None:  # noqa: F811
    """Nobody gives the batch: its chunk is demanded, once."""
    await deposit(l1.client, l1.rich, SOL, Pubkey(kit.public_key("alice")))
    _, said = await _batch(l1, [])
    await deployment.post(await deployment.message(**said), 0, 1, 2)
    challenger = await l1.funded(SOL)
    call = ("challenge", "prove", 1, "--sequencer", NOWHERE, "--json")
    for _ in range(2):
        told = (await at(challenger, *call)).json
        assert (told["finding"], told["status"], told["demands"]) == ("open_demand", "posted", ["chunk 0"])
    assert len(await l1.client.fetch_demands(1)) == 1
    found = await l1.client.fetch_checkpoint(1)
    assert (found.status, found.open_demands) == (CheckpointStatus.POSTED, 1)
    assert "L1 has no checkpoint 2" in (await at(challenger, "challenge", "prove", 2, "--sequencer", NOWHERE)).err
    missing = await at(challenger, *call[:3], "--data-dir", tmp_path / "no", "--sequencer", NOWHERE)
    assert "there is no state in" in missing.err

"""`pouw inbox` and `pouw escape` against the real program on the embedded L1; the sequencer is a port where nobody listens."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from localnet.real_validator import free_ports
from settlement import inbox, instructions, pda
from settlement.accounts import LOCALNET_PROFILE
from settlement.errors import ProgramError
from settlement.keys import write_keypair
from settlement.ledger import Context, State, apply
from settlement.messages import CheckpointMessage
from settlement.money import deposit
from settlement.signing import node_id
from tests.settling import SOL, Settling, begin
from tests.worker.specs import small_spec
from validator.chain import Link
from validator.store import Store

FEE = 50_000
SIGNATURE = 5_000
SHORT = replace(
    LOCALNET_PROFILE,
    challenge_window_slots=2,
    inclusion_window_slots=4,
    answer_slots=1,
    stall_slots=65,
    heartbeat_slots=60,
    hatch_slots=68,
)


@dataclass
class Hall:
    """An L1 with one validator that signs what an honest ledger computes, and people with key files."""

    l1: Any
    pouw: Any
    folder: Path
    settling: Settling
    state: State = field(default_factory=State.empty)
    message: CheckpointMessage | None = None

    async def run(self, who: str, *arguments: object) -> Any:
        key = self.folder / f"{who}.json"
        nobody = f"http://127.0.0.1:{free_ports(1)}"
        options = ["-k", key] if arguments[1] not in ("list", "status") else []
        if arguments[:2] in (("inbox", "task"), ("inbox", "describe"), ("escape", "claim")):
            options += ["--sequencer", nobody]
        return await trio.to_thread.run_sync(lambda: self.pouw(*arguments, *options, "--url", self.l1.url))

    async def says(self, who: str, *arguments: object) -> Any:
        return (await self.run(who, *arguments, "--json")).json

    async def refuses(self, says: str, who: str, *arguments: object) -> None:
        before = await self.l1.client.get_balance(self.key(who), "confirmed")
        ran = await self.run(who, *arguments)
        assert ran.code == 1 and says in ran.err and len(ran.err.splitlines()) == 1, ran.err
        assert await self.l1.client.get_balance(self.key(who), "confirmed") == before

    def key(self, who: str) -> Pubkey:
        return Keypair.from_json((self.folder / f"{who}.json").read_text()).pubkey()

    async def statuses(self, first: int = 0) -> list[tuple[str, str, int | None]]:
        rows = await self.says("", "inbox", "list", "--from", first)
        return [(row["kind"], row["status"], row["epoch"]) for row in rows]

    async def settle(self, final: bool = True) -> None:
        """Posts, and makes final, an epoch that takes the whole inbox."""
        client = self.l1.client
        config = await client.fetch_config()
        sealed = (await client.fetch_validator_set(config.pinned.version)).validator_set
        treasury = bytes(pda.treasury(client.program_id))
        domain = await client.domain()
        context = Context(domain, config.highest_epoch + 1, config.posted.cut_slot, sealed, treasury)
        taken = self.state.totals.inbox_cursor
        for entry in await client.fetch_inbox_entries(taken, config.inbox.count):
            self.state = apply(self.state, inbox.record_of(domain, entry, 0), context)
        self.message = await self.settling.post(self.state.root, self.state.totals.payable)
        if final:
            await self.settling.finalize(self.message.epoch)

    def save(self, folder: Path, domain: Any) -> Path:
        """What a validator that followed has on its disk."""
        store = Store(folder / "state", domain)
        store.save(Link(self.message, self.state))
        store.close()
        return folder


async def hall_of(l1: Any, pouw: Any, folder: Path, parameters: Any) -> Hall:
    settling = await begin(l1, parameters)
    spec, dataset = small_spec()
    (folder / "spec.json").write_text(json.dumps(spec, indent=2))
    (folder / "dataset").write_bytes(dataset)
    for name, lamports in (("client", SOL), ("other", SOL), ("helper", SOL), ("poor", 1_000_000)):
        write_keypair(folder / f"{name}.json", await l1.funded(lamports))
    return Hall(l1, pouw, folder, settling)


@pytest.fixture
async def hall(l1: Any, pouw: Any, tmp_path: Path) -> Hall:
    return await hall_of(l1, pouw, tmp_path, LOCALNET_PROFILE)


def task(hall: Hall, *more: object) -> tuple[object, ...]:
    files = hall.folder / "spec.json", "--dataset", hall.folder / "dataset"
    return ("inbox", "task", *files, "--fee", FEE, "--wait", 0, *more)


async def test_a_forced_task_is_paid_for_and_the_rest_is_said(hall: Hall) -> None:
    client = hall.l1.client
    before = await client.get_balance(hall.key("client"))
    ran = await hall.run("client", *task(hall, "--deadline", "+500", "--json"))
    said = ran.json
    assert said["described"] is False
    assert "pouw inbox describe" in ran.err and f"--task {said['task_id']}" in ran.err
    costs = said["entry_fee_lamports"] + said["rent_lamports"] + said["entering_lamports"] + SIGNATURE
    assert (said["entering_lamports"], said["entry_fee_lamports"]) == (FEE, LOCALNET_PROFILE.forced_fee_lamports)
    assert before - await client.get_balance(hall.key("client"), "confirmed") == costs
    (row,) = await hall.says("", "inbox", "list", "--from", 1)
    assert (row["task_id"], row["beneficiary"]) == (said["task_id"], str(hall.key("client")))
    assert said["overdue_slot"] == row["overdue_slot"] == row["slot"] + LOCALNET_PROFILE.inclusion_window_slots + 1
    await hall.settle(final=False)
    made = hall.state.task(bytes.fromhex(said["task_id"]))
    assert made is not None and (made.fee_lamports, made.deadline_slot) == (FEE, row["deadline_slot"])
    assert await hall.statuses() == [("deposit", "taken", 1), ("task", "taken", 1)]
    table = (await hall.run("", "inbox", "list")).out
    assert "taken" in table and str(hall.key("client")) in table


async def test_a_forced_withdrawal_takes_what_was_asked_and_what_it_brought(hall: Hall) -> None:
    client = hall.l1.client
    await deposit(client, hall.l1.rich, 300_000, hall.key("client"))
    said = await hall.says("client", "inbox", "withdraw", 100_000)
    assert (said["entering_lamports"], said["withdrawn_lamports"]) == (10_000, 110_000)
    await hall.settle()
    account = hall.state.account(node_id(bytes(hall.key("client"))))
    assert account is not None and (account.balance, account.payable) == (200_000, 110_000)
    await hall.says("client", "inbox", "withdraw", "all")
    assert await hall.statuses(1) == [
        ("deposit", "final", 1),
        ("withdrawal", "final", 1),
        ("withdrawal", "waiting", None),
    ]
    await hall.settle(final=False)
    account = hall.state.account(node_id(bytes(hall.key("client"))))
    assert account is not None and (account.balance, account.payable) == (0, 320_000)
    assert (await hall.statuses(2)) == [("withdrawal", "final", 1), ("withdrawal", "taken", 2)]


async def test_nothing_is_spent_on_what_would_be_refused(hall: Hall) -> None:
    await hall.refuses("brings at least 10000 lamports", "client", *task(hall)[:6], 9_999, "--wait", 0)
    await hall.refuses("has passed: L1 is at slot", "client", *task(hall, "--deadline", "1"))
    await hall.refuses(
        "costs 10000 lamports now, more than the 9999 allowed", "client", *task(hall, "--max-entry-fee", 9_999)
    )
    await hall.refuses("costs 10000 lamports now", "client", "inbox", "withdraw", 5, "--max-entry-fee", 9_999)
    await hall.refuses("it takes ", "poor", "inbox", "withdraw", "all")
    await hall.refuses("it takes ", "poor", *task(hall))
    (hall.folder / "dataset").write_bytes(b"another")
    await hall.refuses("but dataset_info.sha256 is", "client", *task(hall))
    await hall.refuses("but dataset_info.sha256 is", "client", "inbox", "describe", *task(hall)[2:5])
    assert (await hall.l1.client.fetch_config()).inbox.count == 1
    for arguments, says in (
        (("inbox", "withdraw", "some"), "expected lamports, or `all`"),
        (("inbox", "withdraw", "0"), "expected lamports, or `all`"),
        (("inbox", "withdraw", "5", "--task", "ab"), "is no task id"),
        (task(hall, "--deadline", "soon"), "expected a slot, or +N"),
        (("escape", "refund"), "name one of INDEX, --mine and --all"),
        (("escape", "refund", 1, "--mine"), "name one of INDEX, --mine and --all"),
        (("escape", "claim", "--all"), "--all goes with --state"),
        (("escape", "claim", "--batches", hall.folder), "name that with --state"),
    ):
        ran = await hall.run("client", *arguments)
        assert ran.code == 2 and says in ran.err, ran.err
    await _the_hatch_is_shut(hall)


async def _the_hatch_is_shut(hall: Hall) -> None:
    status = await hall.says("", "escape", "status")
    config = await hall.l1.client.fetch_config()
    assert (status["hatch"], status["escape_slot"]) == ("shut", None)
    assert status["opens_slot"] == config.finalized.slot + LOCALNET_PROFILE.hatch_slots + 1
    await hall.refuses(
        f"too early: the hatch may be opened from slot {status['opens_slot']} on", "client", "escape", "open"
    )
    for arguments in (("refund", 0), ("refund", "--mine"), ("claim",), ("claim", "--state", hall.folder)):
        await hall.refuses("the hatch is not open", "client", "escape", *arguments)


async def _posting_without_an_overdue_entry_is_refused(hall: Hall, overdue_slot: int, cursor: int) -> None:
    """What a sequencer that leaves it out meets on L1, whoever signed."""
    await hall.l1.client.wait_for_slot(overdue_slot)
    assert await hall.statuses(cursor) == [("withdrawal", "overdue", None)]
    with pytest.raises(ProgramError) as caught:
        await hall.settling.post(b"\5" * 32, 0, cursor=cursor)
    assert caught.value.name == "OverdueInboxEntry"


async def test_everybody_gets_everything_out_of_the_hatch(l1: Any, pouw: Any, tmp_path: Path) -> None:
    hall = await hall_of(l1, pouw, tmp_path, SHORT)
    client, domain = l1.client, await l1.client.domain()
    for who, lamports in (("client", 300_000), ("other", 200_000)):
        await deposit(client, l1.rich, lamports, hall.key(who))
    await hall.says("client", *task(hall))
    forced = await hall.says("other", "inbox", "withdraw", 40_000)
    await _posting_without_an_overdue_entry_is_refused(hall, forced["overdue_slot"], forced["inbox_index"])
    await hall.settle()
    data = hall.save(tmp_path / "validator-0", domain)
    # Not in the final state: entries of both, one of them in an epoch that was posted.
    await hall.says("client", "inbox", "withdraw", 1)
    await hall.settle(final=False)
    late = hall.save(tmp_path / "validator-1", domain)
    program, other = client.program_id, hall.key("other")
    more = [instructions.deposit(program, l1.rich.pubkey(), index, 10_000, other) for index in range(6, 15)]
    await client.send_and_confirm(more, l1.rich)
    opens = (await hall.says("", "escape", "status"))["opens_slot"]
    await client.wait_for_slot(opens)
    assert (await hall.says("", "escape", "status"))["hatch"] == "may be opened"
    opened = await hall.says("helper", "escape", "open")
    assert opened["hatch"] == "open" and opened["escape_slot"] >= opens
    assert (await hall.says("client", "escape", "open"))["escape_slot"] == opened["escape_slot"]

    await hall.refuses("the escape hatch is open", "client", *task(hall))
    await hall.refuses("the escape hatch is open", "client", "inbox", "withdraw", "all")
    assert await hall.statuses(4) == [
        ("withdrawal", "final", 1),
        ("withdrawal", "refundable", None),
        *[("deposit", "refundable", None)] * 9,
    ]
    await hall.refuses("entry 4 was taken by epoch 1", "helper", "escape", "refund", 4)
    await hall.refuses("there is no inbox entry 15: the inbox has 15", "helper", "escape", "refund", 15)
    (paid,) = await hall.says("helper", "escape", "refund", 5)
    assert paid == {"inbox_index": 5, "beneficiary": str(hall.key("client")), "refunded_lamports": 10_000}
    await hall.refuses("entry 5 was paid back already", "helper", "escape", "refund", 5)
    assert await hall.says("client", "escape", "refund", "--mine") == []
    assert [row["inbox_index"] for row in await hall.says("other", "escape", "refund", "--mine")] == list(range(6, 15))
    assert {status for _, status, _ in await hall.statuses(5)} == {"refunded"}
    assert await hall.says("helper", "escape", "refund", "--all") == []

    await hall.refuses("name a validator's data folder with --state", "client", "escape", "claim")
    await hall.refuses("holds no validator's state", "client", "escape", "claim", "--state", tmp_path)
    await hall.refuses(
        "holds epoch 2, which is not what L1 holds as final, epoch 1", "client", "escape", "claim", "--state", late
    )
    await hall.refuses("has no account in the last final state", "poor", "escape", "claim", "--state", data)
    # The task's fee was locked, the withdrawal made payable: all of it is paid, to whom it belongs.
    before = await client.get_balance(hall.key("client"), "confirmed")
    (one,) = await hall.says("helper", "escape", "claim", hall.key("client"), "--state", data)
    assert (one["public_key"], one["paid_lamports"]) == (str(hall.key("client")), 300_000 + FEE)
    assert await client.get_balance(hall.key("client"), "confirmed") - before == 300_000 + FEE
    await hall.refuses("nothing is owed to", "client", "escape", "claim", "--state", data)
    rest = await hall.says("helper", "escape", "claim", "--all", "--state", data)
    assert {one["public_key"]: one["paid_lamports"] for one in rest} == {
        str(hall.key("other")): 210_000,
        str(l1.rich.pubkey()): SOL,
    }
    assert await hall.says("helper", "escape", "claim", "--all", "--state", data) == []
    status = await hall.says("", "escape", "status")
    assert (status["entries_to_refund"], status["to_refund_lamports"], status["to_claim_lamports"]) == (0, 0, 0)
    assert await client.get_balance(pda.vault(l1.program_id), "confirmed") == await client.minimum_rent(0)

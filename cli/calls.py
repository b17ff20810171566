"""What the commands do with sequencer and L1 together. Every call first makes sure that both speak of the same chain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cli import settings
from cli.runtime import CommandError
from settlement import messages
from settlement import spec as specs
from settlement.client import L1Client
from settlement.money import Claimed
from settlement.money import claim as claim_on_l1
from settlement.records import EconomicEvent, Event, Kind, Mode, Op, Record, TaskSubmission
from settlement.rpc_codes import Code
from settlement.sequencer_client import ATTEMPTS, RpcError, SequencerClient
from settlement.signing import node_id

POLL_SECONDS = 0.5
PROOF_ATTEMPTS = 20


@asynccontextmanager
async def client_calls(
    urls: Sequence[str],
    sequencer: str,
    program_id: str | None,
    keypair: Keypair | None = None,
    attempts: int = ATTEMPTS,
) -> AsyncIterator[SequencerClient]:
    """A sequencer client that refuses a sequencer of another cluster or program than L1 says."""
    async with L1Client(urls, settings.program_id(program_id)) as l1:
        domain = await l1.domain()
    async with SequencerClient(
        sequencer, keypair, genesis=domain.genesis, program=domain.program, attempts=attempts
    ) as client:
        await client.domain()
        yield client


async def next_nonce(client: SequencerClient) -> int:
    account = await client.call("getBalance", {"publicKey": str(Pubkey(client.public_key)), "commitment": "processed"})
    return int(account["nonce"])


async def withdraw(client: SequencerClient, lamports: int) -> dict[str, Any]:
    nonce = await next_nonce(client)
    payload = EconomicEvent(Event.WITHDRAWAL, number=nonce, lamports=lamports)
    record = Record(Op.ECONOMIC_EVENT, 0, node_id(client.public_key), bytes(32), payload)
    answer = await client.call_record("withdraw", {"lamports": lamports, "nonce": nonce}, record)
    return {
        "public_key": answer["publicKey"],
        "payable_lamports": answer["payableLamports"],
        "withdrawn_lamports": lamports,
    }


async def submit_task(
    client: SequencerClient, spec: dict[str, Any], dataset: Path, fee_lamports: int, deadline_slot: int
) -> dict[str, Any]:
    """Uploads the dataset, then submits. SpecError before anything is sent; CommandError when file and spec disagree."""
    parsed = specs.parse(spec)
    digest = specs.spec_hash(spec)
    await trio.to_thread.run_sync(need_same_dataset, parsed, dataset)
    nonce = await next_nonce(client)
    await client.put_blob(dataset)
    task = messages.task_id(await client.domain(), client.public_key, nonce, digest)
    payload = TaskSubmission(
        nonce, fee_lamports, deadline_slot, digest, Kind[parsed.kind.upper()], Mode[parsed.mode.upper()]
    )
    record = Record(Op.TASK_SUBMISSION, 0, node_id(client.public_key), task, payload)
    params = {"spec": spec, "feeLamports": fee_lamports, "deadlineSlot": deadline_slot, "nonce": nonce}
    answer = await client.call_record("submitTask", params, record)
    return {
        "task_id": answer["taskId"],
        "status": answer["status"],
        "fee_lamports": fee_lamports,
        "deadline_slot": deadline_slot,
    }


async def tasks_of(client: SequencerClient, limit: int, **chosen: str) -> list[dict[str, Any]]:
    """The newest `limit` tasks that match, as many pages as that takes."""
    found: list[dict[str, Any]] = []
    while len(found) < limit:
        page = await client.call("getTasks", {**chosen, "limit": limit - len(found)})
        found += page["tasks"]
        if "next" not in page:
            break
        chosen["before"] = page["next"]
    return found


async def wait_for_task(client: SequencerClient, task_id: str) -> dict[str, Any]:
    """The task object once it is paid or refunded."""
    while True:
        task: dict[str, Any] = await client.call("getTask", {"taskId": task_id})
        if task["status"] in ("paid", "refunded"):
            return task
        await trio.sleep(POLL_SECONDS)


async def balances(urls: Sequence[str], sequencer: str, program: Pubkey, account: Pubkey) -> dict[str, Any]:
    async with L1Client(urls, program) as l1:
        shown: dict[str, Any] = {
            "public_key": str(account),
            "l1_lamports": await l1.get_balance(account),
            "claimed_lamports": await l1.fetch_claimed(bytes(account)),
        }
    async with client_calls(urls, sequencer, str(program)) as client:
        for level in ("processed", "finalized"):
            found = await _l2_account(client, account, level)
            shown[f"l2_balance_{level}_lamports"] = found["balanceLamports"] if found else 0
            shown[f"payable_{level}_lamports"] = found["payableLamports"] if found else 0
            if level == "processed":
                shown["locked_fees_lamports"] = found["lockedFeesLamports"] if found else 0
                shown["locked_stake_lamports"] = found["lockedStakeLamports"] if found else 0
    shown["claimable_lamports"] = max(0, shown["payable_finalized_lamports"] - shown["claimed_lamports"])
    return shown


async def _l2_account(
    client: SequencerClient, account: Pubkey, level: str, proof: bool = False
) -> dict[str, Any] | None:
    params: dict[str, Any] = {"publicKey": str(account), "commitment": level}
    if proof:
        params["withProof"] = True
    try:
        found: dict[str, Any] = await client.call("getBalance", params)
    except RpcError as error:
        if error.code == Code.UNKNOWN_ACCOUNT:
            return None
        raise
    return found


async def claim(
    urls: Sequence[str], sequencer: str, program: Pubkey, payer: Keypair, account: Pubkey, wait_seconds: float
) -> dict[str, Any]:
    """Claims what the finalized state owes `account`, waiting up to `wait_seconds` until there is something."""
    deadline = trio.current_time() + wait_seconds
    async with L1Client(urls, program) as l1, client_calls(urls, sequencer, str(program)) as client:
        await l1.check_cluster()
        while True:
            value, siblings = await finalized_proof(l1, client, account)
            claimed = await l1.fetch_claimed(bytes(account))
            payable = int.from_bytes(value[72:80], "little") if value else 0
            if payable > claimed:
                break
            if trio.current_time() >= deadline:
                raise CommandError(
                    f"nothing to claim for {account}: the finalized state owes {payable} lamports in all, {claimed} were claimed"
                )
            await trio.sleep(POLL_SECONDS)
        before = await l1.get_balance(account, "confirmed")
        done: Claimed = await claim_on_l1(l1, payer, value, siblings, "finalized")
        return {
            "public_key": str(account),
            "claimed_lamports": done.lamports,
            "claimed_total_lamports": done.claimed_total_lamports,
            "balance_before_lamports": before,
            "balance_after_lamports": await l1.get_balance(account, "finalized"),
            "signature": done.signature,
            "slot": done.slot,
        }


async def finalized_proof(l1: L1Client, client: SequencerClient, account: Pubkey) -> tuple[bytes, list[bytes]]:
    """The account's leaf and its siblings under the root of the finalized checkpoint; an empty leaf when it has no account there.

    Both are read at `confirmed`: the program checks a claim against what Config holds when it lands, not 32 slots before.

    Sequencer and L1 node may be an epoch apart for a moment, so a proof under another root is asked for again.
    """
    from settlement.ledger.leaves import LeafKind, account_key
    from settlement.ledger.state import verify_proof

    for _ in range(PROOF_ATTEMPTS):
        found = await _l2_account(client, account, "confirmed", proof=True)
        root = (await l1.fetch_config("confirmed")).finalized.state_root
        if found is None:
            return b"", []
        value = bytes.fromhex(found["proof"]["value"])
        siblings = [bytes.fromhex(sibling) for sibling in found["proof"]["siblings"]]
        if verify_proof(root, account_key(node_id(bytes(account))), LeafKind.ACCOUNT, value, siblings):
            return value, siblings
        await trio.sleep(POLL_SECONDS)
    raise CommandError("the sequencer's proof does not lead to the state root that is finalized on L1")


def need_same_dataset(spec: specs.TaskSpec, dataset: Path) -> None:
    """CommandError when the file is not the dataset that the spec names."""
    import hashlib

    with dataset.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if spec.dataset_info.sha256 != found:
        raise CommandError(f"{dataset} has sha256 {found}, but dataset_info.sha256 is {spec.dataset_info.sha256}")

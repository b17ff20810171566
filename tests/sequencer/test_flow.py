"""The main line over real HTTP on a real L1: deposit, task, result, verdicts, batch, certificate, post, finality."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from sequencer import service
from sequencer.recovery import WrongStore
from settlement import merkle, pda, records
from settlement.ledger import LeafKind, account_key, verify_proof
from settlement.messages import CheckpointMessage, highest_attempt
from settlement.money import claim
from settlement.signing import node_id
from tests.sequencer.kit import DATASET, Network, config_for, reject, until

FEE = 1_000_000  # below the rent-exempt minimum L1 would not let a new account receive it


async def test_from_submit_to_a_finalized_payment(network: Network) -> None:
    client, worker = await network.party(10_000_000), await network.party(5_000_000)
    await client.client.put_blob(DATASET)
    task_id = await client.submit(FEE)
    await worker.register()
    network.start_voters(await network.voters())
    assert await worker.do() == task_id

    async def paid() -> object:
        task = await client.client.call("getTask", {"taskId": task_id})
        return task if task["status"] == "paid" else None

    task = await until("the payment", paid)
    assert (task["worker"], task["accuracy"], task["replayedShare"]) == (worker.name, 0.97, 0.25)

    async def final() -> object:
        task = await client.client.call("getTask", {"taskId": task_id})
        info = await client.client.call("getEpochInfo")
        return info if "epoch" in task and info["finalizedEpoch"] >= task["epoch"] else None

    await until("finality", final, 60)
    epoch = (await client.client.call("getTask", {"taskId": task_id}))["epoch"]
    checkpoint = await client.client.call("getCheckpoint", {"epoch": epoch})
    assert checkpoint["status"] == "finalized"
    assert (checkpoint["signers"], checkpoint["setSize"]) == (3, 3)
    on_l1 = await network.l1.client.fetch_checkpoint(epoch, "finalized")
    assert on_l1 is not None
    assert on_l1.hash.hex() == checkpoint["hash"]
    assert checkpoint["computeUnits"] > 100_000

    receipt = await client.client.call("getReceipt", {"taskId": task_id})
    message = CheckpointMessage.from_json(receipt["checkpoint"])
    siblings = [bytes.fromhex(sibling) for sibling in receipt["siblings"]]
    leaf = bytes.fromhex(receipt["record"])
    assert message.hash(await client.client.domain()).hex() == receipt["checkpoint"]["hash"]
    assert merkle.verify("results-root", message.results_root, leaf, receipt["index"], receipt["count"], siblings)
    payment = records.decode(leaf)
    assert isinstance(payment.payload, records.EconomicEvent)
    assert (payment.payload.event, payment.payload.lamports) == (records.Event.PAYMENT, FEE)
    assert payment.node == node_id(worker.key)

    balance = await worker.client.call("getBalance", {"publicKey": worker.name, "withProof": True})
    assert balance["payableLamports"] == FEE
    value, path = bytes.fromhex(balance["proof"]["value"]), [bytes.fromhex(s) for s in balance["proof"]["siblings"]]
    config = await network.l1.client.fetch_config("finalized")
    assert verify_proof(config.finalized.state_root, account_key(node_id(worker.key)), LeafKind.ACCOUNT, value, path)
    assert balance["stateRoot"] == config.finalized.state_root.hex()

    # What a claim sent now is checked against is the root that Config holds at `confirmed`.
    params = {"publicKey": worker.name, "withProof": True, "commitment": "confirmed"}
    proof = (await worker.client.call("getBalance", params))["proof"]
    path = [bytes.fromhex(sibling) for sibling in proof["siblings"]]
    claimed = await claim(network.l1.client, network.l1.payer, bytes.fromhex(proof["value"]), path)
    assert claimed.lamports == FEE


async def test_a_rejected_result_costs_the_stake_and_the_task_goes_to_another(network: Network) -> None:
    client = await network.party(10_000_000)
    liar, honest = await network.party(5_000_000), await network.party(5_000_000)
    await client.client.put_blob(DATASET)
    task_id = await client.submit(FEE)
    await liar.register()
    voters = await network.voters()
    for voter in voters:
        voter.judge = lambda duty: reject(duty) if duty["worker"] == liar.name else {}
    network.start_voters(voters)
    assert await liar.do() == task_id

    async def rejected() -> object:
        task = await client.client.call("getTask", {"taskId": task_id})
        return task if task["rejections"] else None

    task = await until("the rejection", rejected)
    assert task["status"] == "pending"
    assert task["rejections"] == [{"worker": liar.name, "reason": "wrong_state"}]
    slashed = await client.client.call("getBalance", {"publicKey": liar.name, "commitment": "processed"})
    assert slashed["lockedStakeLamports"] == 0
    await liar.register()
    assert await liar.pull() is None
    await honest.register()
    assert await honest.do() == task_id

    async def final() -> object:
        task = await client.client.call("getTask", {"taskId": task_id})
        info = await client.client.call("getEpochInfo")
        return task if "epoch" in task and info["finalizedEpoch"] >= task["epoch"] else None

    task = await until("finality", final, 60)
    assert (task["status"], task["worker"]) == ("paid", honest.name)
    config = await network.l1.client.fetch_config("finalized")
    treasury = str(pda.treasury(network.l1.client.program_id))
    balance = await client.client.call("getBalance", {"publicKey": treasury})
    assert balance["payableLamports"] == 2_000_000
    assert config.finalized.payable_total == 2_000_000 + FEE


async def test_a_task_that_nobody_does_is_refunded_and_an_attempt_without_quorum_is_followed_by_another(
    network: Network,
) -> None:
    """Two waits in one test: validators sleep through attempt 0, and the ledger's time reaches the deadline in an empty epoch."""
    client = await network.party(10_000_000)
    await client.client.put_blob(DATASET)
    await client.submit(FEE, deadline_slots=130)
    voters = await network.voters()
    for voter in voters:
        voter.signs = False
    network.start_voters(voters)

    async def gave_up() -> object:
        info = await client.client.call("getEpochInfo")
        return info["attempt"] if info["epoch"] == 1 else None

    assert await until("the end of attempt 0", gave_up, 60)
    for voter in voters:
        voter.signs = True

    async def refunded() -> object:
        (task,) = (await client.client.call("getTasks"))["tasks"]
        info = await client.client.call("getEpochInfo")
        return task if task["status"] == "refunded" and info["finalizedEpoch"] >= task.get("epoch", 10**9) else None

    task = await until("the refund", refunded, 60)
    first = await client.client.call("getCheckpoint", {"epoch": 1})
    assert first["attempt"] == highest_attempt(0, first["cutSlot"])
    epochs = [await client.client.call("getCheckpoint", {"epoch": epoch}) for epoch in range(1, task["epoch"] + 1)]
    assert 0 in [epoch["records"] for epoch in epochs]
    assert all(b["parentHash"] == a["hash"] for a, b in pairwise(epochs))
    balance = await client.client.call("getBalance", {"publicKey": client.name})
    assert (balance["balanceLamports"], balance["lockedFeesLamports"]) == (10_000_000, 0)


async def test_a_new_data_directory_on_an_l1_with_checkpoints_is_refused(network: Network, tmp_path: Path) -> None:
    await network.party(10_000_000)
    network.start_voters(await network.voters())

    async def posted() -> object:
        return (await network.l1.client.fetch_config()).posted.epoch

    await until("the first post", posted)
    (tmp_path / "other").mkdir()
    with pytest.raises(WrongStore, match="checkpoints up to epoch 1"):
        await service.run(config_for(network.l1, tmp_path / "other"))

"""`pouw receipt verify` against a checkpoint that is really on L1; no sequencer is running."""

from __future__ import annotations

import json

import trio

from settlement import merkle, records
from settlement.records import EconomicEvent, Event, Op, Record
from tests.settling import begin

TASK = b"\x07" * 32


async def test_a_receipt_is_verified_with_nothing_but_l1(pouw, tmp_path, l1):
    settling = await begin(l1)
    await l1.client.wait_for_slot(await l1.client.get_slot("processed"), "finalized")
    payments = [
        records.encode(Record(Op.ECONOMIC_EVENT, 0, bytes(20), task, EconomicEvent(Event.PAYMENT, lamports=42)))
        for task in (b"\x06" * 32, TASK, b"\x08" * 32)
    ]
    message = await settling.post(bytes(32), 0, merkle.root("results-root", payments))
    receipt = {
        "record": payments[1].hex(),
        "index": 1,
        "count": 3,
        "siblings": [sibling.hex() for sibling in merkle.proof(payments, 1)],
        "checkpoint": message.to_json(),
    }
    path = tmp_path / "receipt.json"

    async def verify(given, *more):
        path.write_text(json.dumps(given))
        return await trio.to_thread.run_sync(lambda: pouw("receipt", "verify", path, "--url", l1.url, "--json", *more))

    ran = await verify(receipt)
    assert ran.code == 1
    assert "no checkpoint of epoch 1 at `finalized`" in ran.err or "posted, not finalized" in ran.err

    await settling.finalize(1)
    await l1.client.wait_for_slot(await l1.client.get_slot("processed"), "finalized")
    shown = (await verify(receipt, "--task", TASK.hex())).json
    assert (shown["valid"], shown["task_id"], shown["paid_lamports"]) == (True, TASK.hex(), 42)
    assert shown["checkpoint_hash"] == message.hash(await l1.client.domain()).hex()

    ran = await verify(receipt, "--task", "00" * 32)
    assert (ran.code, ran.out) == (1, "")
    assert "is about task" in ran.err
    ran = await verify({**receipt, "index": 0})
    assert "do not lead" in ran.err
    ran = await verify({**receipt, "checkpoint": {**receipt["checkpoint"], "payableTotal": 1}})
    assert "hashes to" in ran.err
    ran = await verify({**receipt, "checkpoint": {**receipt["checkpoint"], "epoch": 2}})
    assert "no checkpoint of epoch 2" in ran.err

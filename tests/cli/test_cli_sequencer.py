"""The client's commands against a real sequencer on the embedded L1."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from functools import partial

import pytest
import trio
from safetensors.numpy import save_file
from solders.keypair import Keypair

from settlement.bls import SecretKey
from settlement.keys import write_bls_key, write_keypair
from settlement.l1_setup import advance_validator_set, ensure_initialized, register_validator
from settlement.money import deposit

SOL = 1_000_000_000


@pytest.fixture
def dataset(tmp_path):
    import numpy as np

    rows = np.arange(64 * 8, dtype=np.float32).reshape(8, 64)
    labels = np.arange(8, dtype=np.int64)
    path = tmp_path / "dataset.safetensors"
    save_file({"x_train": rows, "y_train": labels, "x_test": rows, "y_test": labels}, path)
    return path


def spec_for(dataset) -> dict:
    return {
        "version": 1,
        "kind": "training",
        "model_type": "mlp",
        "architecture": {"input_size": 64, "hidden_sizes": [8], "output_size": 10},
        "optimizer": {"type": "adam", "learning_rate": 0.001},
        "stopping_criterion": {"type": "max_epochs", "max_epochs": 1},
        "metrics": ["accuracy", "loss"],
        "dataset_info": {"sha256": hashlib.sha256(dataset.read_bytes()).hexdigest(), "batch_size": 4, "size": 16},
        "performance_requirements": {"gpu": False, "min_accuracy": 0.0},
        "mode": "replay",
        "seed": 1,
    }


async def start(nursery, room, folder, **settings) -> tuple[trio.Process, int | None]:
    """`pouw ROOM run` as a process, once it says that it is ready, and the port that it names."""
    config = folder / f"{room}.toml"
    settings |= {"data_dir": str(folder / room)}
    config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
    command = [sys.executable, "-m", "cli.main", room, "run", "--config", str(config)]
    process = await nursery.start(partial(trio.run_process, command, stderr=subprocess.PIPE, check=False))
    text = ""
    with trio.fail_after(180):
        async for chunk in process.stderr:
            text += chunk.decode()
            for line in text.splitlines()[: text.count("\n")]:
                if not line.startswith("{"):
                    raise AssertionError(text)
                entry = json.loads(line)
                if (entry["event"], entry.get("room")) == ("ready", room):
                    nursery.start_soon(drain, process.stderr)
                    return process, entry.get("port")
    raise AssertionError(text)


async def end(process) -> None:
    process.send_signal(signal.SIGTERM)
    with trio.fail_after(120):
        assert await process.wait() == 0


async def drain(stream) -> None:
    async for _ in stream:
        pass


async def test_from_deposit_to_a_submitted_task(pouw, tmp_path, l1, dataset, nursery):
    await ensure_initialized(l1.client, l1.authority, l1.rich)
    await register_validator(l1.client, l1.rich, Keypair(), SecretKey.generate(), 5_000_000)
    await advance_validator_set(l1.client, l1.rich, l1.authority)
    write_keypair(tmp_path / "poster.json", l1.rich)
    process, port = await start(nursery, "sequencer", tmp_path, url=l1.url, keypair=f"{tmp_path}/poster.json", port=0)
    client = await l1.funded()
    write_keypair(tmp_path / "client.json", client)
    chain = ["--url", l1.url, "--sequencer", f"http://127.0.0.1:{port}"]

    async def run(*arguments, reads=False):
        more = chain[2:] if reads else [*chain, "-k", tmp_path / "client.json"]
        return await trio.to_thread.run_sync(lambda: pouw(*arguments, *more, "--json"))

    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(spec_for(dataset)))
    submit = ["task", "submit", spec, "--dataset", dataset, "--fee", 1_000_000]
    ran = await run(*submit)
    assert ran.code == 1
    assert "33005" in ran.err or "deposit" in ran.err

    assert (await run("balance")).json["l2_balance_processed_lamports"] == 0
    deposited = await trio.to_thread.run_sync(
        lambda: pouw("deposit", SOL, "--url", l1.url, "-k", tmp_path / "client.json", "--json")
    )
    assert deposited.json["inbox_index"] == 0
    with trio.fail_after(120):
        while (found := (await run("balance")).json)["l2_balance_processed_lamports"] != SOL:
            await trio.sleep(0.2)
    assert found["l2_balance_finalized_lamports"] in (0, SOL)  # it may be final by the time it is looked at
    assert found["claimable_lamports"] == 0

    submitted = (await run(*submit)).json
    assert (submitted["status"], submitted["fee_lamports"]) == ("pending", 1_000_000)
    task = submitted["task_id"]
    shown = (await run("task", "status", task, reads=True)).json
    assert (shown["task_id"], shown["client"], shown["status"]) == (task, str(client.pubkey()), "pending")
    assert shown["spec"] == spec_for(dataset)
    assert [t["task_id"] for t in (await run("task", "list", "--status", "pending", reads=True)).json] == [task]
    assert (await run("task", "list", "--status", "paid", reads=True)).json == []
    found = (await run("balance")).json
    assert (found["l2_balance_processed_lamports"], found["locked_fees_lamports"]) == (SOL - 1_000_000, 1_000_000)

    withdrawn = (await run("withdraw", 5_000)).json
    assert withdrawn["payable_lamports"] == 5_000
    ran = await run("withdraw", 2 * SOL)
    assert (ran.code, "-33006" in ran.err) == (1, True)
    ran = await run("claim")
    assert ran.code == 1
    assert "nothing to claim" in ran.err
    ran = await run("task", "status", "00" * 32, reads=True)
    assert (ran.code, "-33009" in ran.err) == (1, True)
    ran = await _receipt(pouw, task, chain[3])
    assert ran.code == 1

    other = tmp_path / "other.safetensors"
    other.write_bytes(dataset.read_bytes() + b" ")
    ran = await run("task", "submit", spec, "--dataset", other, "--fee", 1)
    assert "but dataset_info.sha256 is" in ran.err
    spec.write_text(json.dumps({**spec_for(dataset), "mode": "zk"}))
    ran = await run(*submit)
    assert "zk" in ran.err
    await end(process)


async def test_a_withdrawal_is_attested_finalized_and_claimed(pouw, tmp_path, l1, dataset, nursery):
    """Sequencer and validator as processes, both started by the command; the money ends where it began."""
    authority, secret = Keypair(), SecretKey.generate()
    await ensure_initialized(l1.client, l1.authority, l1.rich)
    await register_validator(l1.client, l1.rich, authority, secret, 5_000_000)
    await advance_validator_set(l1.client, l1.rich, l1.authority)
    client = await l1.funded()
    for name, keypair in (("poster", l1.rich), ("validator", authority), ("client", client)):
        write_keypair(tmp_path / f"{name}.json", keypair)
    write_bls_key(tmp_path / "bls.json", secret.to_bytes(), secret.public_key)
    common = {"url": l1.url}
    poster = {"keypair": f"{tmp_path}/poster.json", "port": 0, "epoch_seconds": 1}
    sequencer, port = await start(nursery, "sequencer", tmp_path, **common, **poster)
    keys = {"keypair": f"{tmp_path}/validator.json", "bls_keypair": f"{tmp_path}/bls.json"}
    url = f"http://127.0.0.1:{port}"
    validator, _ = await start(nursery, "validator", tmp_path, **common, **keys, sequencer=url)

    async def run(*arguments):
        more = ["--url", l1.url, "--sequencer", url, "-k", tmp_path / "client.json", "--json"]
        return await trio.to_thread.run_sync(lambda: pouw(*arguments, *more))

    await deposit(l1.client, client, SOL)
    with trio.fail_after(180):
        while (await run("balance")).json["l2_balance_finalized_lamports"] != SOL:
            await trio.sleep(0.5)
    assert (await run("withdraw", SOL // 2)).json["payable_lamports"] == SOL // 2
    # Another account pays the fee, so that the balance grows by exactly what was claimed.
    claimed = await trio.to_thread.run_sync(
        lambda: pouw(
            "claim",
            client.pubkey(),
            "--wait",
            180,
            "--url",
            l1.url,
            "--sequencer",
            url,
            "-k",
            tmp_path / "poster.json",
            "--json",
        )
    )
    shown = claimed.json
    assert shown["claimed_lamports"] == shown["claimed_total_lamports"] == SOL // 2
    assert shown["balance_after_lamports"] - shown["balance_before_lamports"] == SOL // 2
    after = (await run("balance")).json
    assert (after["claimed_lamports"], after["claimable_lamports"]) == (SOL // 2, 0)
    assert after["l2_balance_finalized_lamports"] == SOL - SOL // 2
    ran = await run("claim")
    assert "nothing to claim" in ran.err

    # No worker is there: once the deadline has passed the fee is the client's again, and who watches is told so.
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(spec_for(dataset)))
    submitted = await run("task", "submit", spec, "--dataset", dataset, "--fee", 1_000, "--deadline", "+300")
    watching = ["task", "watch", submitted.json["task_id"], "--sequencer", url, "--json"]
    ran = await trio.to_thread.run_sync(lambda: pouw(*watching))
    told = [json.loads(line) for line in ran.out.splitlines()]
    assert (ran.code, [one["stage"] for one in told]) == (1, ["queued", "refunded"])
    seen = await trio.to_thread.run_sync(lambda: pouw("status", "--url", l1.url, "--sequencer", url, "--json"))
    assert (seen.json["healthy"], seen.json["sequencer"]["tasks"]["refunded"]) == (True, 1)
    assert [one["authority"] for one in seen.json["sequencer"]["validators"]] == [str(authority.pubkey())]
    await end(validator)
    await end(sequencer)


async def _receipt(pouw, task, sequencer):
    return await trio.to_thread.run_sync(lambda: pouw("receipt", "get", task, "--sequencer", sequencer))

"""The vectors of trees, state, batch and work; written by scripts/make_vectors.py."""

from __future__ import annotations

from typing import Any

from scripts.vector_notation import DOMAIN, members, one_set, record_vector
from settlement import merkle, spec, work
from settlement.ledger import TOTALS_KEY, Account, State, Task, TaskStatus, Totals, account_key, apply, batch, task_key
from settlement.records import Kind, Mode
from settlement.tags import U64_MAX
from tests.settlement import kit, scenario


def make_merkle() -> dict[str, Any]:
    trees = []
    for count in (*range(10), 16, 17, 31):
        leaves = [kit.filler(f"leaf {i}", 1 + 7 * i) for i in range(count)]
        proofs = [[sibling.hex() for sibling in merkle.proof(leaves, index)] for index in range(count)]
        trees.append(
            {
                "leaves": [leaf.hex() for leaf in leaves],
                "tree": merkle.tree_hash(leaves).hex(),
                "root": merkle.root("results-root", leaves).hex(),
                "proofs": proofs,
            }
        )
    return {"root_name": "results-root", "trees": trees}


def make_state() -> dict[str, Any]:
    task = Task(
        kit.node("client"),
        Kind.TRAINING,
        Mode.REPLAY,
        TaskStatus.REVEALED,
        1000,
        77,
        kit.node("worker"),
        kit.filler("commitment"),
        kit.RESULT_HASH,
        3,
        0b101,
        1 << 255,
    )
    many = State.empty().with_totals(Totals(10, 20, 30, 40)).with_task(kit.task_id("client", 0), task)
    states = [State.empty(), State.empty().with_account(Account(kit.public_key("client"), balance=5)), many]
    for index in range(16):
        many = many.with_account(Account(kit.public_key(f"account {index}"), *(index * 10 + i for i in range(6))))
    states.append(many.with_account(Account(kit.public_key("largest"), *[U64_MAX] * 6)))
    return {
        "keys": {
            "totals": TOTALS_KEY.hex(),
            "account": {"node": kit.node("client").hex(), "key": account_key(kit.node("client")).hex()},
            "task": {"task_id": kit.task_id("client", 0).hex(), "key": task_key(kit.task_id("client", 0)).hex()},
        },
        "states": [one_state(state) for state in states],
    }


def one_state(state: State) -> dict[str, Any]:
    return {
        "root": state.root.hex(),
        "leaves": [
            {
                "key": key.hex(),
                "kind": str(kind),
                "value": value.hex(),
                "siblings": [sibling.hex() for sibling in state.proof(key)[1]],
            }
            for key, kind, value in state.leaves()
        ],
    }


def make_batches() -> dict[str, Any]:
    epochs = [scenario.first()]
    for make in (scenario.second, scenario.third, scenario.fourth):
        epochs.append(make(epochs[-1]))
    return {
        **DOMAIN,
        "treasury": kit.TREASURY.hex(),
        "set": one_set(scenario.VALIDATORS, []),
        "epochs": [one_epoch(epoch) for epoch in epochs],
    }


def one_epoch(epoch: scenario.Epoch) -> dict[str, Any]:
    state, steps = epoch.parent.state, []
    for record, (_, authorisation) in zip(epoch.batch, batch.split(epoch.roots.data), strict=True):
        state = apply(state, record, epoch.context)
        steps.append(
            {**record_vector(record), "authorisation": authorisation.hex(), "state_root_after": state.root.hex()}
        )
    return {
        "base_slot": str(epoch.context.base_slot),
        "parent_state_root": epoch.parent.state.root.hex(),
        "parent_inbox_hash": epoch.parent.inbox_hash.hex(),
        "records": steps,
        "data": epoch.roots.data.hex(),
        "trace": [root.hex() for root in epoch.roots.trace],
        "message": members(epoch.message),
        "hash": epoch.message.hash(kit.DOMAIN).hex(),
        "leaves_after": one_state(state)["leaves"],
    }


SPEC: dict[str, Any] = {
    "version": 1,
    "kind": "training",
    "model_type": "mlp",
    "architecture": {"input_size": 64, "hidden_sizes": [128], "output_size": 10},
    "optimizer": {"type": "adam", "learning_rate": 0.001},
    "stopping_criterion": {"type": "max_epochs", "max_epochs": 50},
    "metrics": ["accuracy", "loss"],
    "dataset_info": {"sha256": "ab" * 32, "batch_size": 32, "size": 1797},
    "performance_requirements": {"gpu": False, "min_accuracy": 0.95},
    "mode": "replay",
    "seed": 1,
}


def make_work() -> dict[str, Any]:
    plan = spec.TrainingPlan.of(spec.parse(SPEC), 1437)
    entries = [
        work.WorkEntry(boundary, *hashes_at(boundary), loss=0.0 if boundary == 0 else 2.0**-number)
        for number, boundary in enumerate(plan.boundaries)
    ]
    environment = {"deviceClass": "cpu", "threads": 1, "torch": "2.9.0"}
    return {
        "spec": SPEC,
        "spec_hash": spec.spec_hash(SPEC).hex(),
        "train_rows": 1437,
        "boundaries": list(plan.boundaries),
        "entries": [{**members(entry), "entry": entry.encode().hex()} for entry in entries],
        "work_root": work.work_root(entries).hex(),
        "metrics": {"accuracy": 0.9722, "loss": 0.125, "hash": work.metrics_hash(0.9722, 0.125).hex()},
        "environment": {"value": environment, "hash": work.environment_hash(environment).hex()},
        "draws": [
            {"signature": kit.filler(f"signature {n}", 96).hex(), "intervals": n, "drawn": draw(n)}
            for n in (*range(1, 17), 40)
        ],
    }


def draw(intervals: int) -> list[int]:
    return spec.draw_intervals(kit.filler(f"signature {intervals}", 96), intervals)


def hashes_at(boundary: int) -> tuple[bytes, bytes, bytes, bytes]:
    """State, gradient, batch and model hash; before the first step there is no gradient and no batch."""
    state, model = kit.filler(f"state {boundary}"), kit.filler(f"model {boundary}")
    if boundary == 0:
        return state, bytes(32), bytes(32), model
    return state, kit.filler(f"gradient {boundary}"), kit.filler(f"batch {boundary}"), model

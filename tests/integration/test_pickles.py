"""Pickles run code when they are loaded. One comes as a dataset from a client, one as a model from a worker, to real processes: none is loaded."""

import ast
import pickle
import tomllib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from cli.demo import submit
from cli.demo_network import WORKER_STAKE_LAMPORTS, Network
from tests.docs.markdown import ROOT, blocks
from tests.integration.kit import (
    CLIENT_LAMPORTS,
    DATASET,
    DEADLINE_SLOTS,
    FEE_LAMPORTS,
    QUICK,
    client_of,
    get_task,
    has_account,
    log_of,
    running,
    submit_task,
    task,
    until,
)
from tests.integration.pickler import canary

ROOMS = ("settlement", "sequencer", "worker", "validator", "localnet", "cli", "bench", "scripts")
LOADERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
CALLS = {("torch", "load"), ("jit", "load"), ("hub", "load"), ("np", "load"), ("numpy", "load"), ("pd", "read_pickle")}


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    network = Network(tmp_path / "network", epoch_seconds=1.0, settings=QUICK)
    network.folder.mkdir(exist_ok=True)

    async def prepare() -> None:
        await network.start_l1()
        await network.prepare_sequencer()
        network.start(network.prepare_validator(0))
        network.start(network.prepare_worker(0))
        await network.set_up(1)
        await network.start_sequencer()

    with running(network, prepare):
        yield network


def prepare_pickler(network: Network, path: Path) -> str:
    name = network.prepare_worker(1)
    config = tomllib.loads((network.folder / f"{name}.toml").read_text())
    flags = {key: config[key] for key in ("url", "sequencer", "keypair", "data_dir", "program_id")}
    arguments = [part for key, value in flags.items() for part in (f"--{key.replace('_', '-')}", value)]
    bls = network.folder / "keys" / "validator-0.bls.json"
    pickler = ["-m", "tests.integration.pickler", "--canary", str(path), "--bls", str(bls)]
    network.nodes[name].arguments = [*pickler, *arguments]
    return name


async def test_no_process_loads_a_pickle(network: Network, tmp_path: Path) -> None:
    from_client, from_worker, twin = (tmp_path / name for name in ("from-client", "from-worker", "twin"))
    pickler = prepare_pickler(network, from_worker)
    keys = {name: network.nodes[name].keypair.pubkey() for name in ("worker-0", pickler)}
    await network.deposit(
        {network.client_keypair.pubkey(): CLIENT_LAMPORTS, **dict.fromkeys(keys.values(), WORKER_STAKE_LAMPORTS)}
    )
    async with client_of(network) as client:
        await until(network, "the client's deposit", lambda: has_account(client))
        blob = canary(from_client)
        spec = task(1)
        spec["dataset_info"]["sha256"] = sha256(blob).hexdigest()
        await client.put_blob(blob)
        await submit(client, spec, FEE_LAMPORTS, DEADLINE_SLOTS)

        async def refused() -> bool:
            return "safetensors" in str(log_of(network, "worker-0", "gave the task up"))

        await until(network, "the worker to refuse the dataset", refused)
        await network.kill("worker-0")

        await client.put_blob(DATASET)
        task_id = await submit_task(client, 2)
        network.start(pickler, {"CUDA_VISIBLE_DEVICES": ""})
        refutation = {"worker": str(keys[pickler]), "reason": "wrong_state"}

        async def rejected() -> bool:
            return refutation in (await get_task(client, task_id))["rejections"]

        await until(network, "the validator to refuse what it is to start from", rejected)
        judged = [entry["detail"] for entry in log_of(network, "validator-0", "judged")]
        assert "safetensors" in judged[-1], "it did open the pickle"
    assert not from_client.exists()
    assert not from_worker.exists()
    pickle.loads(canary(twin))  # noqa: S301 - the twin: where a pickle is loaded, its canary sings
    assert twin.exists()


def sources() -> dict[str, str]:
    """All Python that is run or shown: the rooms' modules and the documents' snippets."""
    found = {
        str(path.relative_to(ROOT)): path.read_text() for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))
    }
    for document in sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]):
        name = str(document.relative_to(ROOT))
        for number, block in enumerate(blocks(name)):
            if block.language in ("python", "py"):
                found[f"{name}, snippet {number}"] = block.text
    return found


def loaders(source: str) -> list[str]:
    """What in this source would load a pickle."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in LOADERS]
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")
            found += [
                f"{node.module}.{alias.name}"
                for alias in node.names
                if module[0] in LOADERS or (module[0] != "safetensors" and (module[-1], alias.name) in CALLS)
            ]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            dotted = ast.unparse(node).split(".")
            found += [".".join(dotted)] if tuple(dotted[-2:]) in CALLS and dotted[0] != "safetensors" else []
        elif isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "weights_only"):
            found.append(node.arg)
    return found


def test_nothing_in_the_sources_or_the_documents_loads_pickles() -> None:
    read = sources()
    assert len(read) > 100
    assert {name: loads for name, text in read.items() if (loads := loaders(text))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import torch\ntorch.load('x')",
        "from torch import load",
        "import torch.jit as j\nimport torch\ntorch.jit.load('x')",
        "import numpy as np\nnp.load('x')",
        "f(x, allow_pickle=True)",
        "import joblib.externals",
    ],
)
def test_a_loader_would_be_found(source: str) -> None:
    assert loaders(source)

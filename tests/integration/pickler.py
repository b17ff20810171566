"""A worker that hands in a pickle for its model and for the state before the last interval, which every validator replays:

    python -m tests.integration.pickler --canary PATH --bls KEYFILE …

Who unpickles it makes the folder PATH. It trains anew until the validator of that key does not draw the interval before the pickled state, at
whose end it would stop without having opened the pickle. The other flags are those of tests.liars.
"""

import argparse
import os
import pickle
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import worker.loop
from settlement import messages
from settlement.bls import SecretKey
from settlement.keys import read_bls_secret
from tests import liars
from validator import claim
from worker.client import Lease
from worker.job import Execute, Job, Trained
from worker.journal import Entry


class Canary:
    """Its pickle makes the folder when it is loaded."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.makedirs, (self.path, 0o777, True)


def canary(path: Path) -> bytes:
    return pickle.dumps(Canary(str(path)))


def pickled_model(path: Path) -> liars.Lie:
    async def lie(job: Job, honest: Execute) -> Trained:
        trained = await honest(job)
        data = canary(path)
        name, file = sha256(data).digest(), job.folder / "pickle"
        file.write_bytes(data)
        before, last = replace(trained.entries[-2], state_hash=name), replace(trained.entries[-1], model_hash=name)
        return replace(
            trained, entries=(*trained.entries[:-2], before, last), files={**trained.files, name: file}, model_hash=name
        )

    return lie


def make_sure(secret: SecretKey) -> None:
    seal = worker.loop._Worker._seal

    async def sealed(self: worker.loop._Worker, lease: Lease) -> Entry:
        while True:
            entry = await seal(self, lease)
            entries = entry.trained.entries
            digest = messages.sample_digest(entry.task_id, entry.commitment)
            if len(entries) - 3 not in claim.sample(secret.sign(digest), entries, ()):
                return entry

    worker.loop._Worker._seal = sealed  # type: ignore[method-assign]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--canary", type=Path, required=True)
    parser.add_argument("--bls", type=Path, required=True)
    ours, others = parser.parse_known_args()
    make_sure(SecretKey.from_bytes(read_bls_secret(ours.bls)))
    liars.LIES["pickled_model"] = pickled_model(ours.canary)
    liars.main([*others, "--mode", "pickled_model"])

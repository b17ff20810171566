"""A liar luckier than any real one, for tests: it names an altered state in the middle, and trains anew until exactly one validator's sample
meets it. It can know that only because it is given all validators' BLS keys. Arguments: `--bls KEYFILE …` and then those of tests.liars.

So the result is rejected only if the one that finds the lie is believed: the others must replay what it disputes.
"""

import argparse
import json
from pathlib import Path

import worker.loop
from settlement import messages
from settlement.bls import SecretKey
from settlement.keys import read_bls_secret
from tests import liars
from validator import claim
from worker.client import Lease
from worker.journal import Entry

TRIES = 100


def finders(entry: Entry, secrets: list[SecretKey]) -> list[int]:
    """Whose samples meet the altered state: those that end in it or start from it."""
    entries = entry.trained.entries
    middle = len(entries) // 2
    digest = messages.sample_digest(entry.task_id, entry.commitment)
    return [
        index
        for index, secret in enumerate(secrets)
        if {middle - 1, middle} & set(claim.sample(secret.sign(digest), entries, ()))
    ]


def make_lucky(secrets: list[SecretKey]) -> None:
    seal = worker.loop._Worker._seal

    async def sealed(self: worker.loop._Worker, lease: Lease) -> Entry:
        for _ in range(TRIES):
            entry = await seal(self, lease)
            found = finders(entry, secrets)
            if len(found) == 1:
                print(json.dumps({"event": "lucky", "finder": found[0]}), flush=True)
                return entry
        raise AssertionError(f"no luck in {TRIES} tries")

    worker.loop._Worker._seal = sealed  # type: ignore[method-assign]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bls", type=Path, nargs="+", required=True)
    ours, others = parser.parse_known_args()
    make_lucky([SecretKey.from_bytes(read_bls_secret(path)) for path in ours.bls])
    liars.main(others)

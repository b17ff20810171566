"""The vectors of steps and their witnesses (docs/protocol.md, section 12); written by scripts/make_vectors.py.

    ./run python -m scripts.transition_vectors SEED COUNT FILE

writes COUNT random steps, and as many tampered ones, to hold the two implementations together far beyond the committed file
(`just ledger-differential`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scripts.vector_notation import DOMAIN
from settlement.ledger import witness
from tests.settlement import bad_witnesses, exact_steps, random_steps, steps
from tests.settlement.steps import Step

RANDOM_STEPS = 12


def make_transitions() -> dict[str, Any]:
    rejections = [made for _, made in (*steps.every_rejection(), *exact_steps.rejections())]
    named = [
        *steps.every_rule(),
        *steps.forced(),
        *exact_steps.taken(),
        exact_steps.crowd(),
        *rejections,
        *steps.splits(),
        *(lie for _, lie in steps.lies()),
        steps.deep(4, 8),
    ]
    named += [bad for _, bad in bad_witnesses.everything()]
    return notation([*named, *random_steps.steps(1, RANDOM_STEPS)])


def notation(made: Iterable[Step]) -> dict[str, Any]:
    """Contexts are listed once. An outcome is "honest", "wrong root", {record, rejection}, or a fault of the witness."""
    contexts: list[dict[str, Any]] = []
    cases = []
    for one in made:
        context = {
            "epoch": str(one.context.epoch),
            "base_slot": str(one.context.base_slot),
            "treasury": one.context.treasury.hex(),
            "entries": [entry.encode().hex() for entry in one.context.validator_set.entries],
        }
        if context not in contexts:
            contexts.append(context)
        cases.append(
            {
                "name": one.name,
                "context": contexts.index(context),
                "before": one.before.hex(),
                "after": one.after.hex(),
                "records": one.records.hex(),
                "witness": one.witness.hex(),
                "outcome": outcome(one),
            }
        )
    return {**DOMAIN, "contexts": contexts, "cases": cases}


def outcome(one: Step) -> Any:
    verdict = one.judge()
    match verdict:
        case witness.Honest():
            return "honest"
        case witness.WrongRoot():
            return "wrong root"
        case witness.Rejected(record, code):
            return {"record": record, "rejection": int(code)}
    return {"fault": int(verdict)}


def main(arguments: list[str]) -> int:
    try:
        seed_text, count_text, path_text = arguments
        seed, count, path = int(seed_text), int(count_text), Path(path_text)
    except ValueError:
        print("usage: ./run python -m scripts.transition_vectors SEED COUNT FILE", file=sys.stderr)
        return 2
    path.write_text(json.dumps(notation(random_steps.steps(seed, count))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

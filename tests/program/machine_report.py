"""The machine by hand, as long as one likes: ``./run python -m tests.program.machine_report --steps 200000 --seed 1 --processes 2``.

Prints how often each instruction was tried and went through, which errors were seen, and of those that were not why.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from settlement import idl
from tests.program.machine_actions import ACTIONS
from tests.program.machine_run import long_run
from tests.program.machine_unseen import NEVER_SEEN, SELDOM_SEEN
from tests.program.machine_world import Tally


def run(seed: int, steps: int, out: str | None) -> Tally:
    """`out`: a file to which each episode's tally is added as a line."""

    def progress(done: int, tally: Tally) -> None:
        print(f"seed {seed}: {done} steps", file=sys.stderr, flush=True)
        if out is not None:
            with open(out, "a") as file:
                file.write(json.dumps(vars(tally)) + "\n")

    return long_run(seed, steps, progress)


def added_up(path: str) -> Tally:
    """The tallies in a file that `run` wrote."""
    total = Tally()
    for line in Path(path).read_text().splitlines():
        one = json.loads(line)
        errors = Counter({int(code): times for code, times in one["errors"].items()})
        total.add(Tally(Counter(one["attempts"]), Counter(one["successes"]), errors, one["steps"]))
    return total


def report(total: Tally, seconds: float) -> dict[str, object]:
    errors = idl.committed().errors
    per_instruction = {name: {"attempts": total.attempts[name], "successes": total.successes[name]} for name in ACTIONS}
    return {
        "steps": total.steps,
        "seconds": round(seconds),
        "instructions": per_instruction,
        "errors": {f"{code} {errors[code].name}": count for code, count in sorted(total.errors.items()) if code},
        "refused by runtime or Anchor": total.errors[0],
        "never seen": {
            f"{code} {errors[code].name}": {**NEVER_SEEN, **SELDOM_SEEN}.get(errors[code].name, "")
            for code in sorted(errors)
            if not total.errors[code]
        },
    }


def text(found: dict[str, object]) -> str:
    instructions, errors, never = found["instructions"], found["errors"], found["never seen"]
    assert isinstance(instructions, dict) and isinstance(errors, dict) and isinstance(never, dict)
    lines = [
        f"{found['steps']} steps, {found['seconds']} s",
        "",
        "| instruction | attempts | successes | share |",
        "|---|---|---|---|",
    ]
    for name, one in instructions.items():
        share = 100 * one["successes"] // max(1, one["attempts"])
        lines.append(f"| {name} | {one['attempts']:,} | {one['successes']:,} | {share} % |")
    lines += [
        "",
        f"{len(errors)} of {len(errors) + len(never)} errors seen, beside those of Anchor and the runtime:",
        "",
    ]
    lines.append(", ".join(f"{name} {count}" for name, count in errors.items()))
    lines += ["", "| never seen | because |", "|---|---|"]
    lines += [f"| {name} | {reason or 'nobody knows yet'} |" for name, reason in never.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", help="a file to which each episode adds its tally, for --sum")
    parser.add_argument("--sum", help="run nothing: report what runs have written to this file")
    parser.add_argument("--record", action="store_true", help="add the errors seen to tests/program/machine_seen.json")
    args = parser.parse_args()
    started, total = time.monotonic(), Tally()
    if args.sum:
        total = added_up(args.sum)
    else:
        share = -(-args.steps // args.processes)
        with ProcessPoolExecutor(args.processes) as pool:
            seeds = [args.seed * 1_009 + number for number in range(args.processes)]
            for tally in pool.map(run, seeds, [share] * args.processes, [args.out] * args.processes):
                total.add(tally)
    if args.record:
        file = Path(__file__).parent / "machine_seen.json"
        names = {idl.committed().errors[code].name for code in total.errors if code}
        names |= {spec.name for spec in idl.committed().errors.values()} & set(json.loads(file.read_text()))
        file.write_text(json.dumps(sorted(names), indent=2) + "\n")
    found = report(total, time.monotonic() - started)
    print(json.dumps(found, indent=2) if args.json else text(found))
    rare = [name for name, one in Counter(total.successes).items() if one < 100]
    print(f"instructions with fewer than 100 successes: {rare or 'none'}", file=sys.stderr)


if __name__ == "__main__":
    main()

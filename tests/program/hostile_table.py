"""How many mutations of each instruction are refused, by class: `./run python -m tests.program.hostile_table`.

`+n` counts those that are accepted, for the reasons that are printed below the table.
"""

from __future__ import annotations

import sys
from collections import Counter

from tests.program.hostile_accepted import ACCEPTED, EVERYWHERE
from tests.program.hostile_kit import CLASSES, Story
from tests.program.hostile_stories import STORIES


def main() -> int:
    """Exit code 0, or 1 when something is accepted without a reason."""
    width = max(map(len, STORIES))
    print(" " * width, *(f"{attack:>9}" for attack in CLASSES))
    reasons: dict[tuple[str, str, str], str] = {}
    total = 0
    for name in STORIES:
        refused: Counter[str] = Counter()
        accepted: Counter[str] = Counter()
        for outcome in Story.of(name).outcomes():
            mutation = outcome.mutation
            total += 1
            if outcome.refused_with is not None:
                refused[mutation.attack] += 1
                continue
            accepted[mutation.attack] += 1
            if mutation.attack in EVERYWHERE:
                continue
            key = name, mutation.attack, mutation.account
            reasons[key] = ACCEPTED.get(key, "NO REASON")
        cells = (_cell(refused[attack], accepted[attack]) for attack in CLASSES)
        print(f"{name:<{width}}", *(f"{cell:>9}" for cell in cells))
    print(f"\n{total:,} mutations of {len(STORIES)} instructions. Classes:")
    for attack, meaning in CLASSES.items():
        print(f"  {attack:<9} {meaning}")
    print("\nAccepted:")
    for attack, reason in EVERYWHERE.items():
        print(f"  every instruction, {attack}: {reason}")
    for (name, attack, account), reason in reasons.items():
        print(f"  {name}, {account}, {attack}: {reason}")
    return int("NO REASON" in reasons.values())


def _cell(refused: int, accepted: int) -> str:
    if not refused and not accepted:
        return "-"
    return f"{refused}+{accepted}" if accepted else str(refused)


if __name__ == "__main__":
    sys.exit(main())

"""docs/security.md names the attacks and tests that there are."""

from __future__ import annotations

import re

from tests.docs.markdown import ROOT
from tests.program.twins import ATTACKS

DOCUMENT = (ROOT / "docs" / "security.md").read_text()


def rows(heading: str) -> list[list[str]]:
    below = re.split(r"\n## ", DOCUMENT.split(f"\n## {heading}\n")[1])[0]
    lines = [line for line in below.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_attack_is_told() -> None:
    assert rows("In the program") == [[one.name, one.protection, f"`{one.refused_with}`"] for one in ATTACKS]


def test_every_test_that_is_named_is_there() -> None:
    """A name without a file is of the file named before it."""
    module, found = "", 0
    for named in re.findall(r"`((?:tests/\S+\.py)|(?:test_\w+))`", DOCUMENT):
        if named.endswith(".py"):
            module = named
            assert (ROOT / module).is_file(), module
        else:
            assert re.search(rf"^(async )?def {named}\(", (ROOT / module).read_text(), re.MULTILINE), (
                f"{module}: {named}"
            )
            found += 1
    assert found > 15


def test_every_class_has_its_twin_or_none() -> None:
    names = {one.name for one in ATTACKS}
    twins = {attack for _, _, attack in rows("The classes of sealevel-attacks")}
    assert twins - {"–"} <= names
    for _, _, with_it, without_it in rows("Elsewhere"):
        for quoted in re.findall(r'"([^"]+)"', with_it + without_it):
            assert quoted in {one.protection for one in ATTACKS}

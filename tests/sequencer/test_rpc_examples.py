"""docs/rpc-examples.md shows one call of every method, exactly as a node answers it."""

from __future__ import annotations

from pathlib import Path

from tests.sequencer.rpc_examples import record, render

EXAMPLES = Path(__file__).parents[2] / "docs" / "rpc-examples.md"
AGAIN = "make it anew: ./run python -m tests.sequencer.rpc_examples > docs/rpc-examples.md"


async def test_the_examples_are_what_a_node_answers(tmp_path: Path) -> None:
    assert EXAMPLES.read_text() == render(await record(tmp_path)), AGAIN

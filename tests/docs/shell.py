"""A shell that a document's commands are pasted into: in a folder of its own, away from the machine's settings, gone afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.process_group import ended_with_us

LIMIT_SECONDS = 600


@contextmanager
def pasting(folder: Path, environment: Mapping[str, str]) -> Iterator[Callable[[str], tuple[int, str]]]:
    """Runs scripts in `folder`, which is HOME too: their exit code and all that they print. Each has a process group, and none outlives
    the `with`, even when this process is killed."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("POUW_")}
    ours |= {"POUW_VENV": str(Path(sys.prefix)), "HOME": str(folder), **environment}
    with ExitStack() as started:

        def run(script: str) -> tuple[int, str]:
            process = subprocess.Popen(
                ["bash", "-e", "-u", "-o", "pipefail", "-c", script],
                cwd=folder,
                env=ours,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            started.enter_context(ended_with_us(process))
            out, _ = process.communicate(timeout=LIMIT_SECONDS)
            return process.returncode, out

        yield run


def logs(folder: Path) -> str:
    """The end of each log file in it."""
    return "\n".join(f"--- {path.name}\n{path.read_text()[-1500:]}" for path in sorted(folder.glob("*.log")))

"""The settlement program built with the feature cu-log, for splitting a total and for nothing else. Kept under target/, by what it was
built from, so that the build of some minutes runs once. Installs nothing.

    ./run python -m bench.feature_build FILE     keeps FILE, which COMMAND has just built of these sources in another folder
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.console import note
from settlement import idl

FEATURE = "cu-log"
ROOT = Path(__file__).resolve().parent.parent
CRATE = ROOT / "programs" / "settlement"
SCRIPTS = ROOT / "scripts"
CACHE = ROOT / "target" / FEATURE
COMMAND = f"scripts/program_build.sh --features {FEATURE}"

# The versions are those that scripts/program_tools.sh pins.
_TOOLS_ARE_THERE = """
source "$1/program_tools.sh"
tools=${POUW_TOOLS:-$HOME/.cache/pouw-tools}
[ -z "$(missing_packages)" ] &&
  [ "$(/usr/bin/rustc --version | cut -d' ' -f2)" = "$rust_version" ] &&
  [[ $("$tools/bin/sbpf-linker" --version) == *" $linker_version"* ]]
"""


class CompilerMissing(Exception):
    """The program's compiler is not on this machine; the message names what installs it."""


class BuildFailed(Exception):
    """The build failed; the message ends with the compiler's own."""


def compiler_is_installed() -> bool:
    check = ["bash", "-c", _TOOLS_ARE_THERE, "bash", str(SCRIPTS)]
    return subprocess.run(check, capture_output=True, check=False).returncode == 0


def sources_digest() -> str:
    """Hex sha256 over names and contents of all that goes into the build."""
    digest = hashlib.sha256(str(idl.committed().address).encode())
    for path in _sources():
        content = path.read_bytes()
        digest.update(f"\n{path.relative_to(ROOT)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def program(digest: str) -> Path:
    """The .so for the sources of that digest, for the committed program id. Builds it where it is not there yet.

    Raises CompilerMissing, or BuildFailed.
    """
    built = _place(digest)
    if built.exists():
        return built
    if not compiler_is_installed():
        raise CompilerMissing(
            "the compiler of the program is not installed, so totals are not split into hash, keys and pairing; "
            "scripts/install_tools.sh installs it"
        )
    note(f"building the program with the feature {FEATURE} (once; some minutes)")
    unfinished = built.with_suffix(f".{os.getpid()}")
    # A target folder of its own: a build in the usual one would leave this program where the shipped one is expected.
    environment = os.environ | {"POUW_BUILD_DIR": str(CACHE / "build")}
    command = [str(SCRIPTS / "program_build.sh"), "--features", FEATURE, "--id", str(idl.committed().address)]
    done = subprocess.run(
        [*command, "-o", str(unfinished)], env=environment, capture_output=True, text=True, check=False
    )
    try:
        if done.returncode != 0:
            raise BuildFailed(f"{COMMAND} failed with exit code {done.returncode}:\n{done.stderr.strip()}")
        if sources_digest() != digest:
            raise BuildFailed(f"the sources changed during {COMMAND}; run the benchmark again")
        unfinished.replace(built)
    finally:
        unfinished.unlink(missing_ok=True)
    return built


def keep(file: Path) -> Path:
    """Takes over a build of the present sources; where it is now."""
    built = _place(sources_digest())
    built.parent.mkdir(parents=True, exist_ok=True)
    unfinished = built.with_suffix(f".{os.getpid()}")
    shutil.copyfile(file, unfinished)
    return unfinished.replace(built)


def _place(digest: str) -> Path:
    return CACHE / digest[:16] / "settlement.so"


def _sources() -> Iterator[Path]:
    yield from sorted(path for folder in ("src", "sbf") for path in (CRATE / folder).rglob("*") if path.is_file())
    yield from (CRATE / name for name in ("Cargo.toml", "Cargo.lock", "build.rs"))
    yield from (SCRIPTS / name for name in ("program_build.sh", "program_tools.sh"))


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        sys.exit(
            f"usage: ./run python -m bench.feature_build FILE, a program that {COMMAND} has built of these sources"
        )
    note(f"kept as {keep(Path(sys.argv[1]))}")

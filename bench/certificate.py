"""What verifying a certificate on L1 costs: `./run python -m bench.certificate [--json]`.

Sets of 4, 64 and 256 validators, nobody and a third of them absent. Each row is a deployment of its own in a LiteSVM: validators are
registered by real instructions with real proofs of possession, a set is sealed, a deposit made, and epoch 1 posted with a real
certificate. Totals are of the committed program; the split into hash, keys and pairing is of a build with the feature cu-log.
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from solders.pubkey import Pubkey

from bench import feature_build, phases
from bench.console import note, print_json, print_table
from bench.feature_build import BuildFailed, CompilerMissing
from settlement import idl
from settlement.accounts import MAX_VALIDATORS
from tests.program.kit import Chain, validator

SET_SIZES = (4, 64, 256)
BENEFICIARY = Pubkey(b"\x05" * 32)
DEPOSIT_LAMPORTS = 1_000_000

# SIMD-0388's prices: the first pair 25,445 and each further 13,023; a subtraction in G1 129; decompressing a point of G2 3,050, adding two
# 203 and subtracting 204. Clearing the cofactor takes 63 doublings and 5 additions for a multiple, and 7 operations beside it.
PAIRING_FLOOR_CU = 25_445 + 13_023
SUBTRACTION_CU = 129
DECOMPRESSION_CU = 3_050
COFACTOR_CU = (63 + 5 + 4) * 203 + 3 * 204
# Two builds that differ in their marks alone may be laid out a little differently.
SAME_CODE_CU = 100


@dataclass(frozen=True)
class Post:
    """One post of epoch 1, accepted."""

    total_cu: int
    transaction_bytes: int
    logs: Sequence[str]


@dataclass(frozen=True)
class Row:
    set_size: int
    absent: int
    total_cu: int
    transaction_bytes: int
    split: phases.Split | None
    # What the feature build's post costs more than the committed program's once its marks are taken off.
    difference_cu: int | None

    @property
    def keys_floor_cu(self) -> int:
        return self.absent * SUBTRACTION_CU

    @property
    def floor_cu(self) -> int:
        """The prices of the curve's syscalls alone; the field arithmetic of the hash comes on top."""
        return COFACTOR_CU + DECOMPRESSION_CU + self.keys_floor_cu + PAIRING_FLOOR_CU

    def to_json(self) -> dict[str, int | None]:
        split = self.split
        return {
            "set_size": self.set_size,
            "absent": self.absent,
            "hash_to_g2_cu": None if split is None else split.hash_to_g2_cu,
            "keys_cu": None if split is None else split.keys_cu,
            "pairing_cu": None if split is None else split.pairing_cu,
            "total_cu": self.total_cu,
            "floor_cu": self.floor_cu,
            "transaction_bytes": self.transaction_bytes,
        }


def post(set_size: int, absent: int, elf: Path | None = None) -> Post:
    """Brings a deployment of `set_size` validators up and posts epoch 1, signed by all but the last `absent` of them.

    `elf`: the program; the committed one by default. Raises AssertionError with the program's error when L1 refuses anything.
    """
    chain = Chain.new(elf=elf).bring_up(validator(seed) for seed in range(set_size))
    chain.deposit(DEPOSIT_LAMPORTS, BENEFICIARY)
    chain.advance(1)
    message = chain.message(payable_total=DEPOSIT_LAMPORTS)
    posting = chain.posting(chain.certificate(message, range(set_size - absent)))
    size = len(bytes(chain.transaction([posting], [], chain.payer)))
    done = chain.send(posting)
    return Post(done.compute_units_consumed(), size, done.logs())


def measure(set_size: int, absent: int, feature_elf: Path | None) -> Row:
    """One row; without a split when there is no `feature_elf`."""
    committed = post(set_size, absent)
    if feature_elf is None:
        return Row(set_size, absent, committed.total_cu, committed.transaction_bytes, None, None)
    marked = post(set_size, absent, feature_elf)
    unmarked_cu = marked.total_cu - len(phases.marks(marked.logs)) * phases.MARK_CU
    return Row(
        set_size,
        absent,
        committed.total_cu,
        committed.transaction_bytes,
        phases.split(marked.logs),
        unmarked_cu - committed.total_cu,
    )


def split_source(digest: str, rows: Sequence[Row]) -> str | None:
    """Where the split comes from, and how far that program is from the committed one."""
    differences = [row.difference_cu for row in rows if row.difference_cu is not None]
    if not differences:
        return None
    largest = max(differences, key=abs)
    return (
        f"a build of programs/settlement (sources {digest[:16]}) by {feature_build.COMMAND}, less {phases.MARK_CU} CU a mark; "
        f"its whole post then costs {largest:+,} CU against the committed program's"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 1 when the feature build fails."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parsed = _parser().parse_args(arguments)
    digest = feature_build.sources_digest()
    feature_elf = None
    try:
        feature_elf = feature_build.program(digest)
    except CompilerMissing as missing:
        note(f"note: {missing}")
    except BuildFailed as failed:
        note(f"error: {failed}")
        return 1
    rows = []
    for set_size in parsed.set_size or SET_SIZES:
        for absent in (0, set_size // 3):
            note(f"registering {set_size} validators, sealing their set, posting with {absent} absent")
            rows.append(measure(set_size, absent, feature_elf))
    source = split_source(digest, rows)
    if any(abs(row.difference_cu or 0) > SAME_CODE_CU for row in rows):
        note(
            "warning: settlement/artifacts/settlement.so is not of these sources, so total and split are of different programs"
        )
    if parsed.json:
        print_json({"made_by": _command(arguments), "rows": [row.to_json() for row in rows], "split_from": source})
    else:
        _print_table(rows, source, arguments)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.certificate", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")
    parser.add_argument(
        "--set-size",
        type=_set_size,
        action="append",
        metavar="N",
        help=f"a set of N validators, 1 to {MAX_VALIDATORS}; may be repeated (default: {', '.join(map(str, SET_SIZES))})",
    )
    return parser


def _set_size(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_VALIDATORS:
        raise argparse.ArgumentTypeError(f"a set has 1 to {MAX_VALIDATORS} validators, not {text!r}")
    return int(text)


def _command(arguments: Sequence[str]) -> str:
    return shlex.join(["./run", "python", "-m", "bench.certificate", *arguments])


def _print_table(rows: Sequence[Row], source: str | None, arguments: Sequence[str]) -> None:
    columns = ("validators", "absent", "hash to G2", "keys", "pairing", "whole post", "floor", "bytes")
    cells = []
    for row in rows:
        shown = row.to_json()
        split = (shown["hash_to_g2_cu"], shown["keys_cu"], shown["pairing_cu"])
        cells.append((row.set_size, row.absent, *split, row.total_cu, row.floor_cu, row.transaction_bytes))
    elf = idl.PROGRAM_PATH.read_bytes()
    notes = [
        f"Made by `{_command(arguments)}`. Compute units (CU), which depend on the program and the "
        "runtime, not on the machine.",
        f"Whole post: the transaction that posts epoch 1, on the committed program (sha256 {hashlib.sha256(elf).hexdigest()[:16]}). "
        "Bytes: its size; 1,232 is the limit.",
        f"Hash, keys, pairing: {source}."
        if source
        else "Hash, keys, pairing: not measured, since they take a build of the program.",
        f"Floor: what L1 asks for the curve's syscalls alone: two pairings {PAIRING_FLOOR_CU:,}, decompressing the signature "
        f"{DECOMPRESSION_CU:,}, clearing the cofactor {COFACTOR_CU:,}, {SUBTRACTION_CU} for each absent key.",
        "The hash varies by some thousand with the message, which names the set; it depends neither on the set's size nor on who is absent.",
    ]
    print_table(columns, cells, notes)


if __name__ == "__main__":
    sys.exit(main())

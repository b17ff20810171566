"""What every instruction of the settlement program costs: `./run python -m bench.settlement [--json | --record]`.

Real transactions on the committed program in LiteSVM, in the usual case and in the dearest ones. Keys, messages and slots are fixed, so a
second run gives the same figures. `--record` writes them to tests/program/compute_units.json and, as a table, to docs/costs.md, which a
test compares with the program; it refuses a figure that grew by more than 5 % unless `--accept-growth` says that this is meant.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.transaction_metadata import FailedTransactionMetadata

from bench import certificate
from bench.console import note, print_json
from settlement import idl, instructions, pda, slash_instructions
from settlement.accounts import LOCALNET_PROFILE, MAX_VALIDATORS, CheckpointStatus
from tests.program import slash_kit
from tests.program.hostile_stories import STORIES
from tests.program.kit import GENESIS, SOL, Chain, error_name, instruction_name, validator
from tests.program.test_claims import account, claiming, fill_buffer, owing, path

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "tests" / "program" / "compute_units.json"
DOCUMENT = ROOT / "docs" / "costs.md"
COMMAND = "./run python -m bench.settlement"
RECORD_COMMAND = f"{COMMAND} --record"
BEGIN, END = "<!-- begin: bench.settlement -->\n", "<!-- end: bench.settlement -->\n"
LARGEST_GROWTH_PERCENT = 5
SET_SIZES = (4, 64, MAX_VALIDATORS)
# Siblings that a claim carries inline at most, and the longest path there is.
INLINE_SIBLINGS, LONGEST_PATH = 20, 256


@dataclass(frozen=True)
class Cost:
    """One accepted transaction with one instruction beside the two of the compute budget."""

    instruction: str
    case: str
    compute_units: int
    transaction_bytes: int

    @property
    def name(self) -> str:
        return f"{self.instruction}: {self.case}" if self.case else self.instruction


def measure() -> list[Cost]:
    """Every instruction in each of its cases, in the program's order. Raises AssertionError when L1 refuses one."""
    found = [*_setting_up(), *_sets_and_posts(), *_money(), *_slashing_and_rewards()]
    order = idl.committed().instruction_names
    found += _usual(set(order) - {cost.instruction for cost in found})
    return sorted(found, key=lambda cost: list(order).index(cost.instruction))


def _try(
    chain: Chain, case: str, instruction: Instruction, signers: Sequence[Keypair] = (), payer: Keypair | None = None
) -> Cost:
    """What the instruction would cost now; changes nothing."""
    transaction = chain.transaction([instruction], signers, payer or chain.payer)
    done = chain.svm.simulate_transaction(transaction)
    if isinstance(done, FailedTransactionMetadata):
        raise AssertionError(f"{case or 'the instruction'} was refused with {error_name(done)}")
    name = instruction_name(instruction)
    assert name is not None
    return Cost(name, case, done.meta().compute_units_consumed(), len(bytes(transaction)))


def _setting_up() -> Iterator[Cost]:
    chain = Chain.new()
    program, payer = chain.program_id, chain.payer.pubkey()
    built = instructions.initialize(program, payer, chain.authority.pubkey(), GENESIS, LOCALNET_PROFILE)
    yield _try(chain, "", built, [chain.authority])
    chain.initialize()
    yield _try(chain, "by 10,240 bytes", instructions.grow_registry(program, payer))


def _sets_and_posts() -> Iterator[Cost]:
    """The same deployments and certificates as bench.certificate's."""
    for size in SET_SIZES:
        chain = Chain.new()
        chain.initialize()
        chain.grow_registry()
        for seed in range(size - 1):
            chain.register(validator(seed))
        last = validator(size - 1)
        yield _try(chain, f"validator {size}", chain.registration(last), [last.authority])
        chain.register(last)
        program, payer, authority = chain.program_id, chain.payer.pubkey(), chain.authority
        if size == MAX_VALIDATORS:
            yield _try(chain, "", instructions.create_validator_set(program, payer, 1))
            chain.create_set(1)
            yield _try(chain, "by 10,240 bytes", instructions.grow_validator_set(program, payer, 1))
            while chain.set_account(1).size_bytes < chain.set_account(1).full_bytes:
                chain.grow_set(1)
        else:
            chain.create_set(1)
        sealing = instructions.advance_validator_set(program, authority.pubkey(), 1)
        yield _try(chain, f"{size} validators", sealing, payer=authority)
        chain.advance_set(1)
        chain.deposit(certificate.DEPOSIT_LAMPORTS, certificate.BENEFICIARY)
        chain.advance(1)
        message = chain.message(payable_total=certificate.DEPOSIT_LAMPORTS)
        for absent in (0, size // 3):
            posting = chain.posting(chain.certificate(message, range(size - absent)))
            yield _try(chain, post_case(size, absent), posting)


def post_case(set_size: int, absent: int) -> str:
    return f"{set_size} validators, {absent} absent"


def _money() -> Iterator[Cost]:
    chain = Chain.new().bring_up(validator(seed) for seed in range(SET_SIZES[0]))
    program, payer = chain.program_id, chain.payer.pubkey()
    depositing = instructions.deposit(program, payer, 0, certificate.DEPOSIT_LAMPORTS, certificate.BENEFICIARY)
    yield _try(chain, "", depositing)
    chain.advance(1)
    yield _try(chain, "4 validators, empty inbox", chain.posting(chain.certificate(chain.message())))
    for _ in range(2):
        chain.deposit(certificate.DEPOSIT_LAMPORTS, certificate.BENEFICIARY)
    message = chain.message(inbox_cursor=1)
    yield _try(chain, "4 validators, an entry taken and one left", chain.posting(chain.certificate(message)))
    chain.post()
    chain.advance(chain.config.parameters.challenge_window_slots + 1)
    yield _try(chain, "", instructions.finalize_checkpoint(program, payer, 1, payer))
    chain.finalize(1)

    yield _try(chain, "8,192 bytes", instructions.create_proof_buffer(program, payer, 1, 8_192))
    fill_buffer(chain, path(LONGEST_PATH), 1)
    part = b"".join(path(25))
    yield _try(chain, f"{len(part)} bytes", instructions.write_proof_buffer(program, payer, 1, 0, part))
    yield _try(chain, "", instructions.close_proof_buffer(program, payer, 1))

    for seed, siblings in enumerate((0, INLINE_SIBLINGS, 64, LONGEST_PATH)):
        yield from _claims(seed, siblings)


def _claims(seed: int, siblings: int) -> Iterator[Cost]:
    """The first claim, which creates the account that remembers it, and a later one; siblings inline, or from a buffer where they do not fit."""
    chain = Chain.new().bring_up(validator(seed) for seed in range(SET_SIZES[0]))
    inline = path(siblings) if siblings <= INLINE_SIBLINGS else []
    case = f"{siblings} siblings" if siblings == len(inline) else f"{siblings} siblings from a buffer"
    buffer = None if siblings == len(inline) else fill_buffer(chain, path(siblings))
    for lamports, suffix in ((SOL, ""), (2 * SOL, ", a later claim")):
        owner = account(lamports, seed)
        owing(chain, owner, path(siblings))
        claim = claiming(chain, owner, inline, buffer)
        yield _try(chain, case + suffix, claim)
        if siblings != INLINE_SIBLINGS:
            return
        chain.send(claim)


def _slashing_and_rewards() -> Iterator[Cost]:
    for size in (SET_SIZES[0], MAX_VALIDATORS):
        chain = Chain.new().bring_up(validator(seed) for seed in range(size))
        program, payer, case = chain.program_id, chain.payer.pubkey(), f"{size} validators"
        chain.svm.airdrop(pda.treasury(program), SOL)
        quorum = range(size - size // 3)
        late = range(size - size // 3, size)
        message = chain.post(quorum)
        digest, bits = message.hash(chain.domain), sum(1 << index for index in late)
        signature = slash_kit.signature(chain, message, late)
        adding = slash_instructions.add_signatures(program, payer, 1, 1, digest, bits, signature)
        yield _try(chain, f"{case}, {len(late)} late", adding)
        if size == SET_SIZES[0]:
            yield from _slashing(chain)
        chain.send(adding)
        chain.advance(chain.config.parameters.challenge_window_slots + 1)
        chain.finalize(1)
        yield _try(chain, case, slash_instructions.reward_checkpoint(program, payer, 1, 0, 1, payer))


def _slashing(chain: Chain) -> Iterator[Cost]:
    program, payer = chain.program_id, chain.payer
    for epoch, signers, case in ((7, range(4), "a certificate of 4"), (8, range(1), "one vote")):
        yield _try(chain, case, slash_kit.receipt_of(chain, payer, chain.message(epoch=epoch), signers))
    first, second = slash_kit.two_messages(chain, epoch=9)
    evidence = slash_kit.record(chain, payer, first, [0, 1]), slash_kit.record(chain, payer, second, [0, 1])
    for index, case in enumerate(("the first of an epoch", "a later one")):
        slashing = slash_kit.slashing(chain, payer, index, evidence, 9)
        yield _try(chain, case, slashing)
        chain.send(slashing)
    address = slash_kit.validator_address(chain, 0)
    yield _try(chain, "", slash_instructions.raise_equivocation(program, payer.pubkey(), address, 9))
    yield _try(chain, "", slash_instructions.close_receipt(program, payer.pubkey(), first.hash(chain.domain)))
    posted = chain.data(pda.checkpoint(program, 1))
    slash_kit.with_status_by_overwrite(chain, 1, CheckpointStatus.REJECTED, pending_slashes=1)
    yield _try(chain, "", slash_instructions.slash_rejected(program, payer.pubkey(), address, 1, 1, 0))
    chain.overwrite(pda.checkpoint(program, 1), posted)
    slash_kit.overwrite_u64(chain, pda.config(program), "Config", "pending_slashes", 0)


def _usual(names: set[str]) -> Iterator[Cost]:
    """The rest, each as the test of hostile accounts calls it."""
    for name in sorted(names):
        chain, built, signers = STORIES[name]()
        yield _try(chain, "", built, signers)


# -- the record ----------------------------------------------------------------------------------------------------------------------------


def recorded() -> dict[str, Any]:
    """program_sha256, and compute_units and transaction_bytes by a case's name."""
    held: dict[str, Any] = json.loads(RECORD.read_text())
    return held


def program_sha256() -> str:
    return hashlib.sha256(idl.PROGRAM_PATH.read_bytes()).hexdigest()


def changes(costs: Sequence[Cost], record: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What grew and what shrank by more than LARGEST_GROWTH_PERCENT against the record, each in words. A case without a record is neither."""
    grew, shrank = [], []
    for cost in costs:
        before = record["compute_units"].get(cost.name)
        if before is None:
            continue
        percent = 100 * (cost.compute_units - before) / before
        text = f"{cost.name}: {before:,} -> {cost.compute_units:,} compute units ({percent:+.1f} %)"
        if percent > LARGEST_GROWTH_PERCENT:
            grew.append(text)
        elif percent < -LARGEST_GROWTH_PERCENT:
            shrank.append(text)
    return grew, shrank


def record_text(costs: Sequence[Cost]) -> str:
    return (
        json.dumps(
            {
                "made_by": RECORD_COMMAND,
                "program_sha256": program_sha256(),
                "compute_units": {cost.name: cost.compute_units for cost in costs},
                "transaction_bytes": {cost.name: cost.transaction_bytes for cost in costs},
            },
            indent=1,
        )
        + "\n"
    )


def table(costs: Sequence[Cost]) -> str:
    """Markdown: an instruction's name stands at its first case only."""
    rows = [("instruction", "case", "compute units", "bytes")]
    for instruction, group in groupby(costs, key=lambda cost: cost.instruction):
        for index, cost in enumerate(group):
            shown = f"`{instruction}`" if index == 0 else ""
            rows.append((shown, cost.case or "–", f"{cost.compute_units:,}", f"{cost.transaction_bytes:,}"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        f"| {row[0]:<{widths[0]}} | {row[1]:<{widths[1]}} | {row[2]:>{widths[2]}} | {row[3]:>{widths[3]}} |"
        for row in rows
    ]
    lines.insert(
        1, f"|{'-' * (widths[0] + 2)}|{'-' * (widths[1] + 2)}|{'-' * (widths[2] + 1)}:|{'-' * (widths[3] + 1)}:|"
    )
    return "\n".join(lines) + "\n"


def documented() -> str:
    """The table that docs/costs.md holds."""
    text = DOCUMENT.read_text()
    assert text.count(BEGIN) == text.count(END) == 1, (
        f"{DOCUMENT} must hold the table once, between {BEGIN!r} and {END!r}"
    )
    return text.partition(BEGIN)[2].partition(END)[0]


def save(costs: Sequence[Cost]) -> None:
    RECORD.write_text(record_text(costs))
    head, _, rest = DOCUMENT.read_text().partition(BEGIN)
    DOCUMENT.write_text(head + BEGIN + table(costs) + END + rest.partition(END)[2])


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 1 when --record met a growth that was not accepted."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.settlement", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")
    parser.add_argument(
        "--record", action="store_true", help=f"write {RECORD.name} and the table of docs/{DOCUMENT.name}"
    )
    parser.add_argument(
        "--accept-growth",
        action="store_true",
        help=f"record a figure that grew by more than {LARGEST_GROWTH_PERCENT} %% as well",
    )
    parsed = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    note(f"registering {', '.join(map(str, SET_SIZES))} validators, and trying every instruction")
    costs = measure()
    if parsed.record:
        grew, shrank = changes(costs, recorded()) if RECORD.exists() else ([], [])
        for text in grew + shrank:
            note(text)
        if grew and not parsed.accept_growth:
            note(
                f"error: not recorded, since figures grew by more than {LARGEST_GROWTH_PERCENT} %; with --accept-growth they are"
            )
            return 1
        save(costs)
    if parsed.json:
        print_json(
            {
                "made_by": COMMAND,
                "program_sha256": program_sha256(),
                "rows": [
                    {"instruction": c.instruction, "case": c.case, "cu": c.compute_units, "bytes": c.transaction_bytes}
                    for c in costs
                ],
            }
        )
    else:
        print(table(costs))
        print(f"- Made by `{COMMAND}` on the committed program (sha256 {program_sha256()[:16]}) in LiteSVM.")
        print(
            "- Whole transactions, two instructions for the compute budget included; 1,400,000 compute units and 1,232 bytes are the limits."
        )
        print("- The floor of a post, and where its compute units go: `./run python -m bench.certificate`.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

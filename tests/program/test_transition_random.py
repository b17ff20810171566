"""Random steps of the ledger through prove_transition: the program in the SVM says of each what Python's judge says.

Checkpoint, validator set and proof buffer are overwritten for each step; what the program decides is simulated, so that one chain serves all.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from solders.transaction_metadata import FailedTransactionMetadata

from settlement import dispute_instructions as build
from settlement import evidence, merkle, pda, records
from settlement.accounts import decode_checkpoint
from settlement.ledger.witness import Fault, Honest
from settlement.tags import u64le
from tests.program.dispute_kit import context_of, fill, post_liar, up
from tests.program.kit import error_name
from tests.settlement import kit, random_steps
from tests.settlement.steps import Step

EPOCH = 2
BUFFER_BYTES = 8_192
BUFFER_HEADER_BYTES = 56


class Court:
    """A chain whose second checkpoint claims whatever it is told to."""

    def __init__(self) -> None:
        self.chain = up()
        self.offsets: dict[tuple[int, str], int] = {}
        self.first, self.second = post_liar(self.chain), post_liar(self.chain)
        self.buffer = fill(self.chain, bytes(BUFFER_BYTES))
        held = pda.validator_set(self.chain.program_id, self.second.set_version)
        old, data = self.chain.set_account(self.second.set_version).validator_set, self.chain.data(held)
        for ours, theirs in zip(random_steps.VALIDATORS.entries, old.entries, strict=True):
            data = replaced(data, theirs.encode(), ours.encode())
        data = replaced(data, u64le(old.total_stake), u64le(random_steps.VALIDATORS.total_stake))
        self.chain.overwrite(held, data)

    def outcome(self, step: Step) -> str:
        """What prove_transition answers: "" where it rejects the checkpoint, else its error."""
        chain = self.chain
        group = [step.records[at : at + 160] for at in range(0, len(step.records), records.RECORD_BYTES)]
        self.change(EPOCH, "results_root", merkle.root("results-root", group))
        self.change(EPOCH, "trace_root", merkle.root("trace-root", [step.before, step.after]))
        self.change(EPOCH - 1, "cut_slot", u64le(step.context.base_slot))
        shown = evidence.step_evidence([step.before, step.after], group, 0, step.witness)
        header = chain.data(self.buffer)[:BUFFER_HEADER_BYTES]
        chain.overwrite(self.buffer, header + shown.ljust(BUFFER_BYTES, b"\0"))
        proof = build.prove_transition(chain.program_id, chain.payer.pubkey(), chain.checkpoint(EPOCH), self.buffer)
        done = chain.svm.simulate_transaction(chain.transaction([proof], (), chain.payer))
        return error_name(done) if isinstance(done, FailedTransactionMetadata) else ""

    def change(self, epoch: int, name: str, value: bytes) -> None:
        """Overwrites one field of a checkpoint's account, found as the place whose bytes decide what the field decodes to."""
        address = pda.checkpoint(self.chain.program_id, epoch)
        data = self.chain.data(address)
        if (epoch, name) not in self.offsets:
            now = decode_checkpoint(address, data)
            width = len(value)
            for at in range(8, len(data) - width + 1):
                probe = data[:at] + bytes(byte ^ 0xFF for byte in data[at : at + width]) + data[at + width :]
                held = bytes_of(getattr(now, name))
                if data[at : at + width] == held and bytes_of(getattr(decode_checkpoint(address, probe), name)) != held:
                    self.offsets[epoch, name] = at
                    break
        at = self.offsets[epoch, name]
        self.chain.overwrite(address, data[:at] + value + data[at + len(value) :])
        assert bytes_of(getattr(self.chain.checkpoint(epoch), name)) == value


def bytes_of(value: bytes | int) -> bytes:
    return value if isinstance(value, bytes) else u64le(value)


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data and len(old) == len(new)
    return data.replace(old, new, 1)


def test_the_program_judges_as_python_does(monkeypatch: pytest.MonkeyPatch) -> None:
    court = Court()
    monkeypatch.setattr(kit, "DOMAIN", court.chain.domain)
    context = replace(context_of(court.chain), epoch=EPOCH, base_slot=0, validator_set=random_steps.VALIDATORS)
    assert court.chain.sealed_set.entries == random_steps.VALIDATORS.entries
    seen: Counter[str] = Counter()
    for step in random_steps.steps(5, 150, context):
        verdict, answer = step.judge(), court.outcome(step)
        if isinstance(verdict, Fault):
            # Of several faults in one witness the two may name different ones.
            assert answer in ("WitnessIncomplete", "WitnessRoot", "BadWitness"), (step.name, verdict)
        else:
            assert answer == ("NoFraud" if verdict == Honest() else ""), (step.name, verdict)
        seen[answer] += 1
    assert all(seen[answer] > 10 for answer in ("", "NoFraud", "WitnessRoot", "BadWitness")), seen

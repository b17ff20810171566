"""The program id is a parameter of the build: the committed program and one built for another id (POUW_OTHER_PROGRAM, a file made by
`scripts/program_build.sh --id`) do the same. scripts/program_check.sh runs this; without that variable it is not collected.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from solders.pubkey import Pubkey

from cli.program_trial import check_artifact
from settlement import idl
from settlement.errors import ProgramFileError
from settlement.loader_artifact import read_artifact
from tests.program.kit import Chain, Refused, validator

# Base58 of ten, then 0 to 30; scripts/program_check.sh builds for it.
OTHER_ID = Pubkey(b"\x0a" + bytes(range(31)))


def settle_one(chain: Chain) -> None:
    chain.bring_up(validator(seed) for seed in range(3))
    chain.deposit(10_000, chain.payer.pubkey())
    message = chain.settle(payable_total=10_000)
    assert chain.config.finalized.hash == message.hash(chain.domain)


def test_two_ids_do_the_same() -> None:
    elf = other_program()
    assert elf.read_bytes() != idl.PROGRAM_PATH.read_bytes()
    settle_one(Chain.new())
    settle_one(Chain.new(OTHER_ID, elf))


def test_a_program_runs_only_under_its_own_id() -> None:
    chain = Chain.new(elf=other_program())
    with pytest.raises(Refused, match="IncorrectProgramId"):
        chain.initialize()


def test_pouw_program_takes_each_file_for_its_own_id_only() -> None:
    files = {idl.committed().address: read_artifact(idl.PROGRAM_PATH), OTHER_ID: read_artifact(other_program())}
    for built_for, artifact in files.items():
        for program_id in files:
            assert artifact.mentions(program_id) == (program_id == built_for)
            if program_id == built_for:
                check_artifact(artifact, program_id)
            else:
                with pytest.raises(ProgramFileError, match=f"not built for {program_id}"):
                    check_artifact(artifact, program_id)


def other_program() -> Path:
    return Path(os.environ["POUW_OTHER_PROGRAM"])

"""A program file is tried in the runtime itself before lamports are spent on it: is it accepted, and was it built for the id it is to have?

The id is compiled into the program, which refuses to run under another (`IncorrectProgramId`). So it is loaded at the id and called with
nothing, and what it says tells; and the id's 32 bytes must be in the file, which tells a program that checks no id. The embedded L1's
rules for calling LiteSVM apply (localnet/x87.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from solders.pubkey import Pubkey

    from settlement.loader_artifact import Artifact

_OTHER_ID = "IncorrectProgramId"


def check_artifact(artifact: Artifact, program_id: Pubkey) -> None:
    """ProgramFileError when the runtime refuses the file, or it was built for another id than `program_id`."""
    from solders.litesvm import LiteSVM

    from localnet import x87
    from localnet.programs import ProgramLoadError, load_upgradeable
    from settlement import idl
    from settlement.errors import ProgramFileError

    svm = LiteSVM()
    try:
        load_upgradeable(svm, program_id, artifact.elf, None, slot=0)
        said = _call(svm, program_id)
    except ProgramLoadError as error:
        raise ProgramFileError(f"{artifact.name}: {error}") from None
    finally:
        x87.clear()
    if _OTHER_ID in said or not artifact.mentions(program_id):
        usual = idl.committed().address
        known = f"it is for {usual}" if artifact.mentions(usual) else "it is for another id"
        raise ProgramFileError(
            f"{artifact.name} was not built for {program_id}: {known}. Build it with `./run just program-build --id {program_id} "
            "-o FILE` and name that file"
        )


def _call(svm: object, program_id: Pubkey) -> str:
    """What the program says to an instruction without data and accounts."""
    from solders.instruction import Instruction
    from solders.keypair import Keypair
    from solders.litesvm import LiteSVM
    from solders.message import Message
    from solders.transaction import Transaction
    from solders.transaction_metadata import FailedTransactionMetadata

    assert isinstance(svm, LiteSVM)
    caller = Keypair()
    svm.airdrop(caller.pubkey(), 1_000_000_000)
    svm.warp_to_slot(1)
    blockhash = svm.latest_blockhash()
    message = Message.new_with_blockhash([Instruction(program_id, b"", [])], caller.pubkey(), blockhash)
    done = svm.send_transaction(Transaction([caller], message, blockhash))
    return str(done.err()) if isinstance(done, FailedTransactionMetadata) else ""

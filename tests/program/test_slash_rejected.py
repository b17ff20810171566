"""slash_rejected: the signers of a checkpoint that was proved wrong. The status is set by overwrite here; the whole way from a
false batch to its signers' slash is in test_slash_whole_way.py."""

from __future__ import annotations

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair

from settlement import pda, slash_instructions
from settlement.accounts import CheckpointStatus
from settlement.validator_set import bitmap_to_bytes
from tests.program import slash_kit
from tests.program.kit import STAKE, Chain, refuses
from tests.program.slash_kit import held, reporter, validator_address


@pytest.fixture
def rejected(chain: Chain) -> Chain:
    """Epoch 1, signed by 0, 1 and 3 of four, is Rejected by overwrite; three slashes are pending."""
    chain.post([0, 1, 3])
    slash_kit.with_status_by_overwrite(chain, 1, CheckpointStatus.REJECTED, pending_slashes=3)
    return chain


def slashing(chain: Chain, by: Keypair, index: int, of: int | None = None) -> Instruction:
    return slash_instructions.slash_rejected(
        chain.program_id, by.pubkey(), validator_address(chain, index if of is None else of), 1, 1, index
    )


def test_each_signer_loses_its_share_once(rejected: Chain) -> None:
    by, program = reporter(rejected), rejected.program_id
    cut = STAKE // 2
    for done, index in enumerate((3, 0, 1)):
        before, treasury = rejected.lamports(by.pubkey()), rejected.lamports(pda.treasury(program))
        total = slash_kit.everything(rejected, by.pubkey())
        sent = rejected.send(slashing(rejected, by, index), payer=by)
        assert rejected.lamports(by.pubkey()) == before - sent.fee() + cut // 10
        assert rejected.lamports(pda.treasury(program)) == treasury + cut - cut // 10
        assert slash_kit.everything(rejected, by.pubkey()) == total - sent.fee()
        assert rejected.config.pending_slashes == 2 - done
        now = held(rejected, index)
        assert (now["active_lamports"], now["flags"], now["jailed_slot"]) == (cut, 1, rejected.slot)
        assert (rejected.registry.slots[index].stake_lamports, rejected.registry.slots[index].flags) == (cut, 3)
        with refuses("SignerSlashed"):
            rejected.send(slashing(rejected, by, index), payer=by)
    assert rejected.checkpoint(1).slashed_bitmap == bitmap_to_bytes(0b1011)
    assert held(rejected, 2)["active_lamports"] == STAKE
    assert rejected.lamports(pda.stake_vault(program)) == slash_kit.vault_total(rejected)


def test_who_did_not_sign_is_not_slashed(rejected: Chain) -> None:
    by = reporter(rejected)
    for index in (2, 4, 255):
        with refuses("NotASigner"):
            rejected.send(slashing(rejected, by, index, of=2), payer=by)


def test_the_signers_own_account_is_slashed(rejected: Chain) -> None:
    by = reporter(rejected)
    with refuses("WrongValidator"):
        rejected.send(slashing(rejected, by, 0, of=1), payer=by)


@pytest.mark.parametrize("status", [CheckpointStatus.POSTED, CheckpointStatus.FINALIZED, CheckpointStatus.VOIDED])
def test_only_what_was_rejected_costs_stake(rejected: Chain, status: CheckpointStatus) -> None:
    slash_kit.with_status_by_overwrite(rejected, 1, status)
    by = reporter(rejected)
    with refuses("NotRejected"):
        rejected.send(slashing(rejected, by, 0), payer=by)


def test_the_set_is_the_checkpoints(rejected: Chain) -> None:
    by = reporter(rejected)
    rejected.advance(64)
    rejected.seal(2)
    built = slashing(rejected, by, 0)
    metas = list(built.accounts)
    metas[4] = AccountMeta(pda.validator_set(rejected.program_id, 2), False, False)
    with refuses("WrongValidatorSet"):
        rejected.send(Instruction(rejected.program_id, bytes(built.data), metas), payer=by)


def test_a_signer_may_report_itself_and_still_loses(rejected: Chain) -> None:
    authority = rejected.validators[0].authority
    rejected.svm.airdrop(authority.pubkey(), 10**9)
    sent = rejected.send(slashing(rejected, authority, 0), payer=authority)
    assert rejected.lamports(authority.pubkey()) == 10**9 - sent.fee() + STAKE // 20

"""From a false batch to its signers' slash: every step by the program's own instructions."""

from __future__ import annotations

from settlement import pda, slash_instructions
from settlement.accounts import CheckpointStatus
from settlement.validator_set import bitmap_to_bytes
from tests.program import dispute_kit, slash_kit
from tests.program.kit import STAKE, refuses, validator
from tests.program.slash_kit import held, reporter, validator_address
from tests.program.test_rewards_late_signatures import adding


def test_all_who_signed_a_rejected_checkpoint_are_slashed_and_nobody_else() -> None:
    """Four of six post it, one signs late, one does not; a rejection counts five, and none can join afterwards."""
    chain = dispute_kit.up(*(validator(seed) for seed in range(6)))
    cursor = chain.config.posted.inbox_cursor
    message = chain.post([0, 1, 2, 3], trace_root=dispute_kit.WRONG_TRACE, inbox_cursor=cursor)
    chain.send(adding(chain, message, [4]))
    epoch = message.epoch
    dispute_kit.reject_liar(chain, chain.checkpoint(epoch))
    assert chain.checkpoint(epoch).status is CheckpointStatus.REJECTED
    assert chain.config.pending_slashes == 5
    with refuses("SignaturesTooLate"):
        chain.send(adding(chain, message, [5]))
    by = reporter(chain)
    for done, index in enumerate((2, 4, 0, 1, 3)):
        built = slash_instructions.slash_rejected(
            chain.program_id, by.pubkey(), validator_address(chain, index), epoch, 1, index
        )
        chain.send(built, payer=by)
        assert (held(chain, index)["active_lamports"], held(chain, index)["flags"]) == (STAKE // 2, 1)
        assert chain.config.pending_slashes == 4 - done
        with refuses("SignerSlashed"):
            chain.send(built, payer=by)
    assert chain.checkpoint(epoch).slashed_bitmap == chain.checkpoint(epoch).bitmap == bitmap_to_bytes(0b11111)
    assert held(chain, 5)["active_lamports"] == STAKE
    assert chain.lamports(pda.stake_vault(chain.program_id)) == slash_kit.vault_total(chain)

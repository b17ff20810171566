"""Governance: parameters after their delay, pause at once, and a hand-over in two steps."""

from __future__ import annotations

from dataclasses import replace

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import dispute_accounts, pda
from settlement import dispute_instructions as build
from settlement.accounts import LOCALNET_PROFILE
from tests.program.kit import SOL, Chain, refuses

CHANGED = replace(LOCALNET_PROFILE, challenge_window_slots=20, governance_delay_slots=30_000)
STRANGER = Keypair.from_seed(b"s" * 32)
DELAY = LOCALNET_PROFILE.governance_delay_slots


def propose(chain: Chain, parameters: object = CHANGED, governance: Keypair | None = None) -> None:
    governance = governance or chain.authority
    made = build.propose_parameters(chain.program_id, chain.payer.pubkey(), governance.pubkey(), parameters)  # type: ignore[arg-type]
    chain.send(made, signers=[governance])


def proposal(chain: Chain) -> dispute_accounts.ParameterProposal:
    address = pda.proposal(chain.program_id)
    return dispute_accounts.decode_parameter_proposal(address, chain.data(address))


def test_parameters_change_after_their_delay(chain: Chain) -> None:
    propose(chain)
    found = proposal(chain)
    assert (found.parameters, found.ready_slot - found.proposed_slot) == (CHANGED, DELAY)
    payer = chain.payer.pubkey()
    apply = build.apply_parameters(chain.program_id, payer, payer)
    chain.svm.warp_to_slot(found.ready_slot)
    with refuses("ProposalTooYoung"):
        chain.send(apply)
    assert chain.config.parameters == LOCALNET_PROFILE
    chain.advance(1)
    with refuses("WrongProposer"):
        chain.send(build.apply_parameters(chain.program_id, payer, STRANGER.pubkey()))
    rent, before = chain.lamports(pda.proposal(chain.program_id)), chain.lamports(payer)
    chain.send(apply)
    assert chain.config.parameters == CHANGED
    assert chain.lamports(payer) == before + rent - 5_002
    propose(chain, LOCALNET_PROFILE)
    assert proposal(chain).ready_slot == chain.slot + CHANGED.governance_delay_slots


def test_one_proposal_at_a_time_and_governance_cancels_it(chain: Chain) -> None:
    propose(chain)
    with refuses("ProposalExists"):
        propose(chain)
    payer = chain.payer.pubkey()
    with refuses("NotGovernance"):
        chain.send(build.cancel_parameters(chain.program_id, payer, payer))
    governance = chain.authority
    chain.send(build.cancel_parameters(chain.program_id, governance.pubkey(), payer), signers=[governance])
    assert chain.svm.get_account(pda.proposal(chain.program_id)) is None
    propose(chain)


def test_a_proposal_keeps_the_rules_of_parameters(chain: Chain) -> None:
    with refuses("BadGovernanceDelay"):
        propose(chain, replace(LOCALNET_PROFILE, governance_delay_slots=LOCALNET_PROFILE.unbonding_slots))
    with refuses("BadUnbondingSlots"):
        propose(chain, replace(LOCALNET_PROFILE, unbonding_slots=600))


def test_only_governance_governs(chain: Chain) -> None:
    chain.svm.airdrop(STRANGER.pubkey(), SOL)
    with refuses("NotGovernance"):
        propose(chain, governance=STRANGER)
    for made in (
        build.pause(chain.program_id, STRANGER.pubkey()),
        build.unpause(chain.program_id, STRANGER.pubkey()),
        build.offer_governance(chain.program_id, STRANGER.pubkey(), STRANGER.pubkey()),
    ):
        with refuses("NotGovernance"):
            chain.send(made, payer=STRANGER)


def test_a_pause_stops_posting_and_nothing_else(chain: Chain) -> None:
    governance = chain.authority
    chain.deposit(10_000, STRANGER.pubkey())
    chain.post()
    with refuses("NotPaused"):
        chain.send(build.unpause(chain.program_id, governance.pubkey()), payer=governance)
    chain.send(build.pause(chain.program_id, governance.pubkey()), payer=governance)
    with refuses("AlreadyPaused"):
        chain.send(build.pause(chain.program_id, governance.pubkey()), payer=governance)
    chain.advance(17)
    with refuses("Paused"):
        chain.send(chain.posting(chain.certificate(chain.message())))
    chain.finalize(1)
    chain.deposit(10_000, STRANGER.pubkey())
    chain.send(build.unpause(chain.program_id, governance.pubkey()), payer=governance)
    assert chain.post().epoch == 2


def test_governance_changes_hands_in_two_steps(chain: Chain) -> None:
    old, new = chain.authority, STRANGER
    chain.svm.airdrop(new.pubkey(), SOL)
    accept = build.accept_governance(chain.program_id, new.pubkey())
    with refuses("NotNextGovernance"):
        chain.send(accept, payer=new)
    chain.send(build.offer_governance(chain.program_id, old.pubkey(), new.pubkey()), payer=old)
    assert (chain.config.governance, chain.config.next_governance) == (old.pubkey(), new.pubkey())
    chain.send(build.offer_governance(chain.program_id, old.pubkey(), Pubkey.default()), payer=old)
    with refuses("NotNextGovernance"):
        chain.send(accept, payer=new)
    chain.send(build.offer_governance(chain.program_id, old.pubkey(), new.pubkey()), payer=old)
    chain.send(accept, payer=new)
    assert (chain.config.governance, chain.config.next_governance) == (new.pubkey(), Pubkey.default())
    with refuses("NotGovernance"):
        chain.send(build.pause(chain.program_id, old.pubkey()), payer=old)
    chain.send(build.pause(chain.program_id, new.pubkey()), payer=new)
    # The authority that seals before the first post is another matter.
    assert chain.config.authority == old.pubkey()

"""Three of four validators sign and post a checkpoint that pays a thief; the sequencer of the fourth tells the same lie. That one validator, a
real process with nobody's help, has it rejected and all three slashed, and one of them for having signed the honest proposal as well."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256

import pytest
import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cli.demo_network import VALIDATOR_STAKE_LAMPORTS, Network
from localnet.real_validator import free_ports
from settlement import bls, inbox, instructions, merkle, pda, records, signing
from settlement.accounts import LOCALNET_PROFILE, CheckpointStatus
from settlement.client import L1Client
from settlement.hash_to_curve import hints
from settlement.instructions import CheckpointArgs
from settlement.ledger import Context, Parent, State, apply
from settlement.messages import CheckpointMessage
from settlement.records import EconomicEvent, Event, Op, Record
from settlement.sequencer_client import RpcError
from settlement.signing import EMPTY, Authorisation, Domain, node_id
from settlement.slashing import fetch_offence
from settlement.stake_accounts import JAILED
from settlement.validator_set import bitmap_to_bytes
from tests.integration.kit import CLIENT_LAMPORTS, QUICK, client_of, has_account, log_of, running, until
from tests.integration.lying_proxy import NOT_FOUND, LyingProxy, Proposal
from tests.integration.test_lying_sequencer import show_the_truth

HONEST, TWICE, VALIDATORS = "validator-0", "validator-1", 4
LIARS = ("validator-1", "validator-2", "validator-3")
STOLEN = 50_000_000
SOL = 1_000_000_000
POST_COMPUTE_UNITS = 400_000
# Attempts outlive the preparations, and the window the slowest machine.
PARAMETERS = replace(
    LOCALNET_PROFILE, challenge_window_slots=6_000, max_expiry_slots=6_000, min_seal_gap_slots=6_000,
    stall_slots=7_000, hatch_slots=20_000, unbonding_slots=30_000, governance_delay_slots=31_000,
)  # fmt: skip


@dataclass
class LyingHistory(LyingProxy):
    """Tells these checkpoints in place of the sequencer's."""

    told: dict[int, Proposal] = field(default_factory=dict)

    async def _call(self, request: Request) -> Response:
        body = await request.json()
        told = self.told.get(body.get("params", {}).get("epoch"))
        if body["method"] != "getCheckpoint" or told is None:
            return await super()._call(request)
        answer = await self._forward(body)
        name = sha256(told.data).hexdigest()
        self._blobs[name] = told.data
        answer["result"]["value"] |= {**told.message.to_json(), "hash": self.hash_of(told), "dataSha256": name}
        return JSONResponse(answer)


@pytest.fixture
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    settings = {**QUICK, "validator": {**QUICK["validator"], "watch_seconds": 0.5}}
    folder = tmp_path_factory.mktemp("honest")
    network = Network(folder, epoch_seconds=1.0, slot_ms=50, parameters=PARAMETERS, settings=settings)

    async def prepare() -> None:
        await network.start_l1()
        await network.prepare_sequencer()

    with running(network, prepare):
        yield network


async def stolen(l1: L1Client, real: CheckpointMessage, domain: Domain, thief: Keypair) -> Proposal:
    """A batch on genesis that takes what the inbox holds, and lets the thief withdraw more than it has, as if that were right."""
    key = bytes(thief.pubkey())
    held = await l1.fetch_validator_set(1)
    assert held is not None
    context = Context(domain, 1, 0, held.validator_set, bytes(pda.treasury(l1.program_id)))
    content = [inbox.record_of(domain, entry, 1) for entry in await l1.fetch_inbox_entries(0, real.inbox_cursor)]
    payload = EconomicEvent(Event.WITHDRAWAL, number=0, lamports=STOLEN)
    withdrawal = Record(Op.ECONOMIC_EVENT, 1, node_id(key), bytes(32), payload)
    digest = signing.authorisation_digest(domain, real.expiry_slot, records.encode(withdrawal))
    signed = Authorisation(key, real.expiry_slot, signing.sign(thief, digest))
    pairs = [*((record, EMPTY) for record in content), (withdrawal, signed)]
    told = Proposal(real, b"").holding(pairs, Parent.genesis(domain), context)
    state = State.empty()
    for record in content:
        state = apply(state, record, context)
    account, totals = state.account(node_id(key)), state.totals
    assert account is not None and account.balance < STOLEN
    rich = state.with_account(replace(account, nonce=1, payable=STOLEN))
    rich = rich.with_totals(replace(totals, balance=totals.balance - STOLEN, payable=STOLEN))
    trace = merkle.root("trace-root", [State.empty().root, rich.root])
    return told.saying(state_root=rich.root, payable_total=STOLEN, trace_root=trace)


async def post(
    network: Network, l1: L1Client, message: CheckpointMessage, domain: Domain, places: dict[str, int]
) -> None:
    """By the liars, who are a quorum."""
    digest = message.hash(domain)
    signature = bls.aggregate([network.bls[name].sign(digest) for name in LIARS])
    args = CheckpointArgs(
        **{name: getattr(message, name) for name in CheckpointArgs.__dataclass_fields__ if hasattr(message, name)},
        bitmap=bitmap_to_bytes(sum(1 << places[name] for name in LIARS)),
        signature=signature,
        hints=hints(digest),
    )
    built = instructions.post_checkpoint(l1.program_id, network.payer.pubkey(), 1, 0, args)
    await l1.send_and_confirm([built], network.payer, compute_unit_limit=POST_COMPUTE_UNITS)


async def test_one_honest_validator_is_enough(network: Network, nursery: trio.Nursery) -> None:
    real_url, thief = network.sequencer_url, Keypair()
    async with network.l1() as l1:
        domain = await l1.domain()
        proxy = LyingHistory(real_url, free_ports(1), domain, show_the_truth)
        await nursery.start(proxy.run)
        network.sequencer_url = proxy.url_for(HONEST)
        for index in range(VALIDATORS):
            network.prepare_validator(index)
        network.sequencer_url = real_url
        honest = network.nodes[HONEST].keypair.pubkey()
        network.start(HONEST)
        await network.set_up(VALIDATORS)
        await l1.request_airdrop(honest, SOL)
        held = await l1.fetch_validator_set(1)
        assert held is not None
        order = {str(Pubkey(entry.authority)): index for index, entry in enumerate(held.validator_set.entries)}
        places = {
            f"validator-{i}": order[str(network.nodes[f"validator-{i}"].keypair.pubkey())] for i in range(VALIDATORS)
        }
        await network.start_sequencer()
        await network.deposit({network.client_keypair.pubkey(): CLIENT_LAMPORTS, thief.pubkey(): SOL // 1_000})
        real = await _proposal(network)
        await _attest(network, real, places[TWICE])
        lie = await stolen(l1, real, domain, thief)
        proxy.told[1] = lie
        await post(network, l1, lie.message, domain, places)

        async def all_is_said() -> bool:
            found = await l1.fetch_checkpoint(1)
            assert found is not None
            slots = (await l1.fetch_registry()).slots
            twice = slots[places[TWICE]].stake_lamports < VALIDATOR_STAKE_LAMPORTS // 2
            return found.status is CheckpointStatus.REJECTED and found.slashed_bitmap == found.bitmap and twice

        await until(network, "the liars' end", all_is_said)
        assert (await l1.fetch_config()).pending_slashes == 0
        slots = (await l1.fetch_registry()).slots
        jailed = {name for name, place in places.items() if slots[place].flags & JAILED}
        assert jailed == set(LIARS)
        assert slots[places[HONEST]].stake_lamports == VALIDATOR_STAKE_LAMPORTS
        key = bytes(network.bls[TWICE].public_key)
        assert (await fetch_offence(l1, pda.validator(l1.program_id, key), 1)).attempt == real.attempt
        proved = log_of(network, HONEST, "a false checkpoint was proved")
        assert proved[0]["proof"] == "prove_transition" and "INSUFFICIENT_BALANCE" in proved[0]["reason"]
    nursery.cancel_scope.cancel()


async def _proposal(network: Network) -> CheckpointMessage:
    """The honest proposal for epoch 1, once the sequencer has cut it with both deposits."""
    async with client_of(network) as client:
        await until(network, "the deposits", lambda: has_account(client))

        async def cut() -> CheckpointMessage | None:
            try:
                return CheckpointMessage.from_json(await client.call("getProposal", {"epoch": 1}))
            except RpcError as error:
                if error.code != NOT_FOUND:
                    raise
                return None

        found: CheckpointMessage = await until(network, "the proposal", cut)
        return found


async def _attest(network: Network, message: CheckpointMessage, place: int) -> None:
    """One liar's signature on the honest proposal, where everybody can see it."""
    async with client_of(network, network.nodes[TWICE].keypair) as client:
        digest = message.hash(await client.domain())
        said = {"epoch": message.epoch, "attempt": message.attempt, "hash": digest.hex()}
        signature = network.bls[TWICE].sign(digest).hex()
        await client.call_signed("submitAttestation", {**said, "setIndex": place, "signature": signature})

"""A lying sequencer before real validators: nothing it alters or invents gets a signature, and of two proposals for one (epoch, attempt) at most
one gets a quorum, whoever is shown which and whoever is killed in between."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import trio
from solders.keypair import Keypair

from cli.demo_network import Network
from localnet.real_validator import free_ports
from settlement import messages, pda, records, signing
from settlement.ledger import Context, Parent
from settlement.records import (
    ConsensusVote,
    EconomicEvent,
    Event,
    Kind,
    Mode,
    Op,
    Reason,
    Record,
    TaskSubmission,
    Verdict,
)
from settlement.signing import EMPTY, Authorisation, Domain, node_id
from settlement.validator_set import bytes_to_bitmap
from tests.integration.kit import QUICK, VALIDATORS, bring_up, client_of, log_of, submit_task, until, withdraw
from tests.integration.lying_proxy import LyingProxy, Proposal, Signed
from tests.sequencer.kit import Party, Voter

WORKER = "worker-0"
EXPIRY_SLOTS = 100_000
MARGIN_SLOTS = 8  # a proposal about to expire is refused for that, whatever else is wrong with it
Lie = tuple[Proposal, str]


def find(pairs: list[Signed], test: Callable[[Record], bool]) -> int:
    return next(index for index, (record, _) in enumerate(pairs) if test(record))


def is_payment(record: Record) -> bool:
    return isinstance(record.payload, EconomicEvent) and record.payload.event is Event.PAYMENT


def is_vote(record: Record) -> bool:
    return isinstance(record.payload, ConsensusVote)


def signed_by(keypair: Keypair, record: Record, domain: Domain) -> Authorisation:
    digest = signing.authorisation_digest(domain, EXPIRY_SLOTS, records.encode(record))
    return Authorisation(bytes(keypair.pubkey()), EXPIRY_SLOTS, signing.sign(keypair, digest))


def lies(real: Proposal, parent: Parent, context: Context, client: bytes, worker: bytes) -> dict[str, Lie]:
    """Altered proposals by name, each with a pattern of the reason for which a validator must refuse it."""
    pairs, thief = real.pairs, Keypair()
    payment, vote = find(pairs, is_payment), find(pairs, is_vote)
    end = len(pairs)

    def holding(*changed: Signed, at: int, drop: int = 1) -> Proposal:
        return real.holding([*pairs[:at], *changed, *pairs[at + drop :]], parent, context)

    def moved(record: Record, **changes: object) -> Record:
        return replace(record, payload=replace(record.payload, **changes))  # type: ignore[type-var]

    paid, voted = pairs[payment][0], pairs[vote][0]
    assert isinstance(paid.payload, EconomicEvent) and isinstance(voted.payload, ConsensusVote)
    account = parent.state.account(node_id(client))
    nonce = 99 if account is None else account.nonce + 50
    spec_hash = bytes(32)
    invented = Record(
        Op.TASK_SUBMISSION,
        0,
        node_id(client),
        messages.task_id(context.domain, client, nonce, spec_hash),
        TaskSubmission(nonce, 1, 10**9, spec_hash, Kind.TRAINING, Mode.REPLAY),
    )
    withdrawn = Record(
        Op.ECONOMIC_EVENT, 0, node_id(worker), bytes(32), EconomicEvent(Event.WITHDRAWAL, number=9, lamports=5)
    )
    forged = Authorisation(worker, EXPIRY_SLOTS, bytes(range(64)))
    turned = moved(voted, verdict=Verdict.REJECT, reason=Reason.WRONG_STATE)
    without_votes = [pair for pair in pairs if not is_vote(pair[0])]
    bad = "BAD_AUTHORISATION"
    return {
        "a lamport more": (
            holding((moved(paid, lamports=paid.payload.lamports + 1), EMPTY), at=payment),
            "WRONG_AMOUNT",
        ),
        "another payee": (holding((replace(paid, node=node_id(client)), EMPTY), at=payment), "WRONG_NODE"),
        "paid twice": (holding(pairs[payment], pairs[payment], at=payment), "WRONG_STATUS"),
        "paid without verdicts": (real.holding(without_votes, parent, context), "STALE_VERDICTS|NO_QUORUM"),
        "an altered record": (holding((moved(voted, accuracy_ppm=1_000_000), pairs[vote][1]), at=vote), bad),
        "an altered verdict": (
            holding((turned, signed_by(thief, turned, context.domain)), at=vote),
            "signer's node id",
        ),
        "a copied verdict": (holding(pairs[vote], pairs[vote], at=vote), "DUPLICATE_VOTE"),
        "an invented task": (
            holding((invented, signed_by(thief, invented, context.domain)), at=end, drop=0),
            f"record {end}: {bad}.*signer's node id",
        ),
        "an invented withdrawal": (
            holding((withdrawn, forged), at=end, drop=0),
            f"record {end}: {bad}.*signature is not over",
        ),
        "another results root": (real.saying(results_root=b"x" * 32), "resultsRoot is"),
        "another state root": (real.saying(state_root=b"x" * 32), "stateRoot is"),
        "another trace root": (real.saying(trace_root=b"x" * 32), "traceRoot is"),
        "another data root": (real.saying(data_root=b"x" * 32), "dataRoot is"),
        "another parent": (real.saying(parent_hash=b"x" * 32), "parentHash is"),
        "a higher payable total": (real.saying(payable_total=real.message.payable_total + 1), "payableTotal is"),
    }


async def show_the_truth(validator: str, real: Proposal) -> Proposal:
    return real


class Lying:
    """Tells each validator every lie once about the first epoch that pays somebody; shows that epoch's truth to nobody."""

    def __init__(self, proxy: LyingProxy, forge: Callable[[Proposal], Awaitable[dict[str, Lie]]]) -> None:
        self.proxy, self._forge = proxy, forge
        self.patterns: dict[str, str] = {}
        self._lies: dict[tuple[int, int], dict[str, Lie]] = {}
        self._names: dict[str, str] = {}

    async def show(self, validator: str, real: Proposal) -> Proposal | None:
        if not any(is_payment(record) for record, _ in real.pairs):
            return real
        if self.proxy.slot > real.message.expiry_slot - MARGIN_SLOTS:
            return None
        if real.key not in self._lies:
            forged = self._lies[real.key] = await self._forge(real)
            self._names |= {self.proxy.hash_of(proposal): name for name, (proposal, _) in forged.items()}
            self.patterns = {name: pattern for name, (_, pattern) in forged.items()}
        told = self.told(validator)
        return next((proposal for name, (proposal, _) in self._lies[real.key].items() if name not in told), None)

    def told(self, validator: str) -> set[str]:
        return {self._names[shown] for shown in self.proxy.done.get(validator, set()) if shown in self._names}

    def believed(self) -> set[str]:
        return {self._names[shown] for shown in self.proxy.signed if shown in self._names}


class TwoFaces:
    """Shows the first validator another proposal than the others, each as valid as the other, and later each the other one."""

    def __init__(self, proxy: LyingProxy, first: str, second: str) -> None:
        self.proxy, self._first, self._second = proxy, first, second
        self.restarted = False

    @staticmethod
    def other(real: Proposal) -> Proposal:
        return real.saying(expiry_slot=real.message.expiry_slot - 1)

    async def show(self, validator: str, real: Proposal) -> Proposal | None:
        if self.proxy.slot > real.message.expiry_slot - MARGIN_SLOTS:
            return None
        proxy, other = self.proxy, self.other(real)
        if validator == self._first:
            if validator not in proxy.signers(other):
                return other
            return real if self.restarted and not proxy.is_done(validator, real) else None
        if not proxy.is_done(self._first, real):
            return None
        if validator == self._second:
            return other if validator in proxy.signers(real) else real
        return real if proxy.is_done(self._second, other) and validator not in proxy.signers(real) else None


def reasons(network: Network, validator: str) -> list[str]:
    return [entry["reason"] for entry in log_of(network, validator, "not attested")]


async def test_a_lying_sequencer_gets_no_quorum(nursery: trio.Nursery, tmp_path: Path) -> None:
    settings = {**QUICK, "sequencer": {**QUICK["sequencer"], "attestation_grace_seconds": 2.0}}
    # Slots as long as a cluster's: an attempt, 64 of them, must outlive a validator's restart.
    network = Network(tmp_path, epoch_seconds=5.0, slot_ms=400, settings=settings)
    try:
        await network.start_l1()
        await network.prepare_sequencer()
        async with network.l1() as l1:
            proxy = LyingProxy(network.sequencer_url, free_ports(1), await l1.domain(), show_the_truth)
        await nursery.start(proxy.run)
        network.prepare_worker(0)
        real_url = network.sequencer_url
        names = []
        for index in range(VALIDATORS):
            network.sequencer_url = proxy.url_for(f"validator-{index}")
            names.append(network.prepare_validator(index))
        network.sequencer_url = real_url
        await bring_up(network, [WORKER], [*names, WORKER])
        lying = await _no_lie_is_signed(network, proxy, names)
        await _nobody_signs_twice(network, proxy, names)
        for name in names:
            for lie, pattern in lying.patterns.items():
                assert any(re.search(pattern, reason) for reason in reasons(network, name)), (name, lie)
    finally:
        await network.end()
    nursery.cancel_scope.cancel()


async def _no_lie_is_signed(network: Network, proxy: LyingProxy, names: list[str]) -> Lying:
    async with client_of(network) as client, network.l1() as l1:
        books = Voter(Party(Keypair(), client), network.bls[names[0]], l1)
        domain, worker = await client.domain(), bytes(network.nodes[WORKER].keypair.pubkey())

        async def forge(real: Proposal) -> dict[str, Lie]:
            parent = Parent.genesis(domain)
            if real.message.epoch > 1:
                parent = await books.check(await client.call("getCheckpoint", {"epoch": real.message.epoch - 1}))
            version = (await l1.fetch_config()).pinned.version
            sealed = await l1.fetch_validator_set(version)
            assert sealed is not None
            treasury = bytes(pda.treasury(network.program_id))
            context = Context(domain, real.message.epoch, parent.cut_slot, sealed.validator_set, treasury)
            return lies(real, parent, context, client.public_key, worker)

        lying = Lying(proxy, forge)
        proxy.show = lying.show
        await submit_task(client, seed=1)

        async def all_told() -> bool:
            return bool(lying.patterns) and all(lying.told(name) == set(lying.patterns) for name in names)

        await until(network, "every lie to be told to everyone", all_told)
        assert lying.believed() == set()
        info = await client.call("getEpochInfo")
        assert info["postedEpoch"] == (await l1.fetch_config()).posted.epoch == info["epoch"] - 2
        return lying


async def _nobody_signs_twice(network: Network, proxy: LyingProxy, names: list[str]) -> None:
    first, second, third = names
    two_faces = TwoFaces(proxy, first, second)
    before = len(proxy.signed)
    proxy.show = two_faces.show

    async def first_has_signed() -> bool:
        return len(proxy.signed) > before

    await until(network, "the first signature", first_has_signed)
    await network.kill(first)
    network.start(first)
    two_faces.restarted = True
    async with client_of(network) as client, network.l1() as l1:
        epoch = (await client.call("getEpochInfo"))["postedEpoch"] + 1

        async def posted() -> bool:
            return (await l1.fetch_config()).posted.epoch >= epoch

        await until(network, "the quorum for one of them", posted)
        proxy.show = show_the_truth
        checkpoint = await l1.fetch_checkpoint(epoch)
        assert checkpoint is not None
        real = next(proposal for proposal in proxy._real.values() if proxy.hash_of(proposal) == checkpoint.hash.hex())
        assert proxy.signers(real) == {second, third}
        assert proxy.signers(two_faces.other(real)) == {first}
        index = {entry["authority"]: entry["setIndex"] for entry in await client.call("getValidators")}
        signers = [index[str(network.nodes[name].keypair.pubkey())] for name in (second, third)]
        assert bytes_to_bitmap(checkpoint.bitmap) == sum(1 << signer for signer in signers)
        for name in (first, second):
            assert any("asked to attest" in reason for reason in reasons(network, name)), name

        # Whoever signed what did not land is not lost: all three sign the next epoch.
        earlier = set(proxy.signed)
        await withdraw(client, 1)

        async def all_sign() -> bool:
            return any(signers == set(names) for shown, signers in proxy.signed.items() if shown not in earlier)

        await until(network, "all to sign the next epoch", all_sign)

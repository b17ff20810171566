"""The validator: asks the sequencer what is to be judged and attested, follows L1, and does both. Judging runs beside attesting, in a child
process, so that a long replay never keeps a checkpoint waiting.
"""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import structlog
import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import bls
from settlement.client import L1Client
from settlement.errors import AccountError, L1Disagreement, L1RpcError, L1Unreachable, NotInitialized
from settlement.keys import read_bls_secret, read_keypair
from settlement.patience import MAX_PAUSE_SECONDS, until_l1_answers
from settlement.rpc_codes import Code
from settlement.sequencer_client import BadAnswer, RpcError, SequencerClient, SequencerError, SequencerUnreachable
from settlement.signing import Domain
from validator.answers import Answerer
from validator.attesting import Attester
from validator.batches import Batches, BatchesUnwritable
from validator.chain import Chain
from validator.challenger import Asked, Challenger
from validator.claim import Duties, DutyError
from validator.config import ValidatorConfig
from validator.follower import Follower
from validator.heartbeat import Heartbeats
from validator.judging import Judge
from validator.sightings import Sightings
from validator.slashing_protection import ProtectionUnwritable, SlashingProtection
from validator.store import Store, StoreUnwritable
from validator.verdicts import Verdicts, VerdictsUnwritable
from validator.watchtower import Watchtower
from worker.child import open_child

# NotInitialized passes too: right after `initialize` the Config is there at `confirmed`, and not yet at `finalized`.
_PASSING = (
    SequencerUnreachable,
    BadAnswer,
    RpcError,
    L1Unreachable,
    L1Disagreement,
    L1RpcError,
    AccountError,
    NotInitialized,
    StoreUnwritable,
    ProtectionUnwritable,
    VerdictsUnwritable,
    BatchesUnwritable,
)
_LOG: structlog.stdlib.BoundLogger = structlog.get_logger(room="validator")


async def run(config: ValidatorConfig, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Validates until cancelled. Raises WrongChain, ClusterMismatch, ProtectionLocked, OtherIdentity or StoreError rather than start on wrong
    ground, and Divergence when L1 has made final what the rules do not lead to; whatever may pass is waited for."""
    keypair = read_keypair(config.keypair)
    secret = bls.SecretKey.from_bytes(read_bls_secret(config.bls_keypair))
    program = Pubkey.from_string(config.program_id) if config.program_id else None
    arguments = ["--device", config.device, "--threads", str(config.threads)]
    async with L1Client(config.l1_urls, program) as l1, open_child("validator.replay", arguments) as child:
        environment = await child.call("environment")
        await until_l1_answers(l1.check_cluster, _LOG)
        domain = await l1.domain()
        with SlashingProtection(
            config.data_dir / "slashing_protection.sqlite", domain, secret.public_key
        ) as protection:
            verdicts, store = Verdicts(config.data_dir / "verdicts.sqlite"), Store(config.data_dir / "state", domain)
            try:
                async with SequencerClient(
                    config.sequencer, keypair, genesis=domain.genesis, program=domain.program
                ) as sequencer:
                    chain = Chain(await trio.to_thread.run_sync(store.load), domain)
                    batches = Batches(config.data_dir / "batches")
                    follower = Follower(l1, sequencer, domain, store, chain, batches)
                    attester = Attester(l1, sequencer, domain, secret, follower, protection, verdicts)
                    judge = Judge(config.data_dir, domain, sequencer, secret, child, environment, verdicts)
                    task_status.started()
                    heartbeats = Heartbeats(l1, keypair, secret.public_key)
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(heartbeats.forever)
                        if config.watch:
                            nursery.start_soon(watch, config, l1, sequencer, domain, keypair)
                        if config.challenge:
                            challenger = make_challenger(config, l1, sequencer, domain, keypair, follower)
                            nursery.start_soon(challenger.forever, config.poll_seconds)
                        if config.answer_demands:
                            nursery.start_soon(Answerer(l1, keypair, batches).forever)
                        await _Rounds(config.poll_seconds, sequencer, follower, attester, judge).forever()
            finally:
                verdicts.close()
                store.close()


async def watch(
    config: ValidatorConfig, l1: L1Client, sequencer: SequencerClient, domain: Domain, keypair: Keypair
) -> None:
    """Runs the watchtower until cancelled, before the validator's own sequencer and all others of the configuration."""
    sightings = Sightings(config.data_dir / "sightings.sqlite", domain)
    try:
        async with AsyncExitStack() as stack:
            others = [
                await stack.enter_async_context(SequencerClient(url, genesis=domain.genesis, program=domain.program))
                for url in config.watch_sequencers
            ]
            await Watchtower(l1, [sequencer, *others], domain, keypair, sightings).forever(config.watch_seconds)
    finally:
        sightings.close()


def make_challenger(
    config: ValidatorConfig,
    l1: L1Client,
    sequencer: SequencerClient,
    domain: Domain,
    keypair: Keypair,
    follower: Follower,
) -> Challenger:
    asked = Asked(config.data_dir / "demands.json")
    bond_lamports, patience_seconds = config.challenge_bond_lamports, config.withheld_seconds
    return Challenger(l1, sequencer, domain, keypair, follower, asked, bond_lamports, patience_seconds)


class _Rounds:
    def __init__(
        self, poll_seconds: float, sequencer: SequencerClient, follower: Follower, attester: Attester, judge: Judge
    ) -> None:
        self._poll_seconds = poll_seconds
        self._sequencer, self._follower, self._attester, self._judge = sequencer, follower, attester, judge
        self._authority = str(Pubkey(sequencer.public_key))
        self._judging: set[str] = set()
        self._outside = False
        self._forgotten_epoch = 0
        self._one_at_a_time = trio.CapacityLimiter(1)
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger(room="validator", authority=self._authority)

    async def forever(self) -> None:
        pause = self._poll_seconds
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    await self._round(nursery)
                    pause = self._poll_seconds
                except _PASSING as error:
                    self._log.warning("waiting", error=str(error))
                    pause = min(2 * pause, MAX_PAUSE_SECONDS)
                await trio.sleep(pause)

    async def _round(self, nursery: trio.Nursery) -> None:
        config = await self._follower.follow()
        if (finalized := self._follower.chain.finalized).epoch != self._forgotten_epoch:
            await self._judge.forget_settled(finalized.state)
            if self._follower.batches is not None:
                self._follower.batches.forget_until(finalized.epoch)
            self._forgotten_epoch = finalized.epoch
        duties = await self._duties()
        if duties is None:
            return
        for duty in duties.results:
            name = str(duty.get("commitment"))
            if name not in self._judging:
                self._judging.add(name)
                nursery.start_soon(self._judge_one, name, duty, duties.set_index)
        if duties.proposal is not None:
            await self._attester.attest(*duties.proposal, config)

    async def _duties(self) -> Duties | None:
        try:
            said = await self._sequencer.call("getDuties", {"validator": self._authority})
        except RpcError as error:
            if error.code != Code.NOT_A_VALIDATOR:
                raise
            if not self._outside:
                self._log.warning("not in the pinned set")
            self._outside = True
            return None
        self._outside = False
        try:
            return Duties.from_json(said)
        except DutyError as error:
            raise BadAnswer(f"getDuties: {error}") from error

    async def _judge_one(self, name: str, duty: Mapping[str, Any], set_index: int) -> None:
        try:
            async with self._one_at_a_time:
                await self._judge.judge(duty, set_index)
        except (SequencerError, VerdictsUnwritable, OSError) as error:
            self._log.warning("verdict not sent", error=str(error))
        finally:
            self._judging.discard(name)

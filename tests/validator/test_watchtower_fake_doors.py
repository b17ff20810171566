"""The watchtower against the real program: who signs twice is slashed, whatever else the sequencers show. They are fakes that show what each
test puts there; L1 is one without delay."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from solders.keypair import Keypair

from settlement import pda, slash_accounts
from settlement.client import L1Client
from settlement.errors import L1Unreachable
from settlement.messages import CheckpointMessage
from settlement.sequencer_client import SequencerUnreachable
from tests.program.instant_l1 import InstantL1
from tests.program.kit import SOL, Chain, validator
from tests.program.slash_kit import held
from validator.sightings import MAX_ATTEMPTS, Sightings, Vote
from validator.watchtower import Watchtower

REPORTER = Keypair.from_seed(b"w" * 32)


@dataclass
class FakeDoor:
    """A sequencer that shows these proposals, or none at all."""

    url: str = "http://door"
    proposals: list[dict[str, Any]] = field(default_factory=list)
    is_silent: bool = False

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        assert method == "getAttestations"
        if self.is_silent:
            raise SequencerUnreachable(self.url, method, 1, "silent")
        found = [one for one in self.proposals if one["message"].get("epoch") == params["epoch"]]
        return {"epoch": params["epoch"], "proposals": found}


class Scene:
    def __init__(self, folder: Path, doors: int = 2) -> None:
        self.chain: Chain = Chain.new().bring_up([validator(seed) for seed in range(4)])
        self.chain.svm.airdrop(REPORTER.pubkey(), 10 * SOL)
        self.chain.advance(1)
        self.doors = [FakeDoor(f"http://door-{index}") for index in range(doors)]
        self.folder = folder
        self.sightings: Sightings | None = None
        self.restart()

    def restart(self) -> None:
        if self.sightings is not None:
            self.sightings.close()
        self.sightings = Sightings(self.folder / "sightings.sqlite", self.chain.domain)
        client = L1Client(InstantL1(self.chain), self.chain.program_id)
        self.tower = Watchtower(client, self.doors, self.chain.domain, REPORTER, self.sightings)  # type: ignore[arg-type]

    def vote(self, message: CheckpointMessage, *signers: int) -> dict[str, Any]:
        digest = message.hash(self.chain.domain)
        signed = [(index, self.chain.validators[index].secret.sign(digest).hex()) for index in signers]
        attestations = [{"setIndex": index, "signature": signature} for index, signature in signed]
        return {"message": message.to_json(), "setVersion": 1, "attestations": attestations}

    def slashed(self) -> list[int]:
        return [index for index in range(4) if held(self.chain, index)["slashed_lamports"]]


async def test_one_who_signs_at_two_doors_is_slashed(tmp_path: Path, autojump_clock: Any) -> None:
    scene = Scene(tmp_path)
    first = scene.chain.message()
    second = replace(first, expiry_slot=first.expiry_slot - 1)
    scene.doors[0].proposals = [scene.vote(first, 0, 1, 2)]
    await scene.tower.once()
    assert scene.slashed() == []
    scene.restart()
    scene.doors[0].is_silent = True
    scene.doors[1].proposals = [scene.vote(second, 2)]
    await scene.tower.once()
    assert scene.slashed() == [2]
    assert held(scene.chain, 2)["flags"] == 3, "jailed and tombstoned"
    before = scene.chain.lamports(REPORTER.pubkey())
    await scene.tower.once()
    scene.restart()
    await scene.tower.once()
    assert (scene.slashed(), scene.chain.lamports(REPORTER.pubkey())) == ([2], before), "nothing is paid for twice"


async def test_what_was_posted_is_evidence(tmp_path: Path, autojump_clock: Any) -> None:
    scene = Scene(tmp_path)
    message = scene.chain.post([0, 1, 2])
    other = replace(message, state_root=b"\x07" * 32)
    scene.doors[0].proposals = [scene.vote(other, 1, 3)]
    await scene.tower.once()
    assert scene.slashed() == [1], "the fourth has not signed what was posted"


async def test_who_was_found_first_loses_as_much_as_the_last(tmp_path: Path, autojump_clock: Any) -> None:
    scene = Scene(tmp_path)
    first = scene.chain.message()
    second = replace(first, expiry_slot=first.expiry_slot - 1)
    scene.doors[0].proposals = [scene.vote(first, 0, 1)]
    scene.doors[1].proposals = [scene.vote(second, 0)]
    await scene.tower.once()
    once = held(scene.chain, 0)["slashed_lamports"]
    scene.doors[1].proposals = [scene.vote(second, 0, 1)]
    await scene.tower.once()
    await scene.tower.once()
    assert held(scene.chain, 0)["slashed_lamports"] == held(scene.chain, 1)["slashed_lamports"] > once
    address = pda.tally(scene.chain.program_id, 1)
    assert slash_accounts.decode_tally(address, scene.chain.data(address)).validators == 2


async def test_what_is_no_offence(tmp_path: Path, autojump_clock: Any) -> None:
    """Another attempt, another epoch, a signature of somebody else, a message of another set, and nonsense."""
    scene = Scene(tmp_path)
    first = scene.chain.message()
    later = replace(first, attempt=1, expiry_slot=first.expiry_slot - 1)
    forged = scene.vote(replace(first, expiry_slot=first.expiry_slot - 1), 3)
    forged["attestations"][0]["setIndex"] = 0
    elsewhere = scene.vote(replace(first, set_hash=bytes(32)), 0)
    beyond = scene.vote(replace(first, cut_slot=first.cut_slot - 1), 0)
    beyond["attestations"][0]["setIndex"] = 9
    nonsense = [
        {"message": {"epoch": 1}},
        {"message": {"epoch": 1}, "setVersion": "x"},
        scene.vote(first, 0) | {"setVersion": 7},
    ]
    scene.doors[0].proposals = [scene.vote(first, 0, 1, 2, 3), scene.vote(later, 0, 1)]
    scene.doors[1].proposals = [forged, elsewhere, beyond, *nonsense]
    for _ in range(2):
        await scene.tower.once()
    assert scene.slashed() == []
    assert scene.sightings is not None
    assert [len(scene.sightings.of(1, attempt)) for attempt in (0, 1, 2)] == [4, 2, 0]


async def test_an_l1_that_is_away_in_the_middle(
    tmp_path: Path, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report goes on from where it was."""
    scene = Scene(tmp_path)
    first = scene.chain.message()
    scene.doors[0].proposals = [scene.vote(first, 2)]
    scene.doors[1].proposals = [scene.vote(replace(first, expiry_slot=first.expiry_slot - 1), 2)]
    sent = 0
    send = InstantL1._sendTransaction

    def flaky(node: InstantL1, raw: str, options: Any) -> Any:
        nonlocal sent
        sent += 1
        if sent % 2 == 0:
            raise L1Unreachable("instant", "sendTransaction", 1, "away")
        return send(node, raw, options)

    monkeypatch.setattr(InstantL1, "_sendTransaction", flaky)
    for _ in range(6):
        try:
            await scene.tower.once()
        except L1Unreachable:
            scene.restart()
    assert scene.slashed() == [2]


def test_signatures_are_kept_within_bounds(tmp_path: Path) -> None:
    chain = Chain.new()
    sightings = Sightings(tmp_path / "sightings.sqlite", chain.domain)
    message = CheckpointMessage(5, 0, 100, 200, *[bytes(32)] * 5, 0, 0, bytes(32), bytes(32))
    key, messages = b"k" * 48, [replace(message, attempt=attempt) for attempt in range(MAX_ATTEMPTS)]
    sightings.add([Vote(one, key, 1, 0, bytes(96)) for one in messages])
    assert not sightings.wants(5, 7, key, messages[7].hash(chain.domain))
    assert sightings.wants(5, 7, key, bytes(32)), "a second one of an attempt is what is looked for"
    sightings.add([Vote(replace(messages[7], state_root=b"\1" * 32), key, 1, 0, bytes(96))])
    assert not sightings.wants(5, 7, key, bytes(32)), "two are enough"
    assert not sightings.wants(5, MAX_ATTEMPTS, key, bytes(32)) and sightings.wants(6, 0, key, bytes(32))
    assert [(a.message.attempt, b.message.attempt) for a, b in sightings.twice()] == [(7, 7)]
    sightings.forget(100)
    assert len(sightings.of(5, 7)) == 2
    sightings.forget(101)
    assert sightings.of(5, 7) == []
    sightings.close()

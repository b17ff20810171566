"""Methods about the cluster. Names, types and errors are literally those that solana-test-validator 4.1.2 answered."""

from __future__ import annotations

from typing import Any

import pytest
from solders.hash import Hash
from solders.keypair import Keypair

from localnet.config import LocalnetConfig
from localnet.genesis import vote_address
from localnet.methods_cluster import shred_version
from localnet.start import open_node

from .conftest import SOL, Localnet

NOBODY = "Nobody1111111111111111111111111111111111111"
PROCESSED = {"commitment": "processed"}
SLOTS = 432_000
STAKE = 999_999_997_717_120


async def identity_of(localnet: Localnet) -> str:
    return (await localnet.result("getIdentity"))["identity"]


async def test_one_identity_leads_every_slot(localnet: Localnet) -> None:
    me = await identity_of(localnet)
    localnet.clock.advance(49)
    assert await localnet.result("getSlotLeader") == me
    assert await localnet.result("getSlotLeaders", 1, 3) == [me] * 3
    assert await localnet.result("getSlotLeaders", 1, 0) == []
    for args, message in (
        ((1, 5001), "Invalid limit; max 5000"),
        ((10**9, 1), "Invalid slot range: leader schedule for epoch 2314 is unavailable"),
        ((2 * SLOTS - 1, 2), "Invalid slot range: leader schedule for epoch 2 is unavailable"),
    ):
        assert await localnet.error("getSlotLeaders", *args) == {"code": -32602, "message": message}
    for params in ([], [SLOTS], [None, {"identity": me}], [{"identity": me}], [{"commitment": "processed"}]):
        schedule = await localnet.result("getLeaderSchedule", *params)
        assert list(schedule) == [me] and schedule[me] == list(range(SLOTS))
    assert await localnet.result("getLeaderSchedule", {"identity": NOBODY}) == {}
    assert await localnet.result("getLeaderSchedule", 10**9) is None
    assert (await localnet.error("getLeaderSchedule", None, {"identity": "xx"}))[
        "message"
    ] == "Invalid param: WrongSize"


async def test_every_slot_has_its_block(localnet: Localnet) -> None:
    me = await identity_of(localnet)
    localnet.clock.advance(49)
    found = await localnet.result("getBlockProduction")
    assert found == {
        "context": {"apiVersion": "4.1.2", "slot": 18},
        "value": {"byIdentity": {me: [19, 19]}, "range": {"firstSlot": 0, "lastSlot": 18}},
    }
    ranged = await localnet.result("getBlockProduction", {"identity": me, "range": {"firstSlot": 1, "lastSlot": 4}})
    assert ranged["value"] == {"byIdentity": {me: [4, 4]}, "range": {"firstSlot": 1, "lastSlot": 4}}
    assert (await localnet.result("getBlockProduction", {"identity": NOBODY}))["value"]["byIdentity"] == {}
    for last, message in (
        (1, "lastSlot, 1, cannot be less than firstSlot, 4"),
        (10**9, "lastSlot, 1000000000, is too large; max 18"),
    ):
        config = {"range": {"firstSlot": 4, "lastSlot": last}}
        assert await localnet.error("getBlockProduction", config) == {"code": -32602, "message": message}
    assert await localnet.result("getBlocksWithLimit", 1, 3) == [1, 2, 3]
    assert await localnet.result("getBlocksWithLimit", 17, 9, {"commitment": "confirmed"}) == list(range(17, 26))
    assert await localnet.result("getBlocksWithLimit", 17, 9) == [17, 18]
    assert await localnet.result("getBlocksWithLimit", 10**9, 3) == []
    error = await localnet.error("getBlocksWithLimit", 1, 500_001)
    assert error == {"code": -32602, "message": "Limit too large; max 500000"}


async def test_the_validator_holds_all_of_the_stake(localnet: Localnet) -> None:
    me = await identity_of(localnet)
    localnet.clock.advance(49)
    found = await localnet.result("getVoteAccounts")
    (validator,) = found["current"]
    assert found["delinquent"] == [] and validator == {
        "activatedStake": STAKE,
        "commission": 0,
        "epochCredits": [],
        "epochVoteAccount": True,
        "inflationRewardsCommissionBps": 0,
        "lastVote": 18,
        "nodePubkey": me,
        "rootSlot": 0,
        "votePubkey": validator["votePubkey"],
    }
    assert await localnet.result("getVoteAccounts", {"votePubkey": NOBODY}) == {"current": [], "delinquent": []}
    assert (await localnet.result("getVoteAccounts", {"votePubkey": validator["votePubkey"]}))["current"] == [validator]
    assert (await localnet.error("getVoteAccounts", {"votePubkey": "xx"}))["code"] == -32602

    assert await localnet.result("getBlockCommitment", 5) == {"commitment": [0] * 31 + [STAKE], "totalStake": STAKE}
    assert (await localnet.result("getBlockCommitment", 47))["commitment"] == [0, 0, STAKE] + [0] * 29
    assert await localnet.result("getBlockCommitment", 10**9) == {"commitment": None, "totalStake": STAKE}


async def test_one_node_without_gossip(localnet: Localnet) -> None:
    (node,) = await localnet.result("getClusterNodes")
    rpc, pubsub = (f"127.0.0.1:{port}" for port in (localnet.endpoints.rpc_port, localnet.endpoints.websocket_port))
    assert node == {
        "clientId": None,
        "featureSet": 3_345_198_602,
        "gossip": None,
        "pubkey": await identity_of(localnet),
        "pubsub": pubsub,
        "rpc": rpc,
        "serveRepair": None,
        "shredVersion": shred_version(localnet.endpoints.genesis_hash),
        "tpu": None,
        "tpuForwards": None,
        "tpuForwardsQuic": None,
        "tpuQuic": None,
        "tpuVote": None,
        "tvu": None,
        "version": "4.1.2",
    }
    assert (await localnet.client.get_cluster_nodes()).value[0].rpc == rpc
    # A cluster of solana-test-validator's, and the version that it told.
    assert shred_version(Hash.from_string("Hgio46dUrEJ7CASs3KxzcZAmPaMmRjNRN4r3BQn7KdqP")) == 46125
    assert await localnet.result("getMaxRetransmitSlot") == await localnet.result("getMaxShredInsertSlot") == 0
    assert await localnet.error("getHighestSnapshotSlot") == {"code": -32008, "message": "No snapshot"}


async def test_there_is_no_inflation(localnet: Localnet) -> None:
    governor = await localnet.result("getInflationGovernor")
    assert governor == {"foundation": 0.0, "foundationTerm": 0.0, "initial": 0.0, "taper": 0.0, "terminal": 0.0}
    rate = await localnet.result("getInflationRate")
    assert rate == {"epoch": 0, "foundation": 0.0, "total": 0.0, "validator": 0.0}
    for config, slot in (({}, SLOTS), ({"epoch": 0}, SLOTS), ({"epoch": 2}, 3 * SLOTS)):
        error = await localnet.error("getInflationReward", [NOBODY], config)
        assert error == {"code": -32004, "message": f"Block not available for slot {slot}"}
    assert (await localnet.error("getInflationReward", ["xx"]))["message"] == "Invalid param: WrongSize"
    delegation = await localnet.result("getStakeMinimumDelegation", PROCESSED)
    assert delegation == {"context": {"apiVersion": "4.1.2", "slot": 1}, "value": SOL}
    assert await localnet.result("getEpochSchedule") == {
        "firstNormalEpoch": 0,
        "firstNormalSlot": 0,
        "leaderScheduleSlotOffset": SLOTS,
        "slotsPerEpoch": SLOTS,
        "warmup": False,
    }


async def test_supply_and_the_largest_accounts_follow_the_balances(localnet: Localnet) -> None:
    async def supply(commitment: str) -> dict[str, Any]:
        return (await localnet.result("getSupply", {"commitment": commitment}))["value"]

    before = await supply("processed")
    assert before["nonCirculating"] == 0 and before["nonCirculatingAccounts"] == []
    assert before["circulating"] == before["total"]
    rich = Keypair().pubkey()
    await localnet.airdrop(rich, 1000 * SOL)
    # The faucet's fee is burned; everything else only changed hands.
    assert (await supply("processed"))["total"] == before["total"] - 5000
    assert await supply("finalized") == before
    largest = (await localnet.result("getLargestAccounts", PROCESSED))["value"]
    assert {"address": str(rich), "lamports": 1000 * SOL} in largest and len(largest) <= 20
    assert largest == sorted(largest, key=lambda entry: entry["lamports"], reverse=True)
    finalized = (await localnet.result("getLargestAccounts", {"filter": "circulating"}))["value"]
    assert str(rich) not in {entry["address"] for entry in finalized}
    assert (await localnet.result("getLargestAccounts", {"filter": "nonCirculating"}))["value"] == []


@pytest.mark.parametrize("airdrops", [0, 3])
async def test_performance_samples_are_whole_minutes_of_blocks(localnet: Localnet, airdrops: int) -> None:
    assert await localnet.result("getRecentPerformanceSamples") == []
    for _ in range(airdrops):
        await localnet.airdrop(Keypair().pubkey())
    localnet.clock.advance(350)  # at 400 ms each: two minutes and twenty seconds
    first, second = await localnet.result("getRecentPerformanceSamples")
    assert second == {
        "numNonVoteTransactions": airdrops,
        "numSlots": second["numSlots"],
        "numTransactions": airdrops,
        "samplePeriodSecs": 60,
        "slot": second["slot"],
    }
    assert first["numTransactions"] == 0 and first["slot"] - first["numSlots"] == second["slot"]
    assert first["numSlots"] == 150 and second["numSlots"] in (149, 150)
    assert await localnet.result("getRecentPerformanceSamples", 1) == [first]
    error = await localnet.error("getRecentPerformanceSamples", 721)
    assert error == {"code": -32602, "message": "Invalid limit; max 720"}


async def test_an_account_may_not_be_longer_than_ten_mebibytes(localnet: Localnet) -> None:
    assert await localnet.result("getMinimumBalanceForRentExemption", 10 * 1024 * 1024) == 72_981_780_480
    error = await localnet.error("getMinimumBalanceForRentExemption", 10 * 1024 * 1024 + 1)
    assert error == {"code": -32600, "message": "Invalid request"}


def test_the_runtime_knows_the_stake_too() -> None:
    with open_node(LocalnetConfig(rpc_port=0), 1_800_000_000.0) as node:
        svm = node.bank.svm
        assert svm.epoch_stake(vote_address(node.identity)) == svm.epoch_total_stake() == STAKE


def test_the_vote_account_is_the_identitys_own() -> None:
    one, other = Keypair().pubkey(), Keypair().pubkey()
    assert vote_address(one) == vote_address(one) != vote_address(other)

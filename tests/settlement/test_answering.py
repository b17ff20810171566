"""How demands are answered, apart from L1: buffer ids, sizes of transactions, what a majority of nodes lists."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.keypair import Keypair

from settlement import answering, buffers, idl
from settlement.agreement import agree, malformed
from settlement.dispute_accounts import Demand

PAYER = Keypair.from_seed(b"p" * 32)
PROGRAM = idl.committed().address


@given(st.integers(1, 2**40 - 1), st.integers(1, 3), st.integers(0, 4095))
def test_a_buffers_id_names_its_demand(epoch: int, kind: int, index: int) -> None:
    made = answering.buffer_id(Demand(epoch, kind, index, PAYER.pubkey(), 1, 1, 2))
    assert made < 2**64 and answering.demand_of(made) == (epoch, kind, index)
    assert answering.demand_of(made ^ 1 << 60) is None


@pytest.mark.parametrize(("epoch", "index"), [(2**40, 0), (1, 4096)])
def test_an_index_beyond_a_batch_has_no_buffer(epoch: int, index: int) -> None:
    with pytest.raises(ValueError, match="there is no buffer for"):
        answering.buffer_id(Demand(epoch, 1, index, PAYER.pubkey(), 1, 1, 2))


@pytest.mark.parametrize(("length", "grown"), [(32, 0), (8_192, 0), (8_224, 1), (18_432, 1), (18_464, 2), (65_536, 6)])
def test_a_large_buffer_is_created_small_and_grown(length: int, grown: int) -> None:
    made = buffers.creation(PROGRAM, PAYER.pubkey(), 1, length)
    names = [idl.committed().decode_args(bytes(one.data)) for one in made]
    assert [name for name, _ in names] == ["create_proof_buffer", *["grow_proof_buffer"] * grown]
    lengths = [args["length"] for _, args in names]
    assert lengths[-1] == length and lengths[0] <= 8_192
    assert all(after - before <= 10_240 for before, after in itertools.pairwise(lengths))


def test_nodes_list_accounts_in_any_order_and_a_majority_decides() -> None:
    a, b, c = ({"pubkey": name, "account": {"data": [name, "base64"]}} for name in "abc")
    agreed = agree("getProgramAccounts", {0: [a, b], 1: [c, b, a], 2: [b]}, 2)
    assert agreed is not None and agreed.value == [a, b] and not agreed.dissenters
    forged = {"pubkey": "a", "account": {"data": ["x", "base64"]}}
    agreed = agree("getProgramAccounts", {0: [a, b], 1: [forged, b]}, 2)
    assert agreed is not None and agreed.value == [b]
    assert not malformed("getProgramAccounts", [], [a])
    assert malformed("getProgramAccounts", [], None) and malformed("getProgramAccounts", [], [1])

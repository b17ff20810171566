"""How demands are answered, apart from L1: buffer ids, sizes of transactions, what a majority of nodes lists."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import answering, buffers, idl, merkle
from settlement.agreement import agree, malformed
from settlement.dispute_accounts import Demand, DemandKind
from settlement.ledger.batch import chunks
from settlement.records import encode
from settlement.signing import Domain
from settlement.transactions import Confirmed, SignedTransaction, sign
from tests.settlement import kit

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


class FakeClient:
    """Counts what would be sent, and keeps its sizes; every buffer is new."""

    program_id = PROGRAM

    def __init__(self) -> None:
        self.sizes: list[int] = []

    async def domain(self) -> Domain:
        return kit.DOMAIN

    async def fetch_proof_buffer(self, owner: Pubkey, buffer_id: int) -> None:
        return None

    async def sign(self, parts: Sequence[Instruction], payer: Keypair, *_: Any) -> SignedTransaction:
        signed = sign(parts, payer, (), Hash.default(), 0)  # TransactionTooLarge when it does not fit
        self.sizes.append(len(signed.raw))
        return signed

    async def confirm(self, signed: SignedTransaction) -> Confirmed:
        return Confirmed(signed.signature, 1, None, ())


@pytest.mark.parametrize(("records", "most"), [(1, (1, 1, 1)), (20, (2, 4, 1)), (4_096, (2, 4, 1))])
async def test_an_answer_takes_few_transactions_fake_client(records: int, most: tuple[int, int, int]) -> None:
    """At most so many for a chunk, a record that somebody signed, a trace entry, wherever they stand; an index that is not there takes one."""
    record = kit.withdrawal("alice", 0, 5)
    signed = kit.authorise(record, "alice", 10**6)
    data = encode(record) * records + signed.encode() * records
    trace = [bytes([at % 256]) * 32 for at in range(records // 8 + 2)]
    roots = {"results_root": merkle.root("results-root", [encode(record)] * records)}
    roots |= {"data_root": merkle.root("data-root", chunks(data)), "trace_root": merkle.root("trace-root", trace)}
    checkpoint: Any = SimpleNamespace(epoch=2, parent_epoch=1, **roots)
    for kind, count, limit in zip(DemandKind, (len(chunks(data)), records, len(trace)), most, strict=True):
        for index in {0, count // 2, max(count - 2, 0), count - 1, count}:
            client: Any = FakeClient()
            demand = Demand(2, kind, index, Pubkey.new_unique(), 1, 1, 2)
            assert await answering.answer(client, PAYER, checkpoint, demand, data, trace)
            assert len(client.sizes) <= (1 if index == count else limit), (kind, index, client.sizes)

"""What every method works on: the bank and the identity of this ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from localnet.bank import Bank
from localnet.commitment import Commitment
from localnet.errors import min_context_slot_not_reached

# The agave release whose runtime solders' LiteSVM embeds; its interface is what is followed here.
API_VERSION = "4.1.2"


@dataclass(frozen=True, slots=True)
class Node:
    """`rpc_address` and `websocket_address` are "ip:port", None where the node is not served."""

    bank: Bank
    genesis_hash: Hash
    identity: Pubkey
    faucet: Keypair
    rpc_address: str | None = None
    websocket_address: str | None = None

    def slot_for(self, commitment: Commitment | None, min_context_slot: int | None = None) -> int:
        """The slot whose state a call reads; `finalized` when it names no level. Raises RpcError -32016."""
        slot = self.bank.slot_at(commitment or Commitment.FINALIZED)
        if min_context_slot is not None and slot < min_context_slot:
            raise min_context_slot_not_reached(slot)
        return slot


def with_context(slot: int, value: Any) -> dict[str, Any]:
    return {"context": {"apiVersion": API_VERSION, "slot": slot}, "value": value}

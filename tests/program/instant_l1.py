"""A node for `L1Client` over a Chain's LiteSVM, in which every transaction lands at once and is final. Fake: there is no fork, no lag, no loss."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import trio
from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata, TransactionMetadata

from settlement.client import L1Client
from settlement.rpc import RpcFailure
from tests.program.kit import GENESIS, Chain, error_name


class InstantL1:
    def __init__(self, chain: Chain) -> None:
        self.chain, self.url = chain, "instant"
        self.landed: dict[str, tuple[VersionedTransaction, TransactionMetadata]] = {}

    async def __aenter__(self) -> InstantL1:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def call(self, method: str, params: Sequence[Any] = (), attempts: int = 6) -> Any:
        await trio.lowlevel.checkpoint()
        return getattr(self, f"_{method}")(*params)

    def _value(self, value: Any) -> Any:
        return {"context": {"slot": self.chain.slot}, "value": value}

    def _getGenesisHash(self) -> Any:
        return str(Hash(GENESIS))

    def _getSlot(self, options: Any = None) -> Any:
        return self.chain.slot

    _getBlockHeight = _getSlot

    def _getAccountInfo(self, address: str, options: Any = None) -> Any:
        return self._value(self._account(address))

    def _getMultipleAccounts(self, addresses: Sequence[str], options: Any = None) -> Any:
        return self._value([self._account(address) for address in addresses])

    def _account(self, address: str) -> Any:
        held = self.chain.svm.get_account(Pubkey.from_string(address))
        if held is None or not held.lamports:
            return None
        data = [base64.b64encode(bytes(held.data)).decode(), "base64"]
        return {"lamports": held.lamports, "owner": str(held.owner), "data": data, "executable": held.executable}

    def _getLatestBlockhash(self, options: Any = None) -> Any:
        found = {"blockhash": str(self.chain.svm.latest_blockhash()), "lastValidBlockHeight": self.chain.slot + 150}
        return self._value(found)

    def _sendTransaction(self, raw: str, options: Any) -> Any:
        transaction = VersionedTransaction.from_bytes(base64.b64decode(raw))
        signature = str(transaction.signatures[0])
        done = self.chain.svm.send_transaction(transaction)
        self.chain.svm.expire_blockhash()
        if isinstance(done, FailedTransactionMetadata):
            inner = done.err()
            code = getattr(getattr(inner, "err", None), "code", None)
            err = str(inner) if code is None else {"InstructionError": [inner.index, {"Custom": code}]}
            raise RpcFailure("sendTransaction", -32002, error_name(done), {"err": err, "logs": done.meta().logs()})
        self.landed[signature] = transaction, done
        return signature

    def _getSignatureStatuses(self, signatures: Sequence[str], options: Any = None) -> Any:
        status = {"slot": self.chain.slot, "err": None, "confirmationStatus": "finalized"}
        return self._value([status if one in self.landed else None for one in signatures])

    def _getTransaction(self, signature: str, options: Any = None) -> Any:
        transaction, done = self.landed[signature]
        meta = {"err": None, "computeUnitsConsumed": done.compute_units_consumed(), "logMessages": done.logs()}
        shown = [base64.b64encode(bytes(transaction)).decode(), "base64"]
        return {"slot": self.chain.slot, "meta": meta, "transaction": shown}

    def _getSignaturesForAddress(self, address: str, options: Any = None) -> Any:
        key = Pubkey.from_string(address)
        naming = [one for one, (transaction, _) in self.landed.items() if key in transaction.message.account_keys]
        return [{"signature": one, "err": None} for one in reversed(naming)]


def client_of(chain: Chain) -> L1Client:
    return L1Client(InstantL1(chain), chain.program_id)

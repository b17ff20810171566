"""A Chain whose program is replaced by the loader's own instructions, and whose lamports are counted in every transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from solders.account import Account as L1Account
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM
from solders.transaction_metadata import TransactionMetadata

from settlement import loader, pda
from tests.program.kit import TRANSACTION_BYTES, Chain, Refused

SIGNATURE_LAMPORTS, PRIORITY_LAMPORTS = 5_000, 2


@dataclass
class Counted(Chain):
    """`held_first`: what each account of each transaction held before the first one that named it."""

    held_first: dict[Pubkey, int] = field(default_factory=dict)
    fee_lamports: int = 0

    def send(
        self,
        *batch: Instruction,
        signers: Iterable[Keypair] = (),
        payer: Keypair | None = None,
        limit_bytes: int = TRANSACTION_BYTES,
    ) -> TransactionMetadata:
        payer, signers = payer or self.payer, list(signers)
        for address in (payer.pubkey(), *(meta.pubkey for one in batch for meta in one.accounts)):
            self.held_first.setdefault(address, self.lamports(address))
        fee_lamports = SIGNATURE_LAMPORTS * len({payer.pubkey(), *(one.pubkey() for one in signers)})
        fee_lamports += PRIORITY_LAMPORTS
        before = self.lamports(payer.pubkey())
        try:
            done = super().send(*batch, signers=signers, payer=payer, limit_bytes=limit_bytes)
        except Refused:
            lost = before - self.lamports(payer.pubkey())
            assert lost in (0, fee_lamports), f"refused, and it cost {lost} lamports"
            self.fee_lamports += lost
            raise
        assert done.fee() == fee_lamports
        self.fee_lamports += fee_lamports
        return done

    def check_conserved(self) -> None:
        """No lamport came into being or was lost, but for the fees."""
        now = sum(self.lamports(address) for address in self.held_first)
        assert now + self.fee_lamports == sum(self.held_first.values())

    def versions_of(self, *addresses: Pubkey) -> list[int]:
        return [self.data(address)[8] for address in addresses]

    def own_accounts(self) -> dict[Pubkey, bytes]:
        """The data of every account of the program that any transaction has named."""
        found = ((address, self.svm.get_account(address)) for address in self.held_first)
        return {address: bytes(one.data) for address, one in found if one is not None and one.owner == self.program_id}

    def upgrade(self, elf: Path) -> None:
        """ExtendProgram where it is needed, then Upgrade, both of the upgradeable loader. Only the buffer is set as its 800 writes would
        leave it. It runs from the next slot on. No account of the program changes by it."""
        code, before = elf.read_bytes(), self.own_accounts()
        program_data = pda.program_data(self.program_id)
        room = len(loader.decode_program_data(program_data, self.data(program_data)).data)
        self.advance(1)
        missing = loader.extension_bytes(room, len(code))
        if missing:
            self.send(loader.extend(self.payer.pubkey(), self.program_id, missing))
            self.advance(1)
        buffer, authority = Keypair().pubkey(), self.authority
        data = b"\x01\x00\x00\x00\x01" + bytes(authority.pubkey()) + code
        rent = self.svm.minimum_balance_for_rent_exemption(len(data))
        self.svm.set_account(buffer, L1Account(rent, data, loader.LOADER))
        upgrade = loader.upgrade(self.program_id, buffer, authority.pubkey(), self.payer.pubkey())
        self.send(upgrade, signers=[authority])
        self.advance(1)
        held = loader.decode_program_data(program_data, self.data(program_data))
        assert loader.same_program(code, held.data) and held.authority == authority.pubkey()
        assert self.own_accounts() == before


def migrating(chain: Chain, caller: Pubkey, position: Pubkey, unbonding_id: int) -> Instruction:
    """migrate_unbonding of the next version, which no committed IDL describes."""
    metas = [
        AccountMeta(caller, is_signer=True, is_writable=True),
        AccountMeta(position, is_signer=False, is_writable=False),
        AccountMeta(pda.unbonding(chain.program_id, position, unbonding_id), is_signer=False, is_writable=True),
        AccountMeta(SYSTEM, is_signer=False, is_writable=False),
    ]
    data = discriminator("global:migrate_unbonding") + unbonding_id.to_bytes(8, "little")
    return Instruction(chain.program_id, data, metas)


def discriminator(name: str) -> bytes:
    """Anchor's, of "global:" and an instruction or "account:" and a type."""
    return hashlib.sha256(name.encode()).digest()[:8]

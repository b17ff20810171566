"""Every account there is, for the methods that add up or rank the whole state. Pure but for reading the bank."""

from __future__ import annotations

from solders.account import Account
from solders.pubkey import Pubkey

from localnet.bank import Bank

_LOADERS = tuple(
    Pubkey.from_string(text)
    for text in (
        "NativeLoader1111111111111111111111111111111",
        "BPFLoader1111111111111111111111111111111111",
        "BPFLoader2111111111111111111111111111111111",
        "BPFLoaderUpgradeab1e11111111111111111111111",
        "LoaderV411111111111111111111111111111111111",
    )
)
_SYSVAR_OWNER = Pubkey.from_string("Sysvar1111111111111111111111111111111111111")


def all_accounts(bank: Bank, slot: int) -> dict[Pubkey, Account]:
    """The accounts at the end of `slot`: of the system program, of the loaders and of every program that these loaded.

    An account that was given to an address that is no program is not found: the SVM lists accounts by owner only.
    """
    found: dict[Pubkey, Account] = {}
    for owner in (Pubkey.default(), _SYSVAR_OWNER, *_LOADERS):
        found.update(bank.program_accounts(owner, slot))
    for program in [address for address, account in found.items() if account.executable]:
        if program not in _LOADERS and program != Pubkey.default():
            found.update(bank.program_accounts(program, slot))
    return found

"""Heartbeats: a transaction of the authority on L1 now and then, so that a stall step does not take the validator for gone.

One is due a third of heartbeat_slots after the last, so that two may fail before the third is late. Beside attesting, which needs no
lamports on L1: without any a validator attests all the same, and says that its heartbeats cannot be paid.
"""

from __future__ import annotations

import structlog
import trio
from solders.keypair import Keypair

from settlement import pda, stake_instructions
from settlement.accounts import RegistrySlot
from settlement.client import SLOT_SECONDS, L1Client
from settlement.errors import L1Error
from settlement.stake_accounts import INACTIVE

FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 1.0, 30.0


def due_slot(slot: RegistrySlot, heartbeat_slots: int) -> int:
    """When the next one is due; at once for a validator that a stall step has dropped."""
    if slot.flags & INACTIVE:
        return 0
    return slot.heartbeat_slot + heartbeat_slots // 3


class Heartbeats:
    def __init__(self, l1: L1Client, authority: Keypair, bls_public_key: bytes) -> None:
        self._l1, self._authority = l1, authority
        self._validator = pda.validator(l1.program_id, bls_public_key)
        self._said = ""
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger(
            room="validator", authority=str(authority.pubkey())
        )

    async def forever(self) -> None:
        failures = 0
        while True:
            try:
                pause = await self.once()
                failures, self._said = 0, ""
            except L1Error as error:
                failures += 1
                pause = min(FIRST_PAUSE_SECONDS * 2**failures, MAX_PAUSE_SECONDS)
                if str(error) != self._said:
                    self._log.warning("no heartbeat", error=str(error))
                self._said = str(error)
            await trio.sleep(pause)

    async def once(self) -> float:
        """Sends one if it is due; returns the seconds to wait before looking again. A validator without a slot sends none."""
        config = await self._l1.fetch_config()
        slot = (await self._l1.fetch_registry()).slot_of(self._authority.pubkey())
        if slot is None:
            return MAX_PAUSE_SECONDS
        now, due = await self._l1.get_slot(), due_slot(slot, config.parameters.heartbeat_slots)
        if now < due:
            # Slots may be shorter than usual on a localnet.
            return min(max((due - now) * SLOT_SECONDS / 2, FIRST_PAUSE_SECONDS), MAX_PAUSE_SECONDS)
        built = stake_instructions.heartbeat(self._l1.program_id, self._authority.pubkey(), self._validator)
        done = await self._l1.send_and_confirm([built], self._authority)
        self._log.info("heartbeat", slot=done.slot)
        return FIRST_PAUSE_SECONDS

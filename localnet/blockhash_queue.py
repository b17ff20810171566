"""The recent blockhashes that a transaction may name, each for 150 blocks. Pure: heights are arguments."""

from __future__ import annotations

from solders.hash import Hash

# MAX_PROCESSING_AGE of solana-clock.
MAX_AGE_BLOCKS = 150


class BlockhashQueue:
    """Maps a blockhash to the height of the block that ended with it.

    `keep_blocks` is how far back a reader may ask beyond the 150 blocks, that is the lag of `finalized`.
    """

    def __init__(self, keep_blocks: int) -> None:
        self._keep_blocks = keep_blocks + MAX_AGE_BLOCKS
        self._height_of: dict[Hash, int] = {}
        self._hash_at: dict[int, Hash] = {}

    def register(self, blockhash: Hash, block_height: int) -> None:
        """Adds the hash that block `block_height` ended with and forgets what no reader can still ask for."""
        self._height_of[blockhash] = block_height
        self._hash_at[block_height] = blockhash
        too_old = self._hash_at.pop(block_height - self._keep_blocks - 1, None)
        if too_old is not None:
            del self._height_of[too_old]

    def at(self, block_height: int) -> Hash:
        """The hash of that block; KeyError when it is unknown or forgotten."""
        return self._hash_at[block_height]

    def last_valid_block_height(self, blockhash: Hash) -> int | None:
        """The last height at which a transaction that names this hash can land; None when the hash is unknown."""
        height = self._height_of.get(blockhash)
        return None if height is None else height + MAX_AGE_BLOCKS

    def is_valid(self, blockhash: Hash, block_height: int) -> bool:
        """Whether a bank at `block_height` accepts a transaction that names this hash."""
        height = self._height_of.get(blockhash)
        return height is not None and height <= block_height <= height + MAX_AGE_BLOCKS

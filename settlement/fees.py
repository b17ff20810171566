"""What a compute unit of a post, or of an answer to a demand, may cost. Pure.

The first try pays what others paid of late. Each one that does not land doubles the price, up to a cap: a spike is met, a bug or a lying
node cannot empty the payer.
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_DOUBLINGS = 32
PERCENTILE = 75


def usual_price(recent_micro_lamports: Sequence[int]) -> int:
    """The upper quartile of recent blocks' fees, in micro-lamports a compute unit; 0 when there are none."""
    ordered = sorted(recent_micro_lamports)
    return ordered[min(len(ordered) * PERCENTILE // 100, len(ordered) - 1)] if ordered else 0


def price(usual: int, unlanded: int, *, start: int, cap: int) -> int:
    """Micro-lamports a compute unit for the next try, after `unlanded` that did not land in a row; never above `cap`."""
    if unlanded == 0:
        return min(usual, cap)
    return min(max(usual, start) << min(unlanded - 1, MAX_DOUBLINGS), cap)

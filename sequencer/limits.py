"""How much one address may ask for: a token bucket each. Pure: the time is an argument.

An IPv6 address counts as its /64, of which one customer has all; an IPv4 address mapped into IPv6 as what it is.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

MAX_ADDRESSES = 65_536
"""Beyond this the address that asked longest ago is forgotten: it starts again with a full bucket."""


def source(host: str) -> str:
    """What an address is counted as."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


class TokenBuckets:
    """A bucket of `burst` tokens for each source, filled at `per_second`."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second, self._burst = per_second, burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def take(self, name: str, tokens: float, now: float) -> float:
        """Takes the tokens and returns 0, or takes none and returns the seconds until they are there. `now` never goes back."""
        left, since = self._left.pop(name, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._per_second)
        wait = max(0.0, (tokens - left) / self._per_second)
        self._left[name] = (left if wait else left - tokens, now)
        while len(self._left) > MAX_ADDRESSES:
            self._left.popitem(last=False)
        return wait

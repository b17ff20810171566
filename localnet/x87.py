"""Leaves the processor's floating-point unit as it was found.

The runtime's compiled programs keep values in MMX registers and do not say EMMS when they are done. On x86-64 these registers are those of the
x87 unit, which then takes its stack for full: the next `long double` computed on the thread, by whatever library, is NaN (libstdc++ sizes its
hash tables that way, so RocksDB in the same process would not even open). The state belongs to the thread, so it is cleared on the thread
that ran the program, right after it.
"""

import ctypes
import mmap
import platform
from collections.abc import Callable

_EMMS_RET = bytes.fromhex("0f77 c3")  # Intel SDM volume 2: EMMS empties the MMX state; RET


def _make() -> Callable[[], None]:
    if platform.machine() not in ("x86_64", "AMD64"):
        return lambda: None  # no x87 unit
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(_EMMS_RET)
    function = ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))

    def clear() -> None:
        function()

    clear.page = page  # type: ignore[attr-defined]  # the code lives as long as what calls it
    return clear


clear = _make()
"""Empties the MMX state of the calling thread."""

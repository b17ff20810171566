"""The floating-point unit after a program used the MMX registers: broken without `x87.clear`, sound with it."""

import ctypes
import mmap
import platform

import numpy

from localnet import x87

HAS_X87 = platform.machine() in ("x86_64", "AMD64")


def is_sound() -> bool:
    with numpy.errstate(invalid="ignore"):
        return bool(numpy.longdouble(3) / numpy.longdouble(2) == numpy.longdouble("1.5"))


def use_mmx() -> None:
    """MOVD MM0, EAX; RET: what the runtime's compiled programs do."""
    with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as page:
        page.write(bytes.fromhex("0f6ec0 c3"))
        start = ctypes.c_char.from_buffer(page)
        ctypes.CFUNCTYPE(None)(ctypes.addressof(start))()
        del start


def test_mmx_breaks_it_and_clear_mends_it() -> None:
    x87.clear()
    assert is_sound()
    if HAS_X87:  # elsewhere there is nothing to break, and `clear` must do no harm
        use_mmx()
        assert not is_sound()
    x87.clear()
    assert is_sound()

"""Strict safetensors: the only form in which tensors enter or leave. Header, dtypes, shapes and offsets are checked before a tensor
is made, because datasets and states come from strangers; nothing here unpickles. Format: huggingface/safetensors, README "Format".
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch

MAX_FILE_BYTES = 64 * 1024 * 1024  # the blob limit of docs/rpc.md
MAX_HEADER_BYTES = 64 * 1024  # some hundred tensors; the format itself would allow 100 MB

_DTYPES = {"F32": torch.float32, "I64": torch.int64, "U8": torch.uint8}
_SIZES = {"F32": 4, "I64": 8, "U8": 1}


class TensorFileError(ValueError):
    """The bytes are not the safetensors file that was expected; the message says where."""


@dataclass(frozen=True)
class Expected:
    """dtype (F32, I64, U8) and shape of one tensor; a dimension of None may have any size from 1."""

    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class _Slice:
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise TensorFileError("the header names a key twice")
    return found


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    if len(data) > MAX_FILE_BYTES:
        raise TensorFileError(f"{len(data)} bytes, at most {MAX_FILE_BYTES} are allowed")
    if len(data) < 10:
        raise TensorFileError(f"{len(data)} bytes are too few for a safetensors file")
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise TensorFileError(
            f"not a safetensors file, or its header is too large: {length} bytes, at most {MAX_HEADER_BYTES}"
        )
    if 8 + length > len(data):
        raise TensorFileError(f"the header of {length} bytes runs past the end of the file")
    try:
        header = json.loads(data[8 : 8 + length], object_pairs_hook=_no_duplicates)
    except TensorFileError:
        raise
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits is a plain ValueError
        raise TensorFileError("the header is not JSON") from error
    if not isinstance(header, dict):
        raise TensorFileError("the header is not a JSON object")
    header.pop("__metadata__", None)
    return header, 8 + length


def _natural(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise TensorFileError(f"{what} is {repr(value)[:24]}, not a number of bytes or rows")
    return value


def _slice(name: str, raw: Any, expected: Expected) -> _Slice:
    if not isinstance(raw, dict) or raw.keys() != {"dtype", "shape", "data_offsets"}:
        raise TensorFileError(f"{name}: the header needs exactly dtype, shape and data_offsets")
    if raw["dtype"] != expected.dtype:
        raise TensorFileError(f"{name}: dtype is {raw['dtype']!r}, must be {expected.dtype}")
    shape, offsets = raw["shape"], raw["data_offsets"]
    if not isinstance(shape, list) or not isinstance(offsets, list) or len(offsets) != 2:
        raise TensorFileError(f"{name}: shape or data_offsets is not a list of the right length")
    dims = tuple(_natural(dim, f"{name}: a dimension") for dim in shape)
    fits = len(dims) == len(expected.shape) and all(
        (dim >= 1 if want is None else dim == want) for dim, want in zip(dims, expected.shape, strict=True)
    )
    if not fits:
        wanted = ["any" if want is None else want for want in expected.shape]
        raise TensorFileError(f"{name}: shape is {list(dims)}, must be {wanted}")
    begin, end = (_natural(offset, f"{name}: an offset") for offset in offsets)
    if end - begin != math.prod(dims) * _SIZES[expected.dtype]:
        raise TensorFileError(f"{name}: {end - begin} bytes do not hold shape {list(dims)} of {expected.dtype}")
    return _Slice(expected.dtype, dims, begin, end)


def load(data: bytes, expected: Mapping[str, Expected]) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file on the CPU, each in fresh, aligned memory, in the order of `expected`. Raises TensorFileError
    unless names, dtypes and shapes are exactly those expected and the tensors tile the data section without gap or overlap."""
    header, start = _header(data)
    if header.keys() != expected.keys():
        missing, extra = sorted(expected.keys() - header.keys()), sorted(header.keys() - expected.keys())
        raise TensorFileError(f"wrong tensors: missing {missing}, unexpected {extra[:8]}")
    slices = {name: _slice(name, header[name], want) for name, want in expected.items()}
    position = 0
    for part in sorted(slices.values(), key=lambda part: part.begin):
        if part.begin != position:
            raise TensorFileError(f"the tensors overlap or leave a gap at byte {position}")
        position = part.end
    if start + position != len(data):
        raise TensorFileError(f"the tensors end at byte {start + position}, the file at {len(data)}")
    # Fresh memory: a view at an odd address could take another kernel path, with other rounding, than the tensor it was saved from.
    return {
        name: torch.frombuffer(bytearray(data[start + s.begin : start + s.end]), dtype=_DTYPES[s.dtype])
        .reshape(s.shape)
        .clone()
        for name, s in slices.items()
    }


def dump(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """The one canonical file of these tensors: no metadata, contiguous, order fixed by safetensors (dtype, then name)."""
    return safetensors.torch.save({name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)})


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What few bits on the wire do to a sum over ranks.

Every rank rounds its t to Q(t): blocks of consecutive reduced channels become integers -m … m times a scale. Each block of each
row has an owner, which adds up the ranks' Q(t), rounds the sum and sends it to all. A rank's error is t - Q(t), and the owner's
also what the second rounding left out.
"""
import numpy as np

# A block's largest value travels as a float of three bits of mantissa; these are the ends of its range.
SMALLEST, LARGEST = 1.125 * 2.0 ** -12, 1.75 * 2.0 ** 19


def largest_as_sent(values: np.ndarray, bits: int) -> np.ndarray:
    """The largest absolute value of each block [..., 1] as its code holds it: the nearest, for 8 bits one not below."""
    top = np.abs(values).max(-1, keepdims=True).astype(np.float64)
    mantissa, exponent = np.frexp(np.where(np.isfinite(top), top, 1))
    steps = mantissa * 16
    steps = np.ceil(steps) if bits == 8 else np.floor(steps + 0.5)
    sent = np.where(top == 0, 0, np.maximum(np.ldexp(steps / 16, exponent), SMALLEST))
    return np.where(np.isfinite(top) & (sent <= LARGEST), sent, np.nan)


def rounded(x: np.ndarray, bits: int, block: int, exact) -> np.ndarray:
    """Q(x) along the last dimension, of the same type; `exact` are places in it that stay as they are."""
    width, limit = x.shape[-1], 2 ** (bits - 1) - 1
    values = x.copy()
    values[..., exact] = 0
    values = np.concatenate([values, np.zeros((*x.shape[:-1], -width % block), x.dtype)], -1)
    values = values.reshape(*x.shape[:-1], -1, block)
    largest = largest_as_sent(values, bits).astype(x.dtype)
    scale = largest / x.dtype.type(limit)
    steps = np.rint(values * (x.dtype.type(limit) / np.where(largest == 0, 1, largest)))
    result = (np.clip(steps, -limit, limit) * scale).reshape(*x.shape[:-1], -1)[..., :width].astype(x.dtype)
    result[..., exact] = x[..., exact]
    return result


def owners(rows: int, width: int, block: int, ranks: int) -> np.ndarray:
    """The owner of each element of [rows, width]: of all blocks, row by row, rank m has those from n m / r on."""
    blocks = -(-width // block)
    total = rows * blocks
    bounds = [total * m // ranks for m in range(1, ranks)]
    owner = np.searchsorted(bounds, np.arange(total), side="right").reshape(rows, blocks)
    return np.repeat(owner, block, 1)[:, :width]


def all_reduce(t: np.ndarray, bits: int, block: int, exact) -> tuple[np.ndarray, np.ndarray]:
    """(sum, errors) of t [ranks, ..., channels]; sum + errors.sum(0) = t.sum(0)."""
    ranks, width = len(t), t.shape[-1]
    sent = rounded(t, bits, block, exact)
    total = sent[0].copy()
    for part in sent[1:]:
        total = total + part
    result, errors = rounded(total, bits, block, exact), t - sent
    owner = owners(total.size // width, width, block, ranks).reshape(total.shape)
    for rank in range(ranks):
        errors[rank] += np.where(owner == rank, total - result, 0)
    return result, errors

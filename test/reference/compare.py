# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How outputs are compared: relative to 1 or the expected value, masked positions aside."""
import numpy as np


def worst_difference(inputs: dict, want: dict, got: dict) -> tuple[float, str]:
    """(largest difference, what it is about); infinite where a tensor is missing, misshaped or not a number."""
    worst, where = 0.0, ""
    for name, expected in want.items():
        if name not in got:
            return np.inf, f"{name} is missing"
        x, y = expected.astype(np.float64), got[name].astype(np.float64)
        if x.shape != y.shape:
            return np.inf, f"{name} has shape {list(y.shape)}, not {list(x.shape)}"
        difference = np.abs(x - y) / np.maximum(1.0, np.abs(x))
        if "attention_mask" in inputs and x.ndim >= 3:
            axis = 2 if name.startswith("present") else 1
            mask = inputs["attention_mask"].astype(bool)
            if x.shape[axis] <= mask.shape[1]:
                difference = np.moveaxis(difference, axis, 1)[mask[:, -x.shape[axis]:]]
        if np.isnan(difference).any():
            return np.inf, f"{name} is not a number somewhere"
        if difference.size and difference.max() > worst:
            worst, where = float(difference.max()), name
    return worst, where

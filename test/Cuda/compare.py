# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""compare.py WANT.npz GOT.npz TOLERANCE: the same arrays, up to the tolerance relative to max(1, |want|)."""
import sys

import numpy as np

want, got = np.load(sys.argv[1]), np.load(sys.argv[2])
assert sorted(want.files) == sorted(got.files), (want.files, got.files)
for name in want.files:
    assert want[name].shape == got[name].shape and want[name].dtype == got[name].dtype, name
    error = np.abs(want[name] - got[name]) / np.maximum(1, np.abs(want[name]))
    assert error.max() <= float(sys.argv[3]), f"{name}: off by {error.max()}"

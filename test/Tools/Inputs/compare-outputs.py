# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""compare-outputs.py MADE.npz EXPECTED.npz: every expected array is there, of the same shape, within 2e-5."""
import sys

import numpy as np

made, expected = np.load(sys.argv[1]), np.load(sys.argv[2])
for name in expected:
    assert name in made, f"{name} is missing"
    assert made[name].shape == expected[name].shape, (name, made[name].shape, expected[name].shape)
    error = np.abs(made[name] - expected[name]).max(initial=0)
    assert error < 2e-5, (name, error)

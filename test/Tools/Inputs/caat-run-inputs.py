# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes the inputs of caat-run.test into a directory; with --check, compares what caat-run wrote there."""
import pathlib
import sys

import numpy as np
from safetensors.numpy import load_file, save_file

directory = pathlib.Path(sys.argv[1])
prompt = np.array([3, 1, 4, 1], np.int64)
if "--check" not in sys.argv:
    inputs = {"input_ids": prompt[None], "attention_mask": np.ones((1, 4), np.int64)}
    np.savez_compressed(directory / "in.npz", **inputs)
    save_file(inputs, directory / "in.safetensors")
    np.savez(directory / "masked.npz", input_ids=prompt[None], attention_mask=np.array([[0, 1, 1, 1]]))
    np.save(directory / "prompt.npy", prompt)
    np.save(directory / "corpus.npy", np.arange(43, dtype=np.int64) * 7 % 12)
    np.save(directory / "bad.npy", np.array([1, 2, 13], np.int64))
    np.save(directory / "float.npy", np.ones(3, np.float32))
else:
    a, b = np.load(directory / "out.npz"), load_file(directory / "out.safetensors")
    assert set(a) == set(b) == {"logits", "present.0"}
    assert all(np.array_equal(a[name], b[name]) for name in b), "two runs differ"
    made = np.load(directory / "made.npy")
    assert made.shape == (7,) and np.array_equal(made[:4], prompt)
    assert made[4] == a["logits"][0, -1].argmax()
    assert (directory / "made.txt").read_text().split() == [str(token) for token in made[4:]]

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The NumPy simulation of test/reference on windows of the handbook's text."""
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "test" / "reference"))
import model as reference  # noqa: E402
from evaluate import Evaluation  # noqa: E402
from simulate import Simulator  # noqa: E402

LENGTH = 512
MEASURED = 0            # perplexities are measured on 4 windows from here
CALIBRATION = 20480     # orders, estimates and sensitivities are fitted on windows from here


def simulator(folder: Path, ranks: int) -> Simulator:
    return Simulator(reference.load(folder / "model.onnx"), ranks, np.float32)


def windows(folder: Path, first: int, count: int) -> np.ndarray:
    return np.load(folder / "corpus.npy")[first:first + count * LENGTH].reshape(count, LENGTH)


def evaluation(folder: Path, ranks: int, first=MEASURED, count=4) -> Evaluation:
    return Evaluation(simulator(folder, ranks), windows(folder, first, count))

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""math_cases.py DIR: writes DIR/math.mlir and DIR/in.npz. math_cases.py DIR OUTPUTS.npz: checks the functions' accuracy."""
import math
import sys
from pathlib import Path

import numpy as np

X = np.concatenate([np.linspace(-87, 88, 200001), np.linspace(-1, 1, 20001), [0.0, -0.0]]).astype(np.float32)
SPECIAL = np.array([np.nan, np.inf, -np.inf, -100, 100, -1e30, 1e30, 88.3], np.float32)
# Name, op, reference in float64, largest error in units of the last place, and at least so many absolute.
FUNCTIONS = [("exp", "Exp", np.exp, 1.0, 0), ("tanh", "Tanh", np.tanh, 5, 0), ("erf", "Erf", np.vectorize(math.erf), 5, 0),
             ("sigmoid", "Sigmoid", lambda x: 1 / (1 + np.exp(-x)), 4, 2e-38)]


def write(directory: Path):
    n = X.size + SPECIAL.size
    kind = f"tensor<{n}xf32>"
    results = ", ".join(f'{kind} {{onnx.name = "{f[0]}", onnx.dims = [""]}}' for f in FUNCTIONS)
    body = "\n".join(f"    %{f[0]} = onnx.{f[1]} %x : ({kind}) -> {kind}" for f in FUNCTIONS)
    (directory / "math.mlir").write_text(f"""module attributes {{onnx.directory = "{directory}", onnx.file = "", onnx.opset = 24 : i64}} {{
  func.func @main(%x: {kind} {{onnx.name = "x", onnx.dims = [""]}}) -> ({results}) {{
{body}
    return {", ".join("%" + f[0] for f in FUNCTIONS)} : {", ".join([kind] * len(FUNCTIONS))}
  }}
}}
""")
    np.savez(directory / "in.npz", x=np.concatenate([X, SPECIAL]))


def check(outputs):
    for name, _, reference, ulps, absolute in FUNCTIONS:
        made, expected = outputs[name][: X.size].astype(np.float64), reference(X.astype(np.float64))
        unit = np.spacing(np.abs(expected).astype(np.float32)).astype(np.float64)
        error = np.maximum(np.abs(made - expected) - absolute, 0) / unit
        assert error.max() <= ulps, (name, error.max(), X[error.argmax()])
    special = {name: outputs[name][X.size:] for name, *_ in FUNCTIONS}
    assert all(np.isnan(values[0]) for values in special.values()), special
    assert special["exp"][1] == np.inf and special["exp"][4] == np.inf and special["exp"][6] == np.inf
    assert (special["exp"][[2, 3, 5]] <= 1.3e-38).all() and np.isfinite(special["exp"][7])
    assert (special["tanh"][1:3] == [1, -1]).all() and (special["erf"][1:3] == [1, -1]).all()
    assert special["sigmoid"][1] == 1 and special["sigmoid"][2] <= 1.3e-38
    print(len(FUNCTIONS), "functions are accurate")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        write(Path(sys.argv[1]))
    else:
        check(np.load(sys.argv[2]))

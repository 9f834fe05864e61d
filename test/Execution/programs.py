# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs caat's tools for the execution tests: compile a model, run a case, compare, expect a refusal."""
import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "reference"))
from compare import worst_difference  # noqa: E402,F401

MODELS = ROOT / "test" / "models"
PLAN_SCHEMA = json.loads((ROOT / "docs" / "plan.schema.json").read_text())
BIN = Path(os.environ.get("CAAT_BIN", ROOT / "build" / "bin"))
FLAGS = os.environ.get("CAAT_FLAGS", "").split()  # more of them for caat-compile, to run a test for another target
TIMEOUT = float(os.environ.get("CAAT_TEST_TIMEOUT", 120))


class Failed(Exception):
    """A tool that should have succeeded did not; the text says how."""


def run(tool: str, *arguments, environment=None) -> subprocess.CompletedProcess:
    command = [BIN / tool, *map(str, arguments)]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, errors="replace",
                              env={**os.environ, **(environment or {})})
    except subprocess.TimeoutExpired as late:
        raise Failed(f"{tool}: not finished after {late.timeout:g} s") from None


def must(tool: str, *arguments) -> str:
    """Standard output of a run that has to succeed."""
    done = run(tool, *arguments)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["(silent)"])[-1]
        raise Failed(f"{tool}: exit {done.returncode}: {last[:300]}")
    return done.stdout


def compile_model(model: Path, out: Path, tp: int, plan: dict | None = None, flags=()) -> Path:
    """Compiles model.onnx of folder `model`; a plan is written next to `out`."""
    options = [*FLAGS, *flags]
    if plan is not None:
        jsonschema.validate(plan, PLAN_SCHEMA)  # what the tools take, the documented schema takes
        file = out.with_suffix(".plan.json")
        file.write_text(json.dumps(plan))
        options.append(f"--plan={file}")
    must("caat-compile", model / "model.onnx" if model.is_dir() else model, f"--tp={tp}", *options, "-o", out)
    return out


def infer(program: Path, inputs: Path, suffix=".npz", flags=()) -> dict[str, np.ndarray]:
    outputs = program.with_name(f"{program.name}-{inputs.stem}{suffix}")
    must("caat-run", "infer", program, f"--inputs={inputs}", f"--outputs={outputs}", *flags)
    if suffix == ".safetensors":
        from safetensors.numpy import load_file
        return load_file(outputs)
    with np.load(outputs) as arrays:
        return dict(arrays)


def cases(model: Path) -> list[tuple[Path, Path]]:
    """(inputs, outputs) files of a model's folder."""
    return [(c, c.with_name(c.name.replace("inputs", "outputs"))) for c in sorted(model.glob("inputs*.npz"))]


def load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reads and writes ONNX's own node tests, some of each operator, and runs what was written: round_trip.py FOLDER [CASES].

A case that the importer refuses, that the checker refuses as it came, or that neither ONNX Runtime nor the reference implementation
runs, is skipped.
"""
import collections
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx.backend.test.case.node import collect_testcases
from onnx.reference import ReferenceEvaluator


CONTROL_FLOW = ("If", "Loop", "Scan")   # only what raising folds can be written
REMAINS = "only known at run time|\\(Scan, opset 8\\)"   # what does not fold, as the message says
RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")


def is_valid(model):
    try:
        onnx.checker.check_model(model, full_check=True)
        return True
    except Exception:
        return False


def judge(model):
    """A function that runs the model, or None."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        return lambda feeds: session.run(None, feeds)
    except Exception:
        pass
    try:
        evaluator = ReferenceEvaluator(model)
        return lambda feeds: evaluator.run(None, feeds)
    except Exception:
        return None


def run(model, inputs):
    runner = judge(model)
    feeds = {v.name: np.asarray(x) for v, x in zip(model.graph.input, inputs)}
    try:
        return runner and runner(feeds)
    except Exception:
        return None


def same(want, got):
    for x, y in zip(want, got):
        x, y = np.asarray(x), np.asarray(y)
        if x.shape != y.shape or x.dtype != y.dtype:
            return False
        if x.dtype.kind in "fV" or x.dtype.name.startswith(("bfloat", "float")):
            x, y = x.astype(np.float64), y.astype(np.float64)
            if not np.allclose(x, y, rtol=1e-3, atol=1e-5, equal_nan=True):
                return False
        elif not np.array_equal(x, y):
            return False
    return True


def main():
    warnings.simplefilter("ignore")
    folder, most = Path(sys.argv[1]), int((sys.argv[2:] or [2])[0])
    folder.mkdir(parents=True, exist_ok=True)
    seen, counts, wrong = collections.Counter(), collections.Counter(), []
    for case in collect_testcases(None):
        model = case.model
        if not model or len(model.graph.node) != 1 or model.graph.node[0].domain not in ("", "ai.onnx"):
            continue
        operator = model.graph.node[0].op_type
        if seen[operator] >= most or operator in RANDOM or not is_valid(model):
            continue
        inputs, _ = case.data_sets[0]
        want = run(model, inputs) if all(isinstance(x, (np.ndarray, np.generic)) for x in inputs) else None
        if want is None or any(x is None for x in want):
            counts["not run"] += 1
            continue
        source, target = folder / "in.onnx", folder / "out.onnx"
        onnx.save(model, source)
        passes = ["--onnx-raise-pipeline"] if operator in CONTROL_FLOW else []
        done = subprocess.run(["caat-opt", source, *passes, "-o", target], capture_output=True, text=True)
        if done.returncode != 0:
            counts["refused"] += 1
            if operator in CONTROL_FLOW:
                if done.returncode < 0 or not re.search(REMAINS, done.stderr):
                    wrong.append(f"{case.name}: {done.stderr.splitlines()[0][:200]}")
                continue
            outdated = "means what it does up to opset" in done.stderr   # deprecated before the oldest opset that is written
            if ("cannot be written" in done.stderr and not outdated) or done.returncode < 0:
                wrong.append(f"{case.name}: {done.stderr.splitlines()[0][:200]}")
            continue
        seen[operator] += 1
        try:
            onnx.checker.check_model(target, full_check=True)
            got = run(onnx.load(target), inputs)
        except Exception as error:
            wrong.append(f"{case.name}: {str(error).splitlines()[0][:200]}")
            continue
        if got is None or not same(want, got):
            wrong.append(f"{case.name}: " + ("does not run" if got is None else "other results"))
        counts["written"] += 1
    print(*wrong, sep="\n")
    print(f"{len(seen)} operators, {counts['written']} cases written, {len(wrong)} wrong, {counts['refused']} refused by the importer, "
          f"{counts['not run']} not run by anybody")
    sys.exit(bool(wrong))


main()

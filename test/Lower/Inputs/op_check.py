# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs single ONNX nodes through onnx-to-linalg and compares the numbers with ONNX's reference implementation.

Usage: op_check.py FOLDER [--only=NAME]. Every case is a node with example inputs; dimensions are dynamic unless named
static. All cases become functions of one module, which is lowered by upstream passes, compiled and called.
"""
import argparse
import ctypes
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from op_cases import cases

OPT = os.environ.get("CAAT_OPT", "caat-opt")
LOWER = os.environ.get("CAAT_OPT_LOWER", OPT)
PASSES = [
    "--onnx-to-linalg=generate-products", "--canonicalize", "--cse", "--llvm-request-c-wrappers",
    "--one-shot-bufferize=bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map",
    "--canonicalize", "--cse", "--reinterpret-expansions", "--scf-forall-to-for", "--convert-linalg-to-loops", "--expand-strided-metadata",
    "--lower-affine", "--convert-scf-to-cf", "--convert-vector-to-llvm", "--convert-ub-to-llvm", "--convert-math-to-llvm",
    "--convert-math-to-libm", "--convert-arith-to-llvm", "--convert-index-to-llvm", "--finalize-memref-to-llvm",
    "--convert-func-to-llvm", "--convert-cf-to-llvm", "--reconcile-unrealized-casts"]


def run(command, text=None):
    result = subprocess.run(command, input=text, text=True, capture_output=True)
    if result.returncode:
        sys.exit(f"{' '.join(command)}\n{result.stderr[:4000]}")
    return result.stdout


def model_of(case):
    """The node as a model; inputs that the case calls constant are initializers."""
    graph_inputs, initializers, names = [], [], []
    for i, value in enumerate(case.inputs):
        if value is None:
            names.append("")
            continue
        names.append(f"x{i}")
        if i in case.constant:
            initializers.append(numpy_helper.from_array(value, names[-1]))
            continue
        dtype = helper.np_dtype_to_tensor_dtype(value.dtype)
        shape = [d if d == 1 or (i, k) in case.static or k >= case.static_from else f"d{i}_{k}"
                 for k, d in enumerate(value.shape)]
        graph_inputs.append(helper.make_tensor_value_info(names[-1], dtype, shape))
    outputs = [f"y{i}" for i in range(case.outputs)]
    node = helper.make_node(case.op, names, outputs, **case.attributes)
    results = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph([node], "g", graph_inputs, results, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)], ir_version=11)
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def complete_outputs(model, wanted):
    """Types of the outputs that ONNX infers none for: all dimensions are symbols of their own."""
    for i, (output, value) in enumerate(zip(model.graph.output, wanted)):
        if not output.type.tensor_type.HasField("shape"):
            dims = [f"o{i}_{k}" for k in range(value.ndim)]
            output.CopyFrom(helper.make_tensor_value_info(output.name, helper.np_dtype_to_tensor_dtype(value.dtype), dims))


def expected_of(case, model):
    feed = {f"x{i}": v for i, v in enumerate(case.inputs) if v is not None and i not in case.constant}
    if case.expected is not None:
        return case.expected
    return ReferenceEvaluator(model).run(None, feed)


def descriptor(array):
    """A memref descriptor of `array`."""
    rank = array.ndim
    fields = [("base", ctypes.c_void_p), ("data", ctypes.c_void_p), ("offset", ctypes.c_int64)]
    if rank:
        fields += [("sizes", ctypes.c_int64 * rank), ("strides", ctypes.c_int64 * rank)]
    kind = type("Descriptor", (ctypes.Structure,), {"_fields_": fields})
    d = kind(array.ctypes.data, array.ctypes.data, 0)
    for k in range(rank):
        d.sizes[k] = array.shape[k]
        d.strides[k] = array.strides[k] // array.itemsize
    return d


def call(function, inputs, likes):
    arguments = [descriptor(x) for x in inputs]
    results = [descriptor(np.zeros([1] * y.ndim, y.dtype)) for y in likes]
    record = type("Results", (ctypes.Structure,), {"_fields_": [(f"r{i}", type(r)) for i, r in enumerate(results)]})()
    function(ctypes.byref(record), *[ctypes.byref(a) for a in arguments])
    values = []
    for i, like in enumerate(likes):
        r = getattr(record, f"r{i}")
        shape = list(r.sizes) if like.ndim else []
        strides = [s * like.itemsize for s in r.strides] if like.ndim else []
        count = sum((n - 1) * s for n, s in zip(shape, strides)) + like.itemsize if all(shape) else 0
        raw = (ctypes.c_char * count).from_address((r.data or 0) + r.offset * like.itemsize)
        values.append(np.ndarray(shape, like.dtype, raw, 0, strides).copy())
    return values


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--only", default="")
    parser.add_argument("--each", action="store_true", help="lower case by case, to find one that fails")
    args = parser.parse_args()
    os.makedirs(args.folder, exist_ok=True)
    chosen = [c for c in cases() if args.only in c.name]
    functions, expected = [], []
    for i, case in enumerate(chosen):
        model = model_of(case)
        path = os.path.join(args.folder, f"{case.name}.onnx")
        expected.append([np.asarray(y) for y in expected_of(case, model)])
        complete_outputs(model, expected[-1])
        onnx.save(model, path)
        text = run([OPT, path, *case.passes])
        function = re.search(r"^  func\.func.*?^  }$", text, re.S | re.M).group(0)
        functions.append(function.replace("@main", f"@case_{i}"))
        if args.each:
            print(case.name, flush=True)
            run([LOWER, *PASSES], "module attributes {onnx.opset = 24 : i64} {\n" + functions[-1] + "\n}\n")
    module = "module attributes {onnx.opset = 24 : i64} {\n" + "\n".join(functions) + "\n}\n"
    lowered = re.sub(r"^ *rt\.check .*\n", "", run([LOWER, *PASSES], module), flags=re.M)  # there is no host to fail
    ir = run(["mlir-translate", "--mlir-to-llvmir"], lowered)
    source, library = os.path.join(args.folder, "ops.ll"), os.path.abspath(os.path.join(args.folder, "ops.so"))
    with open(source, "w") as file:
        file.write(ir)
    # memref.copy of strided buffers is a call into MLIR's support library.
    tools = os.path.dirname(os.path.realpath(shutil.which("mlir-translate")))
    support = os.path.normpath(os.path.join(tools, "..", "lib", "libmlir_c_runner_utils.so"))
    ctypes.CDLL(support, ctypes.RTLD_GLOBAL)
    run(["clang", "-O1", "-shared", "-fPIC", "-Wno-override-module", source, "-o", library, "-lm"])
    loaded = ctypes.CDLL(library)
    failed = 0
    for i, (case, wanted) in enumerate(zip(chosen, expected)):
        print(case.name, flush=True) if args.each else None
        inputs = [np.ascontiguousarray(v) for k, v in enumerate(case.inputs) if v is not None and k not in case.constant]
        got = call(getattr(loaded, f"_mlir_ciface_case_{i}"), inputs, wanted)
        for k, (x, y) in enumerate(zip(got, wanted)):
            same = x.shape == y.shape and np.allclose(x.astype(np.float64), y.astype(np.float64), case.tolerance, case.tolerance,
                                                      equal_nan=True)
            if not same:
                failed += 1
                error = np.abs(x.astype(np.float64) - y).max() if x.shape == y.shape else f"shape {x.shape}, not {y.shape}"
                print(f"FAIL {case.name} output {k}: {error}")
    print(f"{len(chosen)} cases, {failed} wrong")
    sys.exit(1 if failed else 0)


main()

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Small graphs made at test time, and their results by ONNX Runtime and by compiled programs."""
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

import programs

MICROSOFT = "com.microsoft"


class Graph:
    """Collects nodes; weights are random and the same in every run."""

    def __init__(self, seed=0, opset=21, dtype=np.float32):
        self.random = np.random.default_rng(seed)
        self.opset, self.dtype = opset, np.dtype(dtype)
        self.nodes, self.inputs, self.outputs, self.initializers, self.functions = [], [], [], [], []
        self.count = 0

    def input(self, name, dims, type=None):
        self.inputs.append(h.make_tensor_value_info(name, type or h.np_dtype_to_tensor_dtype(self.dtype), dims))
        return name

    def output(self, name, dims, type=None):
        self.outputs.append(h.make_tensor_value_info(name, type or h.np_dtype_to_tensor_dtype(self.dtype), dims))

    def constant(self, array, name=None):
        self.count += 1
        name = name or f"constant_{self.count}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def weight(self, *shape, scale=0.3, name=None):
        return self.constant((self.random.standard_normal(shape) * scale).astype(self.dtype), name)

    def node(self, op, inputs, outputs=1, domain="", name=None, **attributes):
        """The name of the result, or names where `outputs` is a list or a number above one."""
        self.count += 1
        names = outputs if isinstance(outputs, list) else [f"{op.lower()}_{self.count}_{i}" for i in range(outputs)]
        self.nodes.append(h.make_node(op, list(inputs), names, name=name or f"{op}_{self.count}", domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def contrib(self, op, inputs, outputs=1, **attributes):
        return self.node(op, inputs, outputs, domain=MICROSOFT, **attributes)

    def model(self):
        graph = h.make_graph(self.nodes, "test", self.inputs, self.outputs, self.initializers)
        domains = {n.domain for n in self.nodes} | {f.domain for f in self.functions}
        opsets = [h.make_opsetid("", self.opset)] + [h.make_opsetid(d, 1) for d in sorted(domains - {""})]
        return h.make_model(graph, opset_imports=opsets, ir_version=10, functions=self.functions)

    def save(self, path: Path) -> Path:
        onnx.save(self.model(), path)
        return path


def onnxruntime_results(model: Path, feeds: dict) -> dict[str, np.ndarray]:
    """Without its own graph optimizer, which would turn graphs into what is tested here."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds)))


def program_results(program: Path, feeds: dict) -> dict[str, np.ndarray]:
    inputs = program.with_suffix(".inputs.npz")
    np.savez(inputs, **feeds)
    return programs.infer(program, inputs)


def worst(want: dict, got: dict) -> tuple[float, str]:
    return programs.worst_difference({}, want, got)

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""ONNX's backend node tests as cases for caat: collected from the installed package, written as files, compared."""
import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx

# Operands that exporters write as constants: their values decide shapes, axes or the program's form.
SHAPE_OPERANDS = {
    "CenterCropPad": (1,), "ConstantOfShape": (0,), "CumProd": (1,), "CumSum": (1,), "DFT": (1, 2), "Expand": (1,),
    "OneHot": (1,), "Pad": (1, 3), "Range": (0, 1, 2), "Reshape": (1,), "Resize": (1, 2, 3), "Slice": (1, 2, 3, 4),
    "Split": (1,), "Squeeze": (1,), "Tile": (1,), "TopK": (1,), "Trilu": (1,), "Unsqueeze": (1,), "Dropout": (1, 2), "Clip": (1, 2),
    "Compress": (1,), "NonZero": (0,), "MaxUnpool": (2,), "Col2Im": (1, 2), "AffineGrid": (1,), "Upsample": (1,),
} | {f"Reduce{name}": (1,) for name in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum",
                                        "LogSumExp")}

# Cases whose expected values are what is left of sums that are zero, by the error of 32-bit floats.
NOISE = {"test_dft_inverse": 1e-6, "test_dft_inverse_opset19": 1e-6}

DTYPES = {"F32": np.float32, "BF16": ml_dtypes.bfloat16, "F16": np.float16, "F64": np.float64, "I64": np.int64,
          "I32": np.int32, "I16": np.int16, "I8": np.int8, "U64": np.uint64, "U32": np.uint32, "U16": np.uint16,
          "U8": np.uint8, "BOOL": np.bool_}
DTYPE_NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}

# Types that have no array files: such inputs and outputs pass through a Cast in the model, which is exact.
WIDENED = {np.dtype(getattr(ml_dtypes, narrow)): (wide, tensor_type) for narrow, wide, tensor_type in (
    ("int4", np.int8, onnx.TensorProto.INT4), ("uint4", np.uint8, onnx.TensorProto.UINT4),
    ("int2", np.int8, onnx.TensorProto.INT2), ("uint2", np.uint8, onnx.TensorProto.UINT2),
    ("float8_e4m3fn", np.float32, onnx.TensorProto.FLOAT8E4M3FN),
    ("float8_e4m3fnuz", np.float32, onnx.TensorProto.FLOAT8E4M3FNUZ),
    ("float8_e5m2", np.float32, onnx.TensorProto.FLOAT8E5M2),
    ("float8_e5m2fnuz", np.float32, onnx.TensorProto.FLOAT8E5M2FNUZ),
    ("float8_e8m0fnu", np.float32, onnx.TensorProto.FLOAT8E8M0),
    ("float4_e2m1fn", np.float32, onnx.TensorProto.FLOAT4E2M1))}


@dataclass
class Case:
    """One node test. `op` is the operator that it tests; an expanded case runs the op's function body instead."""
    name: str
    op: str
    domain: str
    expanded: bool
    model: onnx.ModelProto
    inputs: list
    outputs: list
    rtol: float
    atol: float

    def storable(self) -> str:
        """Why inputs or outputs cannot be stored in a file; "" where they can."""
        for value in (*self.inputs, *self.outputs):
            if not isinstance(value, np.ndarray):
                return "sequence, optional or map"
            if value.dtype not in DTYPE_NAMES:
                return f"element type {value.dtype}"
        return ""

    def widened(self) -> "Case":
        """The case with inputs and outputs of types that have no array files passed through a Cast."""
        if not any(isinstance(v, np.ndarray) and v.dtype in WIDENED for v in (*self.inputs, *self.outputs)):
            return self
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        nodes, inputs, outputs = list(model.graph.node), list(self.inputs), list(self.outputs)

        def through(values, arrays, is_input):
            for i, (value, array) in enumerate(zip(values, arrays)):
                if array.dtype not in WIDENED:
                    continue
                wide, narrow_type = WIDENED[array.dtype]
                wide_type = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(wide))
                name, arrays[i] = value.name + ".stored", array.astype(wide)
                if is_input:
                    nodes.insert(0, onnx.helper.make_node("Cast", [name], [value.name], to=narrow_type))
                else:
                    nodes.append(onnx.helper.make_node("Cast", [value.name], [name], to=wide_type))
                value.name = name
                value.type.tensor_type.elem_type = wide_type
        through(model.graph.input, inputs, True)
        through(model.graph.output, outputs, False)
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        return Case(self.name, self.op, self.domain, self.expanded, model, inputs, outputs, self.rtol, self.atol)

    def operators(self) -> set[str]:
        """The operators of the graph and of the graphs in it, with their domain where it is not ONNX's own."""
        found = set()

        def walk(graph):
            for node in graph.node:
                found.add(f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type)
                for attribute in node.attribute:
                    if attribute.HasField("g"):
                        walk(attribute.g)
        walk(self.model.graph)
        return found

    def with_constants(self) -> "Case | None":
        """The case with shape-like inputs as initializers, or None where it has none."""
        places = SHAPE_OPERANDS.get(self.op, ())
        node = next((node for node in self.model.graph.node if node.op_type == self.op), None)
        if self.expanded or not node:   # the function's inputs, in the operator's order, those not given left out
            names = [value.name for value in self.model.graph.input]
        else:
            names = list(node.input)
        chosen = {names[place] for place in places if place < len(names) and names[place]}
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        inputs, kept = [], []
        for value, array in zip(self.model.graph.input, self.inputs):
            if value.name in chosen:
                model.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
            else:
                kept.append(value)
                inputs.append(array)
        if len(inputs) == len(self.inputs):
            return None
        del model.graph.input[:]
        model.graph.input.extend(kept)
        return Case(self.name, self.op, self.domain, self.expanded, model, inputs, self.outputs, self.rtol, self.atol)

    def write(self, model: Path, inputs: Path):
        model.write_bytes(self.model.SerializeToString())
        arrays = {value.name: array for value, array in zip(self.model.graph.input, self.inputs)}
        write_safetensors(inputs, arrays)

    def compare(self, outputs: Path) -> str:
        """What differs from the expected outputs; "" where nothing does."""
        got = read_safetensors(outputs)
        for value, want in zip(self.model.graph.output, self.outputs):
            if value.name not in got:
                return f"no output '{value.name}'"
            have = got[value.name]
            if have.dtype != want.dtype or have.shape != want.shape:
                return f"'{value.name}' is {have.dtype}{list(have.shape)}, not {want.dtype}{list(want.shape)}"
            rtol = self.rtol
            # Two units in the last place of 16-bit floats; for bfloat16 ONNX's own runner does so too.
            if want.dtype == ml_dtypes.bfloat16:
                have, want, rtol = have.astype(np.float32), want.astype(np.float32), max(rtol, 2**-6)
            elif want.dtype == np.float16:
                rtol = max(rtol, 2**-9)
            try:
                np.testing.assert_allclose(have, want, rtol=rtol, atol=self.atol)
            except AssertionError as error:
                lines = [line.strip() for line in str(error).splitlines() if line.strip()]
                return f"'{value.name}': " + "; ".join(lines[1:4])
        return ""


def write_safetensors(path: Path, arrays: dict[str, np.ndarray]):
    """As safetensors.numpy.save_file, which lacks bfloat16."""
    header, data = {}, b""
    for name, array in arrays.items():
        start = len(data)
        data += np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": DTYPE_NAMES[array.dtype], "shape": list(array.shape),
                        "data_offsets": [start, len(data)]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    arrays = {}
    for name, entry in json.loads(raw[8:8 + size]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            arrays[name] = np.frombuffer(raw[8 + size:][begin:end], DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays


def as_array(value):
    """Arrays, scalars and tensors as arrays; sequences and the like as they are."""
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.generic) else value


def collect() -> list[Case]:
    """All node tests of the installed package, made by its own generators: no network, no stored files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")     # overflows that the generators mean
        from onnx.backend.test.case.node import collect_testcases
        tests = collect_testcases(None)
    tested = {}     # what a case without function body tests: its last node, behind what only prepares operands
    for test in tests:
        node = test.model.graph.node[-1]
        tested[test.name] = (node.op_type, "" if node.domain == "ai.onnx" else node.domain)
    cases = []
    for test in tests:
        base = test.name.partition("_expanded")[0]
        expanded = base != test.name and base in tested
        op, domain = tested[base if expanded else test.name]
        inputs, outputs = test.data_sets[0]
        arrays = [[as_array(value) for value in side] for side in (inputs, outputs)]
        atol = max(test.atol, NOISE.get(test.name, 0))
        cases.append(Case(test.name, op, domain, expanded, test.model, *arrays, test.rtol, atol))
    return cases

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Prints ONNX files for FileCheck, after onnx's own checker has passed them: show.py FILE..."""
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper


def type_text(type):
    tensor = type.tensor_type
    element = helper.tensor_dtype_to_string(tensor.elem_type).removeprefix("TensorProto.")
    if not tensor.HasField("shape"):
        return element
    dims = [str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?" for d in tensor.shape.dim]
    return f"{element}[{', '.join(dims)}]"


def value_text(attribute):
    value = helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return f"{value.data_type}:{numpy_helper.to_array(value).tolist()}"
    if isinstance(value, (list, tuple)):
        return str([v.decode() if isinstance(v, bytes) else round(v, 4) for v in value])
    return value.decode() if isinstance(value, bytes) else str(round(value, 6))


def show(path):
    onnx.checker.check_model(path, full_check=True)
    raw = onnx.load(path, load_external_data=False)
    graph = onnx.load(path).graph
    print(f"file {Path(path).name}, version {raw.ir_version}, by {raw.producer_name}")
    for opset in raw.opset_import:
        print(f"opset '{opset.domain}' {opset.version}")
    for entry in raw.metadata_props:
        print(f"meta {entry.key} = {entry.value}")
    for value in graph.input:
        print(f"input {value.name} {type_text(value.type)}")
    for tensor, stored in zip(graph.initializer, raw.graph.initializer):
        place = {e.key: e.value for e in stored.external_data}
        array = numpy_helper.to_array(tensor)
        values = array.tolist() if array.size <= 8 else f"sum {np.asarray(array, np.float64).sum():g}"
        print(f"tensor {tensor.name} {array.dtype}{list(array.shape)} {values}"
              + (f" in {place['location']} at {place['offset']}, {place['length']} bytes" if place else ""))
    for node in graph.node:
        attributes = "".join(f" {a.name}={value_text(a)}" for a in node.attribute)
        operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        print(f"node {node.name}: {operator}({', '.join(node.input)}) -> {', '.join(node.output)}{attributes}")
    for value in graph.value_info:
        print(f"value {value.name} {type_text(value.type)}")
    for value in graph.output:
        print(f"output {value.name} {type_text(value.type)}")


for path in sys.argv[1:]:
    show(path)

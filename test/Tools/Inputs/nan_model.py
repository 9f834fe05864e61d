# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes a product by a weight that holds three NaN and one infinity to sys.argv[1]."""
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

weight = np.ones((16, 8), np.float32)
weight[0, :3], weight[5, 5] = np.nan, np.inf
graph = helper.make_graph(
    [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])], [numpy_helper.from_array(weight, "w")])
onnx.save(helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 20)]), sys.argv[1])

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Makes the models of the export tests: make_models.py NAME DIRECTORY writes DIRECTORY/NAME.onnx."""
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper


def value(name, shape, type=T.FLOAT):
    return h.make_tensor_value_info(name, type, shape)


def tensor(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def model(nodes, inputs, outputs, initializers=(), opset=18, domains=(), value_info=()):
    graph = h.make_graph(nodes, "test", inputs, outputs, list(initializers), value_info=list(value_info))
    return h.make_model(graph, opset_imports=[h.make_opsetid("", opset), *(h.make_opsetid(*d) for d in domains)], ir_version=9)


def forms():
    """Every kind of attribute, optional inputs and outputs, and an operator that nobody knows."""
    fancy = dict(gain=2.5, count=3, mode="fast", sizes=[1, 2], weights=[0.5, 1.5], names=["a", "b"],
                 table=tensor("", np.array([[1, 2], [3, 4]], np.int32)))
    nodes = [
        h.make_node("Transpose", ["x"], ["t"], name="turn", perm=[1, 0]),
        h.make_node("LeakyRelu", ["t"], ["l"], name="leak", alpha=0.25),
        h.make_node("Clip", ["l", "", "most"], ["c"], name="clip"),
        h.make_node("LayerNormalization", ["c", "scale"], ["n", "", "deviation"], name="norm", epsilon=0.5),
        h.make_node("Split", ["n"], ["s0", "s1"], name="split", axis=1, num_outputs=2),
        h.make_node("Cast", ["s1"], ["half"], name="half", to=T.FLOAT16),
        h.make_node("Fancy", ["s0", "", "half"], ["f", "", "g"], name="fancy", domain="my.domain", **fancy),
        h.make_node("ArgMax", ["f"], ["best"], name="best", axis=1),
    ]
    return model(nodes, [value("x", ["rows", 4])],
                 [value("deviation", [4, 1]), value("best", [4, 1], T.INT64), value("g", ["n"], T.DOUBLE)],
                 [tensor("most", np.float32(1)), tensor("scale", np.ones(2, np.float32))], opset=20,
                 domains=[("my.domain", 7)], value_info=[value("f", [4, "rows"])])


def names():
    """Outputs that are an input, a weight or one value twice; nodes of one name; a node called as a tensor is."""
    nodes = [
        h.make_node("Relu", ["x"], ["act"], name="same"),
        h.make_node("Neg", ["act"], ["neg"], name="same"),
        h.make_node("Identity", ["x"], ["input again"], name="id0"),
        h.make_node("Identity", ["w"], ["weight again"], name="id1"),
        h.make_node("Identity", ["neg"], ["neg again"], name="id2"),
        h.make_node("Exp", ["neg"], ["e"], name="w"),
        h.make_node("Sqrt", ["e"], ["root"]),
    ]
    outputs = [value(n, [4]) for n in ("input again", "weight again", "neg", "neg again", "root")]
    return model(nodes, [value("x", [4])], outputs, [tensor("w", np.arange(4, dtype=np.float32))])


def weights():
    """Tensors of all sizes and types, and what is made of them before use."""
    big = np.arange(1024 * 512, dtype=np.float32).reshape(1024, 512) / 1024
    middle = np.arange(512, dtype=np.float32).reshape(32, 16)
    nodes = [
        h.make_node("MatMul", ["x", "big"], ["a"], name="big product"),
        h.make_node("Transpose", ["middle"], ["turned"], name="turn once"),         # stored turned
        h.make_node("MatMul", ["y", "turned"], ["b"], name="product"),
        h.make_node("Transpose", ["tied"], ["head"], name="turn tied"),             # stored as it is: it has two uses
        h.make_node("Gather", ["tied", "ids"], ["c"], name="lookup"),
        h.make_node("MatMul", ["c", "head"], ["d"], name="logits"),
        h.make_node("Where", ["flags", "half", "half"], ["e"], name="choose"),
        h.make_node("DequantizeLinear", ["nibbles", "scale"], ["f"], name="widen"),
    ]
    outputs = [value("a", ["n", 512]), value("b", ["n", 32]), value("d", ["m", 128]), value("e", [100], T.FLOAT16),
               value("f", [3])]
    random = np.random.default_rng(0)
    nibbles = h.make_tensor("nibbles", T.INT4, [3], [1, -2, 7])
    return model(nodes, [value("x", ["n", 1024]), value("y", ["n", 16]), value("ids", ["m"], T.INT64)], outputs,
                 [tensor("big", big), tensor("middle", middle), tensor("tied", random.normal(size=(128, 64)).astype(np.float32)),
                  tensor("flags", np.arange(100) % 3 == 0), tensor("half", np.arange(100, dtype=np.float16)), nibbles,
                  tensor("scale", np.float32(0.5))], opset=21)


def old_unknown():
    """An operator without a typed form whose meaning changed in opset 16, beside one that came with opset 20."""
    nodes = [h.make_node("Gelu", ["x"], ["y"], name="new"),
             h.make_node("RoiAlign", ["y", "rois", "batch"], ["z"], name="regions", output_height=1, output_width=1)]
    return model(nodes, [value("x", [1, 1, 4, 4])], [value("z", [1, 1, 1, 1])],
                 [tensor("rois", np.zeros((1, 4), np.float32)), tensor("batch", np.zeros(1, np.int64))], opset=20)


def versions():
    """Nothing newer than opset 13."""
    nodes = [h.make_node("MaxPool", ["x"], ["p"], name="pool", kernel_shape=[2, 2]),
             h.make_node("Relu", ["p"], ["y"], name="act")]
    return model(nodes, [value("x", [1, 1, 4, 4])], [value("y", [1, 1, 3, 3])], opset=11)


def main():
    name, out = sys.argv[1], Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    made = globals()[name.replace("-", "_")]()
    onnx.save(made, out / f"{name}.onnx")


main()

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Models with functions and subgraphs: make_structures.py NAME DIRECTORY, as make_models.py."""
import sys

import numpy as np
import onnx
from make_models import MODELS, T, finish, h, main, model, tensor, value

LOCAL = "my.functions"


def function(name, inputs, outputs, nodes, attributes=(), defaults=(), opset=24, domain=LOCAL):
    opsets = [h.make_opsetid("", opset), h.make_opsetid(LOCAL, 1)]
    return h.make_function(domain, name, inputs, outputs, nodes, opsets, list(attributes), list(defaults))


def refer(node, attribute, type, name):
    """Gives `node` an attribute that is the function's attribute `name`."""
    node.attribute.append(onnx.AttributeProto(name=attribute, type=type, ref_attr_name=name))
    return node


def with_functions(m, *functions):
    m.functions.extend(functions)
    m.opset_import.append(h.make_opsetid(LOCAL, 1))
    return m


def call(name, inputs, outputs, node_name=None, **attributes):
    return h.make_node(name, inputs, outputs, domain=LOCAL, name=node_name or name, **attributes)


def graph(name, nodes, inputs, outputs, initializers=()):
    return h.make_graph(nodes, name, inputs, outputs, list(initializers))


# What must work.


@model
def functions(out):
    """Nested calls, attributes with and without default, an operand not given, an older opset inside."""
    scale = refer(h.make_node("Constant", [], ["factor"]), "value_float", onnx.AttributeProto.FLOAT, "factor")
    leaky = refer(h.make_node("LeakyRelu", ["scaled"], ["y"], name="act"), "alpha", onnx.AttributeProto.FLOAT, "slope")
    inner = function("Scale", ["x"], ["y"], [scale, h.make_node("Mul", ["x", "factor"], ["scaled"]), leaky],
                     ["factor", "slope"])
    inner_call = refer(call("Scale", ["x"], ["s"], "scale"), "factor", onnx.AttributeProto.FLOAT, "gain")
    nodes = [inner_call, h.make_node("Clip", ["s", "low", "high"], ["c"]), h.make_node("ReduceSum", ["c"], ["y"], axes=[1])]
    outer = function("ScaleClip", ["x", "low", "high"], ["y", "s"], nodes, defaults=[h.make_attribute("gain", 3.0)], opset=12)
    m = finish([call("ScaleClip", ["x", "", "top"], ["a"], "first"), call("ScaleClip", ["x"], ["", "b"], "second", gain=5.0)],
               [value("x", ["n", 4])], [value("a", None), value("b", None)], [h.make_tensor("top", T.FLOAT, [], [2.0])])
    return with_functions(m, inner, outer)


@model
def overloads(out):
    """Two functions of one name, told apart by their overload."""
    functions = []
    for overload, op in (("", "Neg"), ("abs", "Abs")):
        f = function("F", ["x"], ["y"], [h.make_node(op, ["x"], ["y"])])
        f.overload = overload
        functions.append(f)
    nodes = [call("F", ["x"], ["a"]), call("F", ["x"], ["b"])]
    nodes[1].overload = "abs"
    return with_functions(finish(nodes, [value("x", [4])], [value("a", [4]), value("b", [4])]), *functions)


@model
def branches(out):
    """Outer values, own weights, one name inside and outside; nested; the condition is a shape's."""
    w = tensor("w", [8, 16])
    inside = graph("inner", [h.make_node("Neg", ["x"], ["z"])], [], [value("z", None)])
    yes = graph("yes", [h.make_node("Add", ["x", "w"], ["t"]), h.make_node("If", ["always"], ["r"], name="nested", then_branch=inside,
                                                                            else_branch=inside)], [], [value("t", None), value("r", None)], [w])
    no = graph("no", [h.make_node("Mul", ["x", "w"], ["t"])], [], [value("t", None), value("t", None)])
    nodes = [
        h.make_node("Shape", ["x"], ["shape"]),
        h.make_node("Gather", ["shape", "zero"], ["rows"]),
        h.make_node("Equal", ["rows", "eight"], ["is_eight"]),
        h.make_node("If", ["is_eight"], ["a", "b"], name="choice", then_branch=yes, else_branch=no),
    ]
    constants = [h.make_tensor("zero", T.INT64, [], [0]), h.make_tensor("eight", T.INT64, [], [8]),
                 h.make_tensor("always", T.BOOL, [], [True]), h.make_tensor("w", T.FLOAT, [1], [9.0])]
    return finish(nodes, [value("x", [8, 16])], [value("a", None), value("b", None)], constants)


@model
def merged(out):
    """As Optimum merges decoders: an input chooses the branch, and only one needs the cache."""
    first = graph("first", [h.make_node("Identity", ["x"], ["k0"])], [], [value("k0", None)])
    later = graph("later", [h.make_node("Concat", ["past", "x"], ["k1"], axis=0)], [], [value("k1", None)])
    node = h.make_node("If", ["use_cache_branch"], ["keys"], name="optimum::if", then_branch=later, else_branch=first)
    inputs = [value("x", ["seq", 4]), value("past", ["past", 4]), value("use_cache_branch", [1], T.BOOL)]
    return finish([node, h.make_node("ReduceSum", ["keys", "axes"], ["y"])], inputs, [value("y", None)],
                  [h.make_tensor("axes", T.INT64, [1], [0])])


@model
def choice_at_run_time(out):
    """Both branches are cheap and of one shape: both run."""
    yes = graph("yes", [h.make_node("Neg", ["x"], ["t"])], [], [value("t", None)])
    no = graph("no", [h.make_node("Exp", ["x"], ["e"])], [], [value("e", None)])
    nodes = [h.make_node("ReduceMax", ["x"], ["most"], keepdims=0), h.make_node("Greater", ["most", "limit"], ["large"]),
             h.make_node("If", ["large"], ["y"], name="choice", then_branch=yes, else_branch=no)]
    return finish(nodes, [value("x", ["n", 4])], [value("y", ["n", 4])], [h.make_tensor("limit", T.FLOAT, [], [1.0])])


@model
def long_context(out):
    """Angles for short and long sequences, as the genai builder writes them: tables of different length."""
    tables = []
    for name, rows in (("long", 64), ("short", 16)):
        weight = tensor(name, [rows, 4])
        tables.append(graph(name, [h.make_node("Identity", [name], [name + "_angles"])], [], [value(name + "_angles", None)], [weight]))
    nodes = [h.make_node("ReduceMax", ["ids"], ["last"], keepdims=0), h.make_node("Greater", ["last", "limit"], ["is_long"]),
             h.make_node("If", ["is_long"], ["angles"], name="angles", then_branch=tables[0], else_branch=tables[1]),
             h.make_node("Gather", ["angles", "ids"], ["y"])]
    return finish(nodes, [value("ids", ["batch", "seq"], T.INT64)], [value("y", ["batch", "seq", 4])],
                  [h.make_tensor("limit", T.INT64, [], [15])])


@model
def loop(out):
    """Three turns: x = 2 x + i, each stacked."""
    nodes = [h.make_node("Add", ["x", "x"], ["twice"]), h.make_node("Cast", ["i"], ["f"], to=T.FLOAT),
             h.make_node("Add", ["twice", "f"], ["next"]), h.make_node("Identity", ["go"], ["on"]), h.make_node("Identity", ["next"], ["row"])]
    body = graph("body", nodes, [value("i", [], T.INT64), value("go", [], T.BOOL), value("x", None)],
                 [value("on", [], T.BOOL), value("next", None), value("row", None)])
    node = h.make_node("Loop", ["turns", "", "x0"], ["last", "all"], name="loop", body=body)
    return finish([node], [value("x0", ["n", 4])], [value("last", ["n", 4]), value("all", [3, "n", 4])],
                  [h.make_tensor("turns", T.INT64, [], [3])])


@model
def loop_until(out):
    """A loop that its condition ends: while i < 2."""
    nodes = [h.make_node("Neg", ["x"], ["next"]), h.make_node("Less", ["i", "one"], ["on"])]
    body = graph("body", nodes, [value("i", [], T.INT64), value("go", [], T.BOOL), value("x", None)],
                 [value("on", [], T.BOOL), value("next", None)])
    constants = [h.make_tensor("one", T.INT64, [], [1]), h.make_tensor("yes", T.BOOL, [], [True])]
    return finish([h.make_node("Loop", ["", "yes", "x0"], ["y"], name="loop", body=body)], [value("x0", [4])], [value("y", [4])], constants)


@model
def scan(out):
    """Running sums over the second dimension, from its end; stacked in front."""
    body = graph("body", [h.make_node("Add", ["sum", "x"], ["next"]), h.make_node("Identity", ["next"], ["row"])],
                 [value("sum", None), value("x", None)], [value("next", None), value("row", None)])
    node = h.make_node("Scan", ["start", "x"], ["last", "all"], name="scan", body=body, num_scan_inputs=1, scan_input_axes=[1],
                       scan_input_directions=[1], scan_output_axes=[-1], scan_output_directions=[1])
    return finish([node], [value("start", ["n"]), value("x", ["n", 3])], [value("last", ["n"]), value("all", ["n", 3])])


# What must be refused.


@model
def recursive(out):
    a = function("A", ["x"], ["y"], [call("B", ["x"], ["y"], "to_b")])
    b = function("B", ["x"], ["y"], [call("A", ["x"], ["y"], "to_a")])
    return with_functions(finish([call("A", ["x"], ["y"], "start")], [value("x", [4])], [value("y", [4])]), a, b)


@model
def explosion(out):
    """Thirty functions, each of which calls the one before twice."""
    functions = [function("F0", ["x"], ["y"], [h.make_node("Neg", ["x"], ["y"])])]
    for i in range(1, 31):
        nodes = [call(f"F{i - 1}", ["x"], ["t"], "one"), call(f"F{i - 1}", ["t"], ["y"], "two")]
        functions.append(function(f"F{i}", ["x"], ["y"], nodes))
    return with_functions(finish([call("F30", ["x"], ["y"])], [value("x", [4])], [value("y", [4])]), *functions)


@model
def deep(out):
    functions = [function("F0", ["x"], ["y"], [h.make_node("Neg", ["x"], ["y"])])]
    for i in range(1, 100):
        functions.append(function(f"F{i}", ["x"], ["y"], [call(f"F{i - 1}", ["x"], ["y"])]))
    return with_functions(finish([call("F99", ["x"], ["y"])], [value("x", [4])], [value("y", [4])]), *functions)


@model
def too_many_arguments(out):
    f = function("F", ["x"], ["y"], [h.make_node("Neg", ["x"], ["y"])])
    return with_functions(finish([call("F", ["x", "x"], ["y"], "call")], [value("x", [4])], [value("y", [4])]), f)


@model
def unknown_argument(out):
    f = function("F", ["x"], ["y"], [h.make_node("Neg", ["x"], ["y"])])
    return with_functions(finish([call("F", ["x"], ["y"], "call", alpha=1.0)], [value("x", [4])], [value("y", [4])]), f)


@model
def error_inside(out):
    f = function("F", ["x"], ["y"], [h.make_node("Neg", ["nowhere"], ["y"], name="neg")])
    return with_functions(finish([call("F", ["x"], ["y"], "call")], [value("x", [4])], [value("y", [4])]), f)


@model
def reference_outside(out):
    node = refer(h.make_node("LeakyRelu", ["x"], ["y"], name="act"), "alpha", onnx.AttributeProto.FLOAT, "slope")
    return finish([node], [value("x", [4])], [value("y", [4])])


@model
def branch_types(out):
    yes = graph("yes", [h.make_node("Neg", ["x"], ["t"])], [], [value("t", None)])
    no = graph("no", [h.make_node("Cast", ["x"], ["t"], to=T.INT64)], [], [value("t", None)])
    return finish([h.make_node("If", ["c"], ["y"], name="choice", then_branch=yes, else_branch=no)],
                  [value("x", [4]), value("c", [], T.BOOL)], [value("y", [4])])


@model
def branch_counts(out):
    yes = graph("yes", [h.make_node("Neg", ["x"], ["t"])], [], [value("t", None), value("t", None)])
    no = graph("no", [h.make_node("Neg", ["x"], ["t"])], [], [value("t", None)])
    return finish([h.make_node("If", ["c"], ["y"], name="choice", then_branch=yes, else_branch=no)],
                  [value("x", [4]), value("c", [], T.BOOL)], [value("y", [4])])


@model
def branch_shapes(out):
    """Which rank the result has is only known at run time."""
    yes = graph("yes", [h.make_node("Squeeze", ["x", "zero"], ["t"])], [], [value("t", None)])
    no = graph("no", [h.make_node("Identity", ["x"], ["t"])], [], [value("t", None)])
    nodes = [h.make_node("Shape", ["x"], ["shape"], start=0, end=1), h.make_node("Equal", ["shape", "one"], ["c"]),
             h.make_node("If", ["c"], ["t"], name="squeeze", then_branch=yes, else_branch=no), h.make_node("Neg", ["t"], ["y"])]
    constants = [h.make_tensor("zero", T.INT64, [1], [0]), h.make_tensor("one", T.INT64, [1], [1])]
    return finish(nodes, [value("x", ["n", 4])], [value("y", None)], constants)


@model
def loop_forever(out):
    body = graph("body", [h.make_node("Neg", ["x"], ["next"]), h.make_node("Identity", ["go"], ["on"])],
                 [value("i", [], T.INT64), value("go", [], T.BOOL), value("x", None)], [value("on", [], T.BOOL), value("next", None)])
    return finish([h.make_node("Loop", ["", "yes", "x0"], ["y"], name="loop", body=body)], [value("x0", [4])], [value("y", [4])],
                  [h.make_tensor("yes", T.BOOL, [], [True])])


@model
def loop_unknown(out):
    m = MODELS["loop"](out)
    del m.graph.initializer[:]
    m.graph.input.append(value("turns", [], T.INT64))
    return m


@model
def byte_name(out):
    """A name of a function's input that is not UTF-8, which protobuf's Python does not write."""
    twice = function("Twice", ["x~"], ["y"], [h.make_node("Add", ["x~", "x~"], ["y"])])
    m = finish([call("Twice", ["x"], ["y"])], [value("x", [4])], [value("y", [4])])
    return with_functions(m, twice).SerializeToString().replace(b"x~", b"x\xff")


if __name__ == "__main__":
    main()

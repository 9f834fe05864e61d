# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares the dialect's op definitions with the schemas of the onnx package: check_schema.py SOURCE_DIRECTORY.

Operands, attributes and results have ONNX's names, order, optionality and defaults. Prints each difference, and how many ops agree.
"""
import json
import subprocess
import sys

import onnx
from onnx import defs

OWN = {"initializer", "get_initializer", "Custom", "NoValue", "check", "Yield", "unpack"}
# Names that ONNX gives only as a number, and attributes that are types or constants here.
RENAMED = {"data_0": "inputs"}
# ONNX has no default where 0 means the same.
ZERO = {("RotaryEmbedding", "num_heads")}
VALUES = {"value_strings", "value_string", "value_floats", "value_float", "value_ints", "value_int", "sparse_value"}


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def load(source):
    include = run("llvm-config", "--includedir")
    return json.loads(run("llvm-tblgen", "--dump-json", "-I", source, "-I", include, source + "/dialects/onnx/ONNXOps.td"))


def kinds(records, name):
    return set(records[name]["!superclasses"])


def ods_form(records, op):
    """Operands (name, kind), attributes {name: default}, results (name, kind) of one op."""
    operands, attributes = [], {}
    for constraint, name in op["arguments"]["args"]:
        record = constraint["def"]
        supers = kinds(records, record)
        if "TypeConstraint" in supers:
            kind = "?" if "Optional" in supers else "*" if "Variadic" in supers else ""
            operands.append((name, kind))
        elif "OptionalAttr" in supers:
            attributes[name] = None
        else:
            default = records[record].get("defaultValue")
            attributes[name] = default if default is not None else "required"
    for _, name in op["regions"]["args"]:  # graphs
        attributes[name] = "required"
    results = []
    for constraint, name in op["results"]["args"]:
        supers = kinds(records, constraint["def"])
        results.append((name, "?" if "Optional" in supers else "*" if "Variadic" in supers else ""))
    return operands, attributes, results


def onnx_form(schema):
    option = defs.OpSchema.FormalParameterOption
    mark = {option.Optional: "?", option.Variadic: "*", option.Single: ""}
    parameters = lambda ps: [(RENAMED.get(p.name, p.name), mark[p.option]) for p in ps]
    attributes = {}
    for name, a in schema.attributes.items():
        if schema.name == "Constant" and name in VALUES:
            continue
        default = onnx.helper.get_attribute_value(a.default_value) if a.default_value.name else None
        attributes[name] = "required" if a.required else default
    if schema.name == "Constant":
        attributes["value"] = "required"
    return parameters(schema.inputs), attributes, parameters(schema.outputs)


def same_default(ods, own):
    if ods in (None, "required") or own in (None, "required"):
        return ods == own
    if isinstance(own, bytes):
        return ods.strip('"') == own.decode()
    return abs(float(ods) - own) <= 1e-6 * abs(own)


def differences(records, op, schema):
    ours, theirs = ods_form(records, op), onnx_form(schema)
    if ours[0] != theirs[0]:
        yield f"operands {ours[0]}, ONNX has {theirs[0]}"
    if ours[2] != theirs[2]:
        yield f"results {ours[2]}, ONNX has {theirs[2]}"
    for name in sorted(ours[1].keys() | theirs[1].keys()):
        if name not in ours[1] or name not in theirs[1]:
            yield f"attribute {name} is only in {'ONNX' if name in theirs[1] else 'the dialect'}"
        elif (schema.name, name) in ZERO:
            if ours[1][name] != "0":
                yield f"attribute {name} does not default to 0"
        elif not same_default(ours[1][name], theirs[1][name]):
            yield f"attribute {name} defaults to {ours[1][name]}, in ONNX to {theirs[1][name]}"


def main():
    records = load(sys.argv[1])
    agree = 0
    for name in records["!instanceof"]["ONNX_Op"]:
        op = records[name]
        if op["opName"] in OWN:
            continue
        found = list(differences(records, op, defs.get_schema(op["opName"])))
        agree += not found
        for text in found:
            print(f"{op['opName']}: {text}")
    print(f"{agree} ops agree")


if __name__ == "__main__":
    main()

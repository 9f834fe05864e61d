# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes the versions of ONNX's own operators as a C++ table, oldest first: operator_history.py FILE.

A line is OPERATOR_VERSION(name, since, same form as the version before, "attribute,attribute,…", inputs, outputs). The form is all
that a node can show: inputs, outputs, attributes and their defaults. Versions of one form differ in the element types they take:
inputs and outputs are texts with a hexadecimal mask of TensorProto.DataType for each formal one, and "*" behind a variadic one.
"""
import collections
import sys

import onnx
from onnx.defs import OpSchema

def form(schema):
    def formals(values):
        return [(v.name, v.option) for v in values]

    return (formals(schema.inputs), formals(schema.outputs),
            {name: (a.type, a.required, a.default_value.SerializeToString() if a.default_value.type else b"")
             for name, a in schema.attributes.items()})


def data_type(text):
    """tensor(float) -> 1; None for a sequence, a string and the like."""
    names = {"float": "FLOAT", "double": "DOUBLE", "float16": "FLOAT16", "bool": "BOOL"}
    name = text.removeprefix("tensor(").removesuffix(")")
    return getattr(onnx.TensorProto, names.get(name, name.upper()), None) if text.startswith("tensor(") else None


def masks(formals):
    result = []
    for formal in formals:
        numbers = {data_type(text) for text in formal.types} - {None}
        variadic = formal.option == OpSchema.FormalParameterOption.Variadic
        result.append(f"{sum(1 << n for n in numbers):x}{'*' * variadic}")
    return ",".join(result)


def main():
    operators = collections.defaultdict(list)
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            operators[schema.name].append(schema)
    lines = []
    for name, schemas in sorted(operators.items()):
        before = None
        for schema in sorted(schemas, key=lambda s: s.since_version):
            same = str(before is not None and not schema.deprecated and form(schema) == form(before)).lower()
            attributes = ",".join(sorted(schema.attributes))
            lines.append(f'OPERATOR_VERSION("{name}", {schema.since_version}, {same}, "{attributes}", '
                         f'"{masks(schema.inputs)}", "{masks(schema.outputs)}")')
            before = schema
    with open(sys.argv[1], "w") as file:
        print(*lines, sep="\n", file=file)


main()

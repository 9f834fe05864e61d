// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Constants, weights, and operators that have no typed op.
#ifndef CAAT_DIALECTS_ONNX_STRUCTURE_TD
#define CAAT_DIALECTS_ONNX_STRUCTURE_TD

include "dialects/onnx/ONNXBase.td"
include "mlir/IR/SymbolInterfaces.td"

def ONNX_ConstantOp : ONNX_PureOp<"Constant", [ConstantLike, AllTypesMatch<["value", "output"]>]> {
  let summary = "a small constant tensor";
  let description = [{
    A tensor whose elements are in the IR. Larger ones are `onnx.initializer`.

    ```mlir
    %axes = onnx.Constant dense<[0, 2]> : tensor<2xi64>
    ```
    **Constraints:** the result's type is the value's.
  }];
  let arguments = (ins ElementsAttr:$value);
  let results = (outs AnyTensor:$output);
  let assemblyFormat = "attr-dict $value";
  // The result has the value's type.
  let builders = [OpBuilder<(ins "::mlir::ElementsAttr":$value), [{ build($_builder, $_state, value.getShapedType(), value); }]>];
  let hasFolder = 1;
}

def ONNX_InitializerOp : ONNX_Op<"initializer", [Symbol]> {
  let summary = "a weight: bytes of a file";
  let description = [{
    Names `length` bytes from `offset` on of `file` (relative to the module's `onnx.directory`): the row-major little-endian elements of a
    tensor. A boolean takes one byte; 4-bit integers are packed in pairs, low half first.

    ```mlir
    onnx.initializer @"model.embed.weight" : tensor<49152x576xf32> {file = "model.onnx.data", length = 113246208 : i64, offset = 0 : i64}
    ```
    **Constraints:** the shape is static; `offset` is not negative; `length` is what the type needs; `file` is a relative path without `..`.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<AnyRankedTensor>:$type, StrAttr:$file, ONNX_Int:$offset, ONNX_Int:$length);
  let assemblyFormat = "$sym_name `:` $type attr-dict";
  let extraClassDeclaration = [{
    ::mlir::RankedTensorType getTensorType() { return ::llvm::cast<::mlir::RankedTensorType>(getType()); }
  }];
  let hasVerifier = 1;
}

def ONNX_GetInitializerOp : ONNX_PureOp<"get_initializer", [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "the value of a weight";
  let description = [{
    ```mlir
    %w = onnx.get_initializer @"model.embed.weight" : tensor<49152x576xf32>
    ```
    **Constraints:** the symbol is an `onnx.initializer` of the result's type.
  }];
  let arguments = (ins FlatSymbolRefAttr:$name);
  let results = (outs AnyRankedTensor:$value);
  let assemblyFormat = "$name attr-dict `:` type($value)";
}

def ONNX_CustomOp : ONNX_Op<"Custom"> {
  let summary = "an operator without a typed op";
  let description = [{
    Keeps domain, type, version and attributes of any other ONNX node. A missing optional operand is an `onnx.NoValue`; a missing optional
    result has type `none`.

    ```mlir
    %y = onnx.Custom "com.microsoft" "BiasGelu" (%x, %b) {node_attributes = {}, version = 1 : i64} : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
    ```
  }];
  let arguments = (ins Variadic<AnyTypeOf<[AnyTensor, NoneType]>>:$inputs, StrAttr:$domain, StrAttr:$op_type, ONNX_IntDefault<"1">:$version,
                       DefaultValuedAttr<DictionaryAttr, "{}">:$node_attributes);
  let results = (outs Variadic<AnyTypeOf<[AnyTensor, NoneType]>>:$outputs);
  let assemblyFormat = "$domain $op_type `(` $inputs `)` attr-dict `:` functional-type(operands, results)";
}

def ONNX_NoValueOp : ONNX_PureOp<"NoValue"> {
  let summary = "a missing optional operand of an onnx.Custom";
  let description = "Stands for the empty name that ONNX writes for an optional input that is not given.";
  let results = (outs NoneType:$none);
  let assemblyFormat = "attr-dict `:` type($none)";
  let builders = [OpBuilder<(ins), [{ build($_builder, $_state, $_builder.getNoneType()); }]>];
}

def ONNX_CheckOp : ONNX_Op<"check"> {
  let summary = "fails the run with a message where a condition is false";
  let description = [{
    What a conversion had to assume of the inputs. No ONNX operator.

    ```mlir
    onnx.check %equal, "rows must have equal length" : tensor<i1>
    ```
    **Constraints:** the condition is a scalar.
  }];
  let arguments = (ins 0DTensorOf<[I1]>:$condition, StrAttr:$message);
  let assemblyFormat = "$condition `,` $message attr-dict `:` type($condition)";
}

#endif // CAAT_DIALECTS_ONNX_STRUCTURE_TD

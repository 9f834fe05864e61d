// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Constants, weights, and operators that have no typed op.
#ifndef CAAT_DIALECTS_ONNX_STRUCTURE_TD
#define CAAT_DIALECTS_ONNX_STRUCTURE_TD

include "dialects/onnx/ONNXBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"

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

def ONNX_UnpackOp : ONNX_PureOp<"unpack", [SameOperandsAndResultElementType]> {
  let summary = "numbers below a byte, each in a byte of its own";
  let description = [{
    Every byte of `packed` [..., n] holds 8 / `bits` unsigned numbers, the lowest bits first; the result is [..., n * 8 / bits]. No ONNX operator:
    the weights of ONNX Runtime's MatMulNBits are stored so. Only evaluated at compile time.

    ```mlir
    %q = onnx.unpack %b {bits = 4 : i64} : (tensor<8x16xui8>) -> tensor<8x32xui8>
    ```
    **Constraints:** `bits` is 2 or 4; the shapes agree.
  }];
  let arguments = (ins TensorOf<[UI8, I8]>:$packed, ONNX_Int:$bits);
  let results = (outs TensorOf<[UI8, I8]>:$unpacked);
  let assemblyFormat = "$packed attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def ONNX_NoValueOp : ONNX_PureOp<"NoValue"> {
  let summary = "a missing optional operand of an onnx.Custom";
  let description = "Stands for the empty name that ONNX writes for an optional input that is not given.";
  let results = (outs NoneType:$none);
  let assemblyFormat = "attr-dict `:` type($none)";
  let builders = [OpBuilder<(ins), [{ build($_builder, $_state, $_builder.getNoneType()); }]>];
}

def ONNX_YieldOp : ONNX_PureOp<"Yield", [Terminator, ReturnLike]> {
  let summary = "ends a branch or loop body with its values";
  let description = [{
    ```mlir
    onnx.Yield %a, %b : tensor<4xf32>, tensor<i64>
    ```
  }];
  let arguments = (ins Variadic<AnyTensor>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

def ONNX_IfOp : ONNX_Op<"If", [SingleBlock, NoRegionArguments, RecursiveMemoryEffects]> {
  let summary = "one of two subgraphs";
  let description = [{
    The results are the values of `then_branch` where the only element of `cond` is true, of `else_branch` otherwise. Both use values of
    the graph around them. Nothing but the folding of control flow (`onnx-fold-control-flow`) knows this op.

    ```mlir
    %y = onnx.If %c {
      onnx.Yield %a : tensor<4xf32>
    } else {
      onnx.Yield %b : tensor<4xf32>
    } : (tensor<i1>) -> tensor<4xf32>
    ```
    **Constraints:** each branch ends in an `onnx.Yield` of as many values as there are results, with their element types.
  }];
  let arguments = (ins TensorOf<[I1]>:$cond);
  let results = (outs Variadic<AnyTensor>:$outputs);
  let regions = (region SizedRegion<1>:$then_branch, SizedRegion<1>:$else_branch);
  let assemblyFormat = "$cond $then_branch `else` $else_branch attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def ONNX_LoopOp : ONNX_Op<"Loop", [SingleBlock, AttrSizedOperandSegments, RecursiveMemoryEffects]> {
  let summary = "a subgraph, again and again";
  let description = [{
    `body` takes the iteration's number (i64), the condition and the carried values, which begin with `v_initial`, and yields the next condition and
    carried values, then one element of each scan output. It runs `M` times at most (no bound if missing), as long as the condition (true if
    missing) holds. Results: the carried values, then the scan outputs, each of which stacks its elements along a new first dimension.

    **Constraints:** the body's arguments and yielded values are as many as this says.
  }];
  let arguments = (ins Optional<AnyTensor>:$M, Optional<AnyTensor>:$cond, Variadic<AnyTensor>:$v_initial);
  let results = (outs Variadic<AnyTensor>:$v_final_and_scan_outputs);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    (`times` $M^)? (`while` $cond^)? (`carry` $v_initial^)? $body attr-dict `:` functional-type(operands, results)
  }];
  let extraClassDeclaration = [{
    unsigned getNumCarried() { return getVInitial().size(); }
  }];
  let hasVerifier = 1;
}

def ONNX_ScanOp : ONNX_Op<"Scan", [SingleBlock, RecursiveMemoryEffects]> {
  let summary = "a subgraph for each slice of its inputs";
  let description = [{
    The last `num_scan_inputs` operands are cut along `scan_input_axes` (default 0; from the end where `scan_input_directions` is 1); `body` takes the
    carried values and one slice of each, without that dimension, and yields the next carried values and one element of each scan output, which are
    stacked along `scan_output_axes` (put in front where `scan_output_directions` is 1).

    **Constraints:** the body's arguments are as many as the operands, its values as many as the results.
  }];
  let arguments = (ins Variadic<AnyTensor>:$initial_state_and_scan_inputs, ONNX_Int:$num_scan_inputs,
                       OptionalAttr<DenseI64ArrayAttr>:$scan_input_axes, OptionalAttr<DenseI64ArrayAttr>:$scan_input_directions,
                       OptionalAttr<DenseI64ArrayAttr>:$scan_output_axes, OptionalAttr<DenseI64ArrayAttr>:$scan_output_directions);
  let results = (outs Variadic<AnyTensor>:$final_state_and_scan_outputs);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$initial_state_and_scan_inputs $body attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def ONNX_CheckOp : ONNX_Op<"check"> {
  let summary = "fails the run with a message where a condition is false";
  let description = [{
    What a conversion had to assume of the inputs. No ONNX operator. A `late` check may fail when the run is over: what
    follows it can be computed all the same, and only the results would be wrong.

    ```mlir
    onnx.check %equal, "rows must have equal length" {late} : tensor<i1>
    ```
    **Constraints:** the condition is a scalar.
  }];
  let arguments = (ins 0DTensorOf<[I1]>:$condition, StrAttr:$message, UnitAttr:$late);
  let assemblyFormat = "$condition `,` $message attr-dict `:` type($condition)";
}

#endif // CAAT_DIALECTS_ONNX_STRUCTURE_TD

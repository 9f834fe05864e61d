// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The dialect, its traits and the base classes that the op files share.
#ifndef CAAT_DIALECTS_ONNX_BASE_TD
#define CAAT_DIALECTS_ONNX_BASE_TD

include "mlir/IR/OpBase.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def ONNX_Dialect : Dialect {
  let name = "onnx";
  let cppNamespace = "::caat::onnx";
  let summary = "ONNX operators at the newest opset";
  let description = [{
    Operators of the ONNX standard in the form of its newest opset: operand, attribute and default names are ONNX's own,
    older forms are upgraded by the importer. Types are builtin tensors with `?` where a dimension is symbolic. Integers
    are signless, unsigned ones `uiN`, booleans `i1`.

    Weights are not part of the IR: `onnx.initializer` names the bytes in a file, `onnx.get_initializer` is their value.
    An operator without a typed op is an `onnx.Custom`.

    Attributes of the module: `onnx.directory` (the folder that initializers' files are relative to), `onnx.opset`.
    Attributes of arguments and results of functions: `onnx.name` and `onnx.dims`, one string per dimension: a symbol's name, an
    expression over symbols, or empty for a static or nameless one.
  }];
  let hasConstantMaterializer = 1;
  let hasRegionArgAttrVerify = 1;
  let hasRegionResultAttrVerify = 1;
}

// Every operand and the result are broadcast against each other as numpy does; each result element depends on one element of each
// operand. Verifies the shapes.
def ONNX_BroadcastElementwise : NativeOpTrait<"BroadcastElementwise"> {
  let cppNamespace = "::caat::onnx";
}

// An ONNX INT: a signless 64-bit attribute, read as int64_t.
def ONNX_Int : TypedSignlessIntegerAttrBase<I64, "int64_t", "64-bit integer attribute">;
class ONNX_IntDefault<string value> : DefaultValuedAttr<ONNX_Int, value>;
class ONNX_FloatDefault<string value> : DefaultValuedAttr<F32Attr, value>;
class ONNX_StringDefault<string value> : DefaultValuedStrAttr<StrAttr, value>;

class ONNX_Op<string mnemonic, list<Trait> traits = []> : Op<ONNX_Dialect, mnemonic, traits>;
class ONNX_PureOp<string mnemonic, list<Trait> traits = []> : ONNX_Op<mnemonic, !listconcat([Pure], traits)>;

#endif // CAAT_DIALECTS_ONNX_BASE_TD

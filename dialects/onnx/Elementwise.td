// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Operators that work element by element, with broadcasting.
#ifndef CAAT_DIALECTS_ONNX_ELEMENTWISE_TD
#define CAAT_DIALECTS_ONNX_ELEMENTWISE_TD

include "dialects/onnx/ONNXBase.td"

// One operand, one result of the same shape and element type; attributes may follow the operand.
class ONNX_UnaryBase<string name, string formula, string input, string output, list<Trait> traits>
    : ONNX_PureOp<name, !listconcat([ONNX_BroadcastElementwise], traits)> {
  let summary = formula;
  let description = "Computes `" # formula # "` for every element. `" # input # "` and `" # output # "` have the same shape.";
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}
class ONNX_UnaryX<string name, string formula, dag attributes = (ins)>
    : ONNX_UnaryBase<name, formula, "X", "Y", [SameOperandsAndResultElementType]> {
  let arguments = !con((ins AnyTensor:$X), attributes);
  let results = (outs AnyTensor:$Y);
}
class ONNX_UnaryInput<string name, string formula, dag attributes = (ins)>
    : ONNX_UnaryBase<name, formula, "input", "output", [SameOperandsAndResultElementType]> {
  let arguments = !con((ins AnyTensor:$input), attributes);
  let results = (outs AnyTensor:$output);
}

def ONNX_NegOp : ONNX_UnaryX<"Neg", "Y = -X">;
def ONNX_AbsOp : ONNX_UnaryX<"Abs", "Y = |X|">;
def ONNX_SqrtOp : ONNX_UnaryX<"Sqrt", "Y = sqrt(X)">;
def ONNX_ReciprocalOp : ONNX_UnaryX<"Reciprocal", "Y = 1 / X">;
def ONNX_SigmoidOp : ONNX_UnaryX<"Sigmoid", "Y = 1 / (1 + exp(-X))">;
def ONNX_ReluOp : ONNX_UnaryX<"Relu", "Y = max(0, X)">;
def ONNX_LeakyReluOp : ONNX_UnaryX<"LeakyRelu", "Y = X < 0 ? alpha * X : X", (ins ONNX_FloatDefault<"0.01">:$alpha)>;
def ONNX_SwishOp : ONNX_UnaryX<"Swish", "Y = X * sigmoid(alpha * X)", (ins ONNX_FloatDefault<"1.0">:$alpha)>;
def ONNX_MishOp : ONNX_UnaryX<"Mish", "Y = X * tanh(softplus(X))">;
def ONNX_HardSwishOp : ONNX_UnaryX<"HardSwish", "Y = X * max(0, min(1, X / 6 + 0.5))">;
def ONNX_HardSigmoidOp : ONNX_UnaryX<"HardSigmoid", "Y = max(0, min(1, alpha * X + beta))",
                                     (ins ONNX_FloatDefault<"0.2">:$alpha, ONNX_FloatDefault<"0.5">:$beta)>;
def ONNX_EluOp : ONNX_UnaryX<"Elu", "Y = X < 0 ? alpha * (exp(X) - 1) : X", (ins ONNX_FloatDefault<"1.0">:$alpha)>;
def ONNX_CeluOp : ONNX_UnaryX<"Celu", "Y = max(0, X) + min(0, alpha * (exp(X / alpha) - 1))", (ins ONNX_FloatDefault<"1.0">:$alpha)>;
def ONNX_SeluOp : ONNX_UnaryX<"Selu", "Y = gamma * (X <= 0 ? alpha * (exp(X) - 1) : X)",
                              (ins ONNX_FloatDefault<"1.67326319217681884765625">:$alpha,
                                   ONNX_FloatDefault<"1.05070102214813232421875">:$gamma)>;
def ONNX_ThresholdedReluOp : ONNX_UnaryX<"ThresholdedRelu", "Y = X > alpha ? X : 0", (ins ONNX_FloatDefault<"1.0">:$alpha)>;
def ONNX_SoftplusOp : ONNX_UnaryX<"Softplus", "Y = log(1 + exp(X))">;
def ONNX_FloorOp : ONNX_UnaryX<"Floor", "Y = floor(X)">;
def ONNX_CeilOp : ONNX_UnaryX<"Ceil", "Y = ceil(X)">;
def ONNX_RoundOp : ONNX_UnaryX<"Round", "Y = round(X), halves to even">;
def ONNX_NotOp : ONNX_UnaryX<"Not", "Y = !X">;
def ONNX_BitwiseNotOp : ONNX_UnaryX<"BitwiseNot", "Y = ~X, every bit of an integer inverted">;
def ONNX_ExpOp : ONNX_UnaryInput<"Exp", "output = exp(input)">;
def ONNX_LogOp : ONNX_UnaryInput<"Log", "output = log(input)">;
def ONNX_SinOp : ONNX_UnaryInput<"Sin", "output = sin(input), in radians">;
def ONNX_CosOp : ONNX_UnaryInput<"Cos", "output = cos(input), in radians">;
def ONNX_TanOp : ONNX_UnaryInput<"Tan", "output = tan(input), in radians">;
def ONNX_AsinOp : ONNX_UnaryInput<"Asin", "output = arcsin(input), in radians">;
def ONNX_AcosOp : ONNX_UnaryInput<"Acos", "output = arccos(input), in radians">;
def ONNX_AtanOp : ONNX_UnaryInput<"Atan", "output = arctan(input), in radians">;
def ONNX_SinhOp : ONNX_UnaryInput<"Sinh", "output = sinh(input)">;
def ONNX_CoshOp : ONNX_UnaryInput<"Cosh", "output = cosh(input)">;
def ONNX_AsinhOp : ONNX_UnaryInput<"Asinh", "output = arsinh(input)">;
def ONNX_AcoshOp : ONNX_UnaryInput<"Acosh", "output = arcosh(input)">;
def ONNX_AtanhOp : ONNX_UnaryInput<"Atanh", "output = artanh(input)">;
def ONNX_SoftsignOp : ONNX_UnaryInput<"Softsign", "output = input / (1 + |input|)">;
def ONNX_ShrinkOp : ONNX_UnaryInput<"Shrink",
    "output = input < -lambd ? input + bias : input > lambd ? input - bias : 0",
    (ins ONNX_FloatDefault<"0.0">:$bias, ONNX_FloatDefault<"0.5">:$lambd)>;
def ONNX_TanhOp : ONNX_UnaryInput<"Tanh", "output = tanh(input)">;
def ONNX_ErfOp : ONNX_UnaryInput<"Erf", "output = erf(input)">;
def ONNX_SignOp : ONNX_UnaryInput<"Sign", "output = -1, 0 or 1, the sign of input">;

def ONNX_GeluOp : ONNX_UnaryX<"Gelu", "Y = X * Phi(X)", (ins ONNX_StringDefault<"none">:$approximate)> {
  let description = [{
    The Gaussian error linear unit: `X / 2 * (1 + erf(X / sqrt(2)))`, or with `approximate = "tanh"`
    `X / 2 * (1 + tanh(sqrt(2 / pi) * (X + 0.044715 * X^3)))`. `X` and `Y` have the same shape.

    **Constraints:** `approximate` is "none" or "tanh".
  }];
  let hasVerifier = 1;
}

def ONNX_IdentityOp : ONNX_UnaryInput<"Identity", "output = input"> {
  let hasFolder = 1;
}

class ONNX_Classify<string name, string formula, dag attributes = (ins)>
    : ONNX_UnaryBase<name, formula, "X", "Y", []> {
  let arguments = !con((ins AnyTensor:$X), attributes);
  let results = (outs TensorOf<[I1]>:$Y);
}
def ONNX_IsNaNOp : ONNX_Classify<"IsNaN", "Y = X is not a number">;
def ONNX_IsInfOp : ONNX_Classify<"IsInf", "Y = X is infinite",
                                 (ins ONNX_IntDefault<"1">:$detect_negative, ONNX_IntDefault<"1">:$detect_positive)>;

def ONNX_CastOp : ONNX_PureOp<"Cast", [ONNX_BroadcastElementwise]> {
  let summary = "output = input converted to another element type";
  let description = [{
    Converts every element to `to`, which is the result's element type. Floats become integers by truncation.
    `saturate` and `round_mode` matter for 8-bit floats only. `input` and `output` have the same shape.

    **Constraints:** `to` equals the result's element type.
  }];
  let arguments = (ins AnyTensor:$input, TypeAttr:$to, ONNX_IntDefault<"1">:$saturate, ONNX_StringDefault<"up">:$round_mode);
  let results = (outs AnyTensor:$output);
  let assemblyFormat = "$input `to` $to attr-dict `:` functional-type(operands, results)";
  // The result has the input's shape.
  let builders = [OpBuilder<(ins "::mlir::Value":$input, "::mlir::Type":$elementType)>];
  let hasVerifier = 1;
}

def ONNX_CastLikeOp : ONNX_PureOp<"CastLike"> {
  let summary = "output = input converted to the element type of target_type";
  let description = "As `onnx.Cast`, but to the element type of `target_type`, whose values and shape are not used.";
  let arguments = (ins AnyTensor:$input, AnyTensor:$target_type, ONNX_IntDefault<"1">:$saturate,
                       ONNX_StringDefault<"up">:$round_mode);
  let results = (outs AnyTensor:$output);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def ONNX_BitCastOp : ONNX_PureOp<"BitCast", [ONNX_BroadcastElementwise]> {
  let summary = "output = the bits of input as another element type";
  let description = [{
    Reads the bits of every element as an element of type `to`, which is the result's element type. `input` and `output` have the same shape.

    **Constraints:** `to` equals the result's element type and has as many bits as the input's.
  }];
  let arguments = (ins AnyTensor:$input, TypeAttr:$to);
  let results = (outs AnyTensor:$output);
  let assemblyFormat = "$input `to` $to attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

class ONNX_BinaryBase<string name, string formula, list<Trait> traits, dag attributes>
    : ONNX_PureOp<name, !listconcat([ONNX_BroadcastElementwise], traits)> {
  let summary = formula;
  let description = "Computes `" # formula # "` for every element; `A` and `B` are broadcast against each other.";
  let arguments = !con((ins AnyTensor:$A, AnyTensor:$B), attributes);
  let results = (outs AnyTensor:$C);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}
class ONNX_Binary<string name, string formula, dag attributes = (ins)>
    : ONNX_BinaryBase<name, formula, [SameOperandsAndResultElementType], attributes>;
class ONNX_Compare<string name, string formula> : ONNX_BinaryBase<name, formula, [SameOperandsElementType], (ins)> {
  let results = (outs TensorOf<[I1]>:$C);
}

def ONNX_AddOp : ONNX_Binary<"Add", "C = A + B">;
def ONNX_SubOp : ONNX_Binary<"Sub", "C = A - B">;
def ONNX_MulOp : ONNX_Binary<"Mul", "C = A * B">;
def ONNX_DivOp : ONNX_Binary<"Div", "C = A / B, integers towards zero">;
def ONNX_ModOp : ONNX_Binary<"Mod", "C = A mod B, with B's sign, or A's where fmod is 1", (ins ONNX_IntDefault<"0">:$fmod)>;
def ONNX_AndOp : ONNX_Binary<"And", "C = A && B">;
def ONNX_OrOp : ONNX_Binary<"Or", "C = A || B">;
def ONNX_XorOp : ONNX_Binary<"Xor", "C = A != B, of booleans">;
def ONNX_BitwiseAndOp : ONNX_Binary<"BitwiseAnd", "C = A & B, bit by bit">;
def ONNX_BitwiseOrOp : ONNX_Binary<"BitwiseOr", "C = A | B, bit by bit">;
def ONNX_BitwiseXorOp : ONNX_Binary<"BitwiseXor", "C = A ^ B, bit by bit">;
def ONNX_EqualOp : ONNX_Compare<"Equal", "C = A == B">;
def ONNX_GreaterOp : ONNX_Compare<"Greater", "C = A > B">;
def ONNX_GreaterOrEqualOp : ONNX_Compare<"GreaterOrEqual", "C = A >= B">;
def ONNX_LessOp : ONNX_Compare<"Less", "C = A < B">;
def ONNX_LessOrEqualOp : ONNX_Compare<"LessOrEqual", "C = A <= B">;

def ONNX_BitShiftOp : ONNX_PureOp<"BitShift", [ONNX_BroadcastElementwise, SameOperandsAndResultElementType]> {
  let summary = "Z = X << Y or X >> Y";
  let description = [{
    Moves the bits of `X` by `Y` places in `direction`, "LEFT" or "RIGHT" (which fills with the sign of a signed integer). By a negative number of
    places, or as many as there are bits, gives that sign alone: -1 to the right of a negative number, else 0. `X` and `Y` are broadcast against each other.

    **Constraints:** `direction` is one of these.
  }];
  let arguments = (ins AnyTensor:$X, AnyTensor:$Y, StrAttr:$direction);
  let results = (outs AnyTensor:$Z);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def ONNX_PowOp : ONNX_PureOp<"Pow", [ONNX_BroadcastElementwise, AllElementTypesMatch<["X", "Z"]>]> {
  let summary = "Z = X ^ Y";
  let description = "Raises `X` to the power `Y`, broadcast against each other. The result has `X`'s element type.";
  let arguments = (ins AnyTensor:$X, AnyTensor:$Y);
  let results = (outs AnyTensor:$Z);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def ONNX_PReluOp : ONNX_PureOp<"PRelu", [ONNX_BroadcastElementwise, SameOperandsAndResultElementType]> {
  let summary = "Y = X < 0 ? slope * X : X";
  let description = "`slope` is broadcast to `X`'s shape, which is the result's.";
  let arguments = (ins AnyTensor:$X, AnyTensor:$slope);
  let results = (outs AnyTensor:$Y);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

class ONNX_Variadic<string name, string formula>
    : ONNX_PureOp<name, [ONNX_BroadcastElementwise, SameOperandsAndResultElementType]> {
  let summary = formula;
  let description = "The `" # formula # "` of one or more `inputs`, which are broadcast against each other.";
  let arguments = (ins Variadic<AnyTensor>:$inputs);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}
def ONNX_MinOp : ONNX_Variadic<"Min", "minimum"> { let results = (outs AnyTensor:$min); }
def ONNX_MaxOp : ONNX_Variadic<"Max", "maximum"> { let results = (outs AnyTensor:$max); }
def ONNX_SumOp : ONNX_Variadic<"Sum", "sum"> { let results = (outs AnyTensor:$sum); }
def ONNX_MeanOp : ONNX_Variadic<"Mean", "mean"> { let results = (outs AnyTensor:$mean); }

def ONNX_ClipOp : ONNX_PureOp<"Clip", [ONNX_BroadcastElementwise, SameOperandsAndResultElementType, AttrSizedOperandSegments]> {
  let summary = "output = min(max(input, min), max)";
  let description = "`min` and `max` are scalars of shape []; one that is missing does not bound. `max` wins over `min`.";
  let arguments = (ins AnyTensor:$input, Optional<AnyTensor>:$min, Optional<AnyTensor>:$max);
  let results = (outs AnyTensor:$output);
  let assemblyFormat = "$input (`min` $min^)? (`max` $max^)? attr-dict `:` functional-type(operands, results)";
}

def ONNX_WhereOp : ONNX_PureOp<"Where", [ONNX_BroadcastElementwise, AllElementTypesMatch<["X", "Y", "output"]>]> {
  let summary = "output = condition ? X : Y";
  let description = "Takes `X` where `condition` is true and `Y` elsewhere; all three are broadcast against each other.";
  let arguments = (ins TensorOf<[I1]>:$condition, AnyTensor:$X, AnyTensor:$Y);
  let results = (outs AnyTensor:$output);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

#endif // CAAT_DIALECTS_ONNX_ELEMENTWISE_TD

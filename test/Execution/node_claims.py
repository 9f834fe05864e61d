# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What caat does not claim to support of ONNX's operators, and the forms that it refuses of those that it supports."""
import re

# Operators without support, by why. A case is "not claimed" where it tests one of them or needs one inside.
NOT_CLAIMED = {
    "sequences, optionals and maps": (
        "ConcatFromSequence OptionalGetElement OptionalHasElement Optional SequenceAt SequenceConstruct SequenceEmpty "
        "SequenceErase SequenceInsert SequenceLength SequenceMap SplitToSequence"),
    "strings": "RegexFullMatch StringConcat StringNormalizer StringSplit TfIdfVectorizer",
    "images": ("AffineGrid Col2Im DeformConv GridSample ImageDecoder MaxRoiPool MaxUnpool NonMaxSuppression "
               "RoiAlign"),
    "audio": "BlackmanWindow HammingWindow HannWindow MelWeightMatrix STFT",
    "recurrent networks": "GRU LSTM RNN",
    "random numbers": "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike",
    "results whose size depends on values": "Unique",
    "linear algebra": "Det",
    "classical machine learning (ai.onnx.ml)": (
        "ai.onnx.ml.ArrayFeatureExtractor ai.onnx.ml.Binarizer ai.onnx.ml.LabelEncoder ai.onnx.ml.TreeEnsemble"),
    "training (ai.onnx.preview.training)": (
        "ai.onnx.preview.training.Adagrad ai.onnx.preview.training.Adam ai.onnx.preview.training.Momentum"),
    "previews (ai.onnx.preview)": "ai.onnx.preview.FlexAttention",
}
REASONS = {name: reason for reason, names in NOT_CLAIMED.items() for name in names.split()}

# (operator or None for any, pattern of the error, what docs/operators.md says of the form)
REFUSED = [
    (None, r"opset [1-6] is not supported", "opsets before 7"),
    (None, r"axes are not constant|axis is not constant|steps are not constant",
     "axes and steps that are no constants"),
    (None, r"the rank of an operand or result is not known|has an unknown rank",
     "operands that decide the rank of the result and are no constants"),
    (None, r"a size depends on what tensors hold",
     "results whose size depends on values at run time"),
    (None, r"only known at run time", "control flow that values at run time decide"),
    ("Scan", r"\(Scan, opset 8\)", "the form of opset 8, over batches"),
    ("Compress", r"its condition is not constant", "a condition that is no constant"),
    ("NonZero", r"must be executed", "operands that are no constants"),
    ("Dropout", r"training mode", "training mode"),
    ("BatchNormalization", r"training mode", "training mode"),
]


def tested(case) -> str:
    return f"{case.domain}.{case.op}" if case.domain else case.op


def not_claimed(case) -> str:
    """Why the case is outside of what caat claims; "" where it is not."""
    if tested(case) in REASONS:
        return REASONS[tested(case)]
    for name in sorted(case.operators()):
        if name in REASONS:
            return f"needs {name}: {REASONS[name]}"
    for value in (*case.model.graph.input, *case.model.graph.output):
        if not value.type.HasField("tensor_type"):
            return "sequences, optionals and maps"
    if any(getattr(array, "dtype", None) == object for array in (*case.inputs, *case.outputs)):
        return "strings"
    return ""


def refused_form(case, text: str) -> str:
    """What docs/operators.md says of a refused case; "" where its form is claimed."""
    for op, pattern, note in REFUSED:
        if op in (None, case.op) and re.search(pattern, text):
            return note
    return ""

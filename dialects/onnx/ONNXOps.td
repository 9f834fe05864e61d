// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// All ops of the dialect, one file per topic.
#ifndef CAAT_DIALECTS_ONNX_OPS_TD
#define CAAT_DIALECTS_ONNX_OPS_TD

include "dialects/onnx/Elementwise.td"
include "dialects/onnx/NN.td"
include "dialects/onnx/Reduce.td"
include "dialects/onnx/Shape.td"
include "dialects/onnx/Structure.td"

#endif // CAAT_DIALECTS_ONNX_OPS_TD

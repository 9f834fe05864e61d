// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Changes ONNX models field by field, so that most results are still messages that get past the parser.
#ifndef CAAT_TEST_FUZZ_MODELMUTATOR_H
#define CAAT_TEST_FUZZ_MODELMUTATOR_H

#include <random>

#include "onnx.pb.h"

namespace caat::fuzz {

/// One to four changes of `model`.
void mutateModel(::onnx::ModelProto &model, std::minstd_rand &random);
/// Adds some nodes and tensors of `other` to `model`.
void crossModels(::onnx::ModelProto &model, const ::onnx::ModelProto &other, std::minstd_rand &random);

} // namespace caat::fuzz

#endif // CAAT_TEST_FUZZ_MODELMUTATOR_H

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// An ONNX file through the importer, the raise pipeline, sharding and synchronisation.
#include "Fuzz.h"
#include "ModelMutator.h"
#include "Pipeline.h"
#include "caat/Import/Import.h"
#include "mlir/IR/Verifier.h"

using namespace caat;

extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t maxSize);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::Folder folder;
  static fuzz::Session session;
  // Zeros for the seeds' weights, which take no memory.
  static bool hasWeights = truncate(folder.write("weights.bin", "", 0).c_str(), 16 << 20) == 0;
  if (!hasWeights)
    std::abort();
  std::string path = folder.write("model.onnx", data, size);
  mlir::FailureOr<mlir::OwningOpRef<mlir::ModuleOp>> module = importONNX(path, &session.next());
  if (succeeded(module) && failed(mlir::verify(**module))) // each operation is verified when it is made
    std::abort();
  if (succeeded(module) && session.run(**module, fuzz::buildRaise))
    session.run(**module, fuzz::buildShardAndSync);
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t maxSize, unsigned seed) {
  std::minstd_rand random(seed);
  ::onnx::ModelProto model;
  if (random() % 8 != 0 && model.ParseFromArray(data, static_cast<int>(size))) {
    fuzz::mutateModel(model, random);
    if (model.ByteSizeLong() <= maxSize) {
      size_t bytes = model.ByteSizeLong();
      model.SerializeToArray(data, static_cast<int>(bytes));
      return bytes;
    }
  }
  return LLVMFuzzerMutate(data, size, maxSize);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t aSize, const uint8_t *b, size_t bSize,
                                            uint8_t *out, size_t maxSize, unsigned seed) {
  std::minstd_rand random(seed);
  ::onnx::ModelProto model, other;
  if (!model.ParseFromArray(a, static_cast<int>(aSize)) || !other.ParseFromArray(b, static_cast<int>(bSize)))
    return 0;
  fuzz::crossModels(model, other, random);
  size_t bytes = model.ByteSizeLong();
  if (bytes > maxSize)
    return 0;
  model.SerializeToArray(out, static_cast<int>(bytes));
  return bytes;
}

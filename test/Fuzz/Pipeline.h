// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A context that is made anew now and then (it never frees what it uniques), and the passes on a module.
#ifndef CAAT_TEST_FUZZ_PIPELINE_H
#define CAAT_TEST_FUZZ_PIPELINE_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Pass/PassManager.h"
#include <memory>

namespace caat::fuzz {

class Session {
public:
  /// The context for the next input; diagnostics are dropped.
  mlir::MLIRContext &next();
  /// Runs `build`'s passes on a valid module. They may fail, but not without a message.
  bool run(mlir::ModuleOp module, void (*build)(mlir::OpPassManager &));

private:
  std::unique_ptr<mlir::MLIRContext> context;
  bool spoke = false;
  int runs = 0;
};

void buildRaise(mlir::OpPassManager &pm);
/// Sharding for two ranks and full synchronisation.
void buildShardAndSync(mlir::OpPassManager &pm);

} // namespace caat::fuzz

#endif // CAAT_TEST_FUZZ_PIPELINE_H

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Plans in the compiler: the runtime's reader with LLVM's errors, and checks against a program.
#ifndef CAAT_SYNC_PLAN_H
#define CAAT_SYNC_PLAN_H

#include "caat/runtime/Plan.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"

namespace caat {

using runtime::PlanEntry;
using runtime::SiteEstimate;

struct Plan : runtime::Plan {
  /// SHA-256 of the file's text, in hexadecimal digits.
  std::string digest;
};

/// A sync point that a program has.
struct SiteInfo {
  std::string name;
  int64_t channels;
  /// Why the site cannot defer; empty where it can.
  std::string notDeferrable;
  /// Whether estimates can read the module's normalised input.
  bool hasInput;
  /// Elements of the stream, "f32".
  std::string elementType;
};

/// Reads and validates a plan as far as that is possible without a program. Errors name the file and the place in it.
llvm::Expected<Plan> readPlan(llvm::StringRef file);

/// The same from text; `file` is used in messages and to find the files that the plan names.
llvm::Expected<Plan> parsePlan(llvm::StringRef text, llvm::StringRef file);

/// Checks a plan against the number of ranks alone: what can be refused before a model is opened.
mlir::LogicalResult checkPlan(const Plan &plan, int64_t size, llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

/// Checks a plan against the sync points of a program and the number of ranks; also reads the estimates that it names.
/// Needs no weights.
mlir::LogicalResult checkPlan(const Plan &plan, llvm::ArrayRef<SiteInfo> sites, int64_t size,
                              llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

/// The sync points of a module (tp-form-sync-points has made them), in the order of the graph.
llvm::SmallVector<SiteInfo> collectSites(mlir::ModuleOp module);

/// Reads the estimate of a site whose entry names one.
llvm::Expected<SiteEstimate> readEstimate(const Plan &plan, const PlanEntry &entry, llvm::StringRef site, int64_t ranks,
                                          int64_t channels);

} // namespace caat

#endif // CAAT_SYNC_PLAN_H

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Plans: which sync point sends what. Version 1 of the format; docs/plan.schema.json describes it.
#ifndef CAAT_SYNC_PLAN_H
#define CAAT_SYNC_PLAN_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"
#include <map>
#include <optional>
#include <string>

namespace caat {

/// What a plan says about one site. The default is a full synchronisation.
struct PlanEntry {
  enum class Scale { One, Sqrt, Number };

  /// The place in the file, for messages: `default`, or `sites."layers.0.attn"`.
  std::string path;
  bool isFull = true;
  /// Share of the channels that is reduced, in [0, 1]; int(share * channels) of them, by truncation.
  double shared = 1.0;
  bool isPrivate = false;
  Scale scale = Scale::One;
  /// The factor where `scale` is a number.
  double scaleValue = 1.0;
  /// The channels, most important first; empty for 0, 1, 2, ….
  llvm::SmallVector<int64_t> order;
  /// A safetensors file with SITE.a and SITE.b, below the plan's folder; empty for none.
  std::string estimate;

  /// The factor of private channels with `ranks` ranks.
  double getScale(int64_t ranks) const;
  /// How many of `channels` channels are reduced.
  int64_t getShared(int64_t channels) const;
};

struct Plan {
  /// The file's name, for messages.
  std::string file;
  /// SHA-256 of the file's text, in hexadecimal digits.
  std::string digest;
  /// Number of ranks that the plan is for; nothing where it is for any.
  std::optional<int64_t> tp;
  PlanEntry defaults;
  std::map<std::string, PlanEntry> sites;

  /// The entry of a site: its own, or the default.
  const PlanEntry &lookup(llvm::StringRef site) const;
};

/// A sync point that a program has.
struct SiteInfo {
  std::string name;
  int64_t channels;
  /// Why the site cannot defer; empty where it can.
  std::string notDeferrable;
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

/// Reads the estimate of a site: a and b [ranks, channels], f32.
struct SiteEstimate {
  llvm::SmallVector<float> a, b;
};
llvm::Expected<SiteEstimate> readEstimate(const Plan &plan, const PlanEntry &entry, llvm::StringRef site, int64_t ranks,
                                          int64_t channels);

} // namespace caat

#endif // CAAT_SYNC_PLAN_H

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The collectives of one rank's program, which is made by the passes that a compilation runs too. Their sizes follow
// from the symbolic shapes of that program.
#include "Messages.h"
#include "caat/Shard/Passes.h"
#include "caat/Sync/Passes.h"
#include "lib/Shard/Annotations.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Pass/PassManager.h"

using namespace mlir;
using namespace caat;
using namespace caat::check;

/// Bytes of a whole message: what an all-reduce sums, what an all-gather gives, what a reduce-scatter takes.
static Message describe(Operation *op, StringRef kind, StringRef site, Value value, const shard::LocalSizes &sizes,
                        const DimValues &values) {
  Message message{kind.str(), site.str(), "", {}};
  if (auto name = op->getLoc()->findInstanceOf<NameLoc>())
    message.node = name.getName().str();
  for (unsigned scenario = 0; scenario < numScenarios; ++scenario)
    message.bytes[scenario] = sizes.getBytes(value, values[scenario]);
  return message;
}

FailureOr<std::vector<Message>> caat::check::findMessages(shard::ShardingAnalysis &analysis, const shard::Split &split,
                                                          int64_t ranks, const DimValues &values) {
  // What tp-auto-shard does, with the analysis that has been made.
  auto raised = analysis.getFunction()->getParentOfType<ModuleOp>();
  shard::annotate(analysis, split);
  OwningOpRef<ModuleOp> copy = raised.clone();
  shard::clearAnnotations(analysis.getFunction());
  if (failed(shard::addMesh(*copy, ranks)))
    return failure();
  PassManager manager(raised.getContext());
  manager.enableVerifier(false); // the raised module is verified, and nothing of the copy is compiled
  manager.addPass(createTPPartition());
  manager.addNestedPass<func::FuncOp>(createTPMergeAllReduces());
  manager.addNestedPass<func::FuncOp>(createTPFormSyncPoints());
  {
    // What the passes warn of is part of the report.
    ScopedDiagnosticHandler quiet(raised.getContext(), [](Diagnostic &diagnostic) {
      return success(diagnostic.getSeverity() != DiagnosticSeverity::Error);
    });
    if (failed(manager.run(*copy)))
      return failure();
  }
  std::vector<Message> messages;
  for (auto function : copy->getOps<func::FuncOp>()) {
    if (function.isExternal())
      continue;
    shard::LocalSizes sizes(function);
    for (Operation &op : function.getBody().front()) {
      if (auto site = dyn_cast<tp::SyncPointOp>(op))
        messages.push_back(describe(&op, "all_reduce", site.getSite(), site.getPartial(), sizes, values));
      else if (auto collective = dyn_cast<tp::CollectiveOpInterface>(op))
        messages.push_back(describe(&op, op.getName().stripDialect(), collective.getSiteName(),
                                    isa<tp::ReduceScatterOp>(op) ? op.getOperand(0) : op.getResult(0), sizes, values));
    }
  }
  return messages;
}

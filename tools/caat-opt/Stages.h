// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_TOOLS_CAAT_OPT_STAGES_H
#define CAAT_TOOLS_CAAT_OPT_STAGES_H

#include "mlir/IR/DialectRegistry.h"

namespace caat {

/// caat's dialects, passes and pipelines, with `tp-pipeline`, which goes from an imported model to the synchronised
/// program.
void registerStages(mlir::DialectRegistry &registry);

} // namespace caat

#endif // CAAT_TOOLS_CAAT_OPT_STAGES_H

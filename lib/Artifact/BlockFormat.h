// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LIB_ARTIFACT_BLOCKFORMAT_H
#define CAAT_LIB_ARTIFACT_BLOCKFORMAT_H

#include "caat/runtime/Blocks.h"
#include "dialects/rt/RT.h"

namespace caat {

/// The runtime's description of blocks: what their rows look like in files.
runtime::BlockFormat blockFormat(rt::BlocksAttr blocks);

} // namespace caat

#endif // CAAT_LIB_ARTIFACT_BLOCKFORMAT_H

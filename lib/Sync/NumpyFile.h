// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LIB_SYNC_NUMPYFILE_H
#define CAAT_LIB_SYNC_NUMPYFILE_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"

namespace caat {

/// The elements of a .npy file that holds a one-dimensional array of little-endian 32- or 64-bit integers.
llvm::Expected<llvm::SmallVector<int64_t>> parseNumpyInts(llvm::StringRef content);

} // namespace caat

#endif // CAAT_LIB_SYNC_NUMPYFILE_H

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_TOOLS_ALLOCATOR_H
#define CAAT_TOOLS_ALLOCATOR_H

namespace caat {

/// Makes the process allocate with mimalloc, in large pages: a graph of 100,000 nodes is millions of small objects, and
/// libc's allocator and its pages took a quarter of the time. To be called first in main. Nothing under sanitizers,
/// which have an allocator of their own.
void useLargePages();

} // namespace caat

#endif // CAAT_TOOLS_ALLOCATOR_H

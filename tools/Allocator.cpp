// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Allocator.h"

#ifdef CAAT_HAVE_MIMALLOC
#include <mimalloc.h>

// The library, linked before libc, replaces malloc and operator new.
void caat::useLargePages() { mi_option_enable(mi_option_large_os_pages); }
#else
void caat::useLargePages() {}
#endif

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// CAAT_WIDEST before a function of plain loops: compiled for several processors, the best is chosen when the program
// starts. The runtime itself is built for the oldest. Pointers and counts only: clang does not instantiate templates
// that nothing but such a function uses.
#ifndef CAAT_RUNTIME_CORE_MULTIVERSION_H
#define CAAT_RUNTIME_CORE_MULTIVERSION_H

#if defined(__x86_64__) && defined(__clang__)
#if !__has_feature(thread_sanitizer) && !__has_feature(address_sanitizer) // the choice runs before they are ready
#define CAAT_WIDEST __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#endif
#endif
#ifndef CAAT_WIDEST
#define CAAT_WIDEST
#endif

/// Before what CAAT_WIDEST functions of vectors call: becomes part of them.
#define CAAT_INLINED static inline __attribute__((always_inline))

#endif

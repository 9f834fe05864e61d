/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The boundary between compiled code and the runtime, in plain C. An artifact's code.so exports
 *
 *   int64_t caat_workspace_bytes(const int64_t *dims);
 *   void    caat_forward(const void *const *api, void *ctx, void *const *buffers, const int64_t *dims, void
 * *workspace); void    KERNEL(int64_t begin, int64_t end, void *const *buffers, const int64_t *dims);      for each
 * kernel
 *
 * It has no writable globals and is re-entrant: every rank thread calls caat_forward once per step. `buffers` are the
 * program's inputs, caches, outputs and parameters, in the manifest's order, all dense and row-major; a cache is
 * [batch, heads, max_length, head_dim] in place. `dims` are the values of the manifest's "dims". `workspace` has the
 * bytes that caat_workspace_bytes asked for, aligned to 64. */
#ifndef CAAT_RUNTIME_ABI_H
#define CAAT_RUNTIME_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Element types, as numbers that compiled code passes. */
enum caat_dtype {
  CAAT_F32 = 0,
  CAAT_BF16 = 1,
  CAAT_F16 = 2,
  CAAT_I64 = 3,
  CAAT_I32 = 4,
  CAAT_I8 = 5,
  CAAT_BOOL = 6,
  CAAT_F64 = 7,
  CAAT_UI8 = 8,
  CAAT_I16 = 9,
  CAAT_UI16 = 10,
  CAAT_UI32 = 11,
  CAAT_UI64 = 12
};

/* What a product does to each element last, as numbers that compiled code passes. */
enum caat_activation {
  CAAT_UNCHANGED = 0,
  CAAT_RELU = 1,      /* max(x, 0) */
  CAAT_GELU = 2,      /* x / 2 * (1 + erf(x / sqrt(2))) */
  CAAT_GELU_TANH = 3, /* x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) */
  CAAT_SWISH = 4      /* x / (1 + exp(-alpha * x)) */
};

/* Which half of a weight's columns is the gate of a gated product; the other half is what it is multiplied with. */
enum caat_gate { CAAT_UNGATED = 0, CAAT_GATE_FIRST = 1, CAAT_GATE_SECOND = 2 };

/* CAAT_API_name = position in the api table. */
enum caat_api_index {
#define CAAT_ENTRYPOINT(INDEX, NAME, RESULT, ...) CAAT_API_##NAME,
#include "caat/runtime/Entrypoints.def"
  CAAT_API_COUNT
};

/* caat_api_name_fn = type of the function there. */
#define Void void
#define Ptr void *
#define I64 int64_t
#define F32 float
#define F64 double
#define CAAT_ENTRYPOINT(INDEX, NAME, RESULT, ...) typedef RESULT (*caat_api_##NAME##_fn)(__VA_ARGS__);
#include "caat/runtime/Entrypoints.def"
#undef Void
#undef Ptr
#undef I64
#undef F32
#undef F64

#ifdef __cplusplus
#define CAAT_STATIC_ASSERT static_assert
#else
#define CAAT_STATIC_ASSERT _Static_assert
#endif
#define CAAT_ENTRYPOINT(INDEX, NAME, RESULT, ...)                                                                      \
  CAAT_STATIC_ASSERT(CAAT_API_##NAME == INDEX, #NAME " is not at its index in Entrypoints.def");
#include "caat/runtime/Entrypoints.def"

typedef int64_t (*caat_workspace_bytes_fn)(const int64_t *dims);
typedef void (*caat_forward_fn)(const void *const *api, void *ctx, void *const *buffers, const int64_t *dims,
                                void *workspace);
typedef void (*caat_kernel_fn)(int64_t begin, int64_t end, void *const *buffers, const int64_t *dims);

#ifdef __cplusplus
}
#endif

#endif /* CAAT_RUNTIME_ABI_H */

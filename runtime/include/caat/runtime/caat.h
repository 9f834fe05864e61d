/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The C interface: load an artifact, run it, read the results. docs/c-interface.md has a whole program.
 *
 * No function throws or ends the process. A model is used by one thread at a time; different models by any threads. */
#ifndef CAAT_RUNTIME_CAAT_H
#define CAAT_RUNTIME_CAAT_H

#include "caat/runtime/Abi.h"
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum caat_status {
  CAAT_OK = 0,
  CAAT_ERROR_INPUT = 1,    /* arguments or arrays do not fit the program */
  CAAT_ERROR_ARTIFACT = 2, /* a file is missing, damaged or of another version */
  CAAT_ERROR_RUN = 3       /* the run failed: a check of the program, a timeout, no memory */
} caat_status;

typedef struct caat_model caat_model;
typedef struct caat_result caat_result;

/* How a model is loaded. Later versions add fields at the end, and `struct_size` says which the caller knows: fields
 * that a smaller one leaves out have their defaults, and what a larger one adds must be 0 for a library that does not
 * know it. So declare it as
 *
 *   caat_options options = CAAT_OPTIONS_INIT;
 *
 * and then set what is not to be the default. */
typedef struct caat_options {
  size_t struct_size;       /* sizeof(caat_options), from CAAT_OPTIONS_INIT */
  int64_t timeout_ms;       /* of a collective; 0: 30000 */
  int32_t threads_per_rank; /* 0: 1 */
  int32_t device_count;     /* numbers in `devices`; 0: the first GPU for all ranks */
  const int32_t *devices;   /* GPUs by number, for a program that is compiled for some: rank r runs on
                               devices[r % device_count]. What a program is compiled for, CPU or GPU, is fixed */
} caat_options;

#define CAAT_OPTIONS_INIT {sizeof(caat_options), 0, 0, 0, NULL}

/* A dense row-major array. Who owns what the pointers point to is said where it is used. */
typedef struct caat_tensor {
  const char *name;
  int32_t dtype; /* enum caat_dtype */
  int32_t rank;  /* number of dimensions */
  const int64_t *shape;
  const void *data;
} caat_tensor;

/* Text of the last error of the calling thread, "" where there was none. Owned by the library, valid until this
 * thread's next call of a function that returns caat_status. Never NULL. */
const char *caat_error_text(void);

/* Loads an artifact directory, whose code then runs in this process: load only what you trust. `directory` and
 * `options` (may be NULL) are read during the call only. On success the caller owns *model and gives it to
 * caat_model_destroy; else *model is NULL. */
caat_status caat_model_load(const char *directory, const caat_options *options, caat_model **model);

/* Ends the ranks and frees the model; NULL is allowed. Results stay valid. */
void caat_model_destroy(caat_model *model);

/* Runs the program once. `inputs` are `count` arrays by the program's names, in any order; past caches may be left out
 * (empty). Names, shapes and data are read during the call only and stay the caller's. On success the caller owns
 * *result and gives it to caat_result_destroy; else *result is NULL. After an error the model can be used again. */
caat_status caat_model_run(caat_model *model, const caat_tensor *inputs, size_t count, caat_result **result);

/* A session keeps what the model has computed of the tokens so far, its caches, for the steps to come. A model has one
 * at a time, for programs that read tokens: with the input input_ids and, beside it and the caches, attention_mask,
 * position_ids and cache_position at most. caat_model_run ends it. */

/* Begins a session, or begins it anew: forgets all tokens, and makes room for `capacity` of them in each sequence.
 * CAAT_ERROR_INPUT where the program was compiled for fewer (max-length). */
caat_status caat_model_start(caat_model *model, int64_t capacity);

/* Feeds the session's next tokens [batch, count], dense and row-major, the same batch in all steps; they are read
 * during the call only. The result has one array, by the name of the program's output of logits: those of each
 * sequence's last token, f32 [batch, vocabulary]. On success the caller owns *result and gives it to
 * caat_result_destroy; else *result is NULL and the session has the tokens that it had before. */
caat_status caat_model_step(caat_model *model, const int64_t *tokens, int64_t batch, int64_t count,
                            caat_result **result);

/* Number of arrays of a result. */
size_t caat_result_count(const caat_result *result);

/* Array `index` of a result, ordered by name. All pointers in *tensor are owned by the result. */
caat_status caat_result_get(const caat_result *result, size_t index, caat_tensor *tensor);

/* Array of this name; CAAT_ERROR_INPUT where there is none. All pointers in *tensor are owned by the result. */
caat_status caat_result_find(const caat_result *result, const char *name, caat_tensor *tensor);

/* Frees a result; NULL is allowed. */
void caat_result_destroy(caat_result *result);

#ifdef __cplusplus
}
#endif

#endif /* CAAT_RUNTIME_CAAT_H */

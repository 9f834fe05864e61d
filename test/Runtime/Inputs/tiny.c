/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* A language model small enough to write by hand, as compiled code would be for TP ranks. Its mathematics is in
 * TinyModel.h, which computes the same on one device.
 *
 * dims: batch, seq, past, max_length.  buffers: input_ids, attention_mask, cache, logits, embed, mix, head.
 * With NO_CACHE, dims: batch, seq.  buffers: input_ids, attention_mask, logits, embed, mix, head. */
#include "caat/runtime/Abi.h"

#ifdef NO_CACHE
enum { BUFFER_IDS, BUFFER_MASK, BUFFER_LOGITS, BUFFER_EMBED };
#else
enum { BUFFER_IDS, BUFFER_MASK, BUFFER_CACHE, BUFFER_LOGITS, BUFFER_EMBED };
#endif

enum { VOCABULARY = 13, HIDDEN = 12, LOCAL = HIDDEN / TP, ROWS = (VOCABULARY + TP - 1) / TP };
enum { KERNEL_EMBED, KERNEL_ADD, KERNEL_APPEND };
enum { COLLECTIVE_EMBED, COLLECTIVE_MIX, COLLECTIVE_HEADS };
enum { PARAMETER_EMBED, PARAMETER_MIX, PARAMETER_HEAD };

#define CALL(NAME) ((caat_api_##NAME##_fn)api[CAAT_API_##NAME])

int64_t caat_workspace_bytes(const int64_t *dims) { return dims[0] * dims[1] * (3 * HIDDEN + 2 * LOCAL) * 4; }

/* buffers: ids, embed, x, rank */
void tiny_embed(int64_t begin, int64_t end, void *const *buffers, const int64_t *dims) {
  const int64_t *ids = buffers[0];
  const float *embed = buffers[1];
  float *x = buffers[2];
  int64_t first = dims[4] * ROWS;
  for (int64_t row = begin; row < end; ++row)
    for (int64_t c = 0; c < HIDDEN; ++c) {
      int64_t id = ids[row] - first;
      x[row * HIDDEN + c] = id >= 0 && id < ROWS ? embed[id * HIDDEN + c] : 0.0f;
    }
}

/* buffers: x, y; x += y */
void tiny_add(int64_t begin, int64_t end, void *const *buffers, const int64_t *dims) {
  float *x = buffers[0];
  const float *y = buffers[1];
  (void)dims;
  for (int64_t i = begin * HIDDEN; i < end * HIDDEN; ++i)
    x[i] += y[i];
}

/* buffers: x, cache, sums; rows of the grid are batch entries */
void tiny_append(int64_t begin, int64_t end, void *const *buffers, const int64_t *dims) {
  int64_t seq = dims[1], past = dims[2], room = dims[3], rank = dims[4];
  for (int64_t b = begin; b < end; ++b) {
    const float *x = (const float *)buffers[0] + b * seq * HIDDEN;
    float *cache = (float *)buffers[1] + b * room * LOCAL;
    float *sums = (float *)buffers[2] + b * seq * LOCAL;
    for (int64_t s = 0; s < seq; ++s)
      for (int64_t c = 0; c < LOCAL; ++c) {
        cache[(past + s) * LOCAL + c] = x[s * HIDDEN + rank * LOCAL + c];
        float sum = 0.0f;
        for (int64_t t = 0; t <= past + s; ++t)
          sum += cache[t * LOCAL + c];
        sums[s * LOCAL + c] = sum;
      }
  }
}

void caat_forward(const void *const *api, void *ctx, void *const *buffers, const int64_t *dims, void *workspace) {
  int64_t rows = dims[0] * dims[1];
  float *x = workspace, *y = x + rows * HIDDEN, *sums = y + rows * HIDDEN, *gathered = sums + rows * LOCAL;
#ifdef NO_CACHE
  int64_t past = 0, room = dims[1];
  float *cache = gathered + rows * HIDDEN;
#else
  int64_t past = dims[2], room = dims[3];
  float *cache = buffers[BUFFER_CACHE];
#endif
  int64_t d[5] = {dims[0], dims[1], past, room, CALL(rank)(ctx)};

  CALL(check)(ctx, CALL(load_element)(ctx, buffers[BUFFER_IDS], CAAT_I64) != 12, 0);
  CALL(check_later)(ctx, buffers[BUFFER_MASK], 1); // the lowest byte
  void *embed[] = {buffers[BUFFER_IDS], buffers[BUFFER_EMBED], x};
  CALL(launch)(ctx, KERNEL_EMBED, rows, embed, 3, d, 5);
  CALL(all_reduce)(ctx, COLLECTIVE_EMBED, x, rows * HIDDEN);
  CALL(linear)(ctx, PARAMETER_MIX, x, rows, y, 0);
  CALL(all_reduce)(ctx, COLLECTIVE_MIX, y, rows * HIDDEN);
  void *add[] = {x, y};
  CALL(launch)(ctx, KERNEL_ADD, rows, add, 2, d, 5);
  void *append[] = {x, cache, sums};
  CALL(launch)(ctx, KERNEL_APPEND, dims[0], append, 3, d, 5);
  CALL(all_gather)(ctx, COLLECTIVE_HEADS, sums, gathered, rows, LOCAL);
  void *scatter[] = {x, gathered};
  CALL(launch)(ctx, KERNEL_ADD, rows, scatter, 2, d, 5);
  int64_t unread = CALL(unread_tokens)(ctx, dims[1]), read = dims[1] - unread;
  float *logits = buffers[BUFFER_LOGITS];
  if (unread == 0) {
    CALL(linear)(ctx, PARAMETER_HEAD, x, rows, logits, 0);
    return;
  }
  for (int64_t first = unread; first < rows; first += dims[1])
    CALL(linear)(ctx, PARAMETER_HEAD, x + first * HIDDEN, read, logits + first * ROWS, 0);
}

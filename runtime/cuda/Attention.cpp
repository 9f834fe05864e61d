// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Attention: chooses the kernel and brings keys and values to the form that it reads.
#include "Attention.h"
#include "CudaDevice.h"
#include "caat/runtime/Error.h"

namespace caat::runtime::cuda {

/// Keys or values.
struct CudaDevice::HeadRows {
  const void *data;
  int64_t batch, head, token, size; // strides in elements
};

namespace {

constexpr int sizes[] = {
#define CAAT_SIZE(SIZE) SIZE,
    CAAT_ATTENTION_SIZES(CAAT_SIZE)
#undef CAAT_SIZE
};

int64_t padded(int64_t size) { return (size + 7) / 8 * 8; }

/// Tokens [first, first + count). Not all of them: of causal attention, of which the tokens are the last keys.
Attention partOf(const Attention &a, int64_t first, int64_t count) {
  if (count == a.tokens)
    return a;
  Attention part = a;
  part.query =
      static_cast<const std::byte *>(a.query) + static_cast<size_t>(first * a.queryToken) * sizeOf(a.queryType);
  part.out = static_cast<std::byte *>(a.out) + static_cast<size_t>(first * a.outToken) * sizeOf(a.outType);
  part.tokens = count;
  part.past = a.past + first;
  part.total = part.past + count;
  return part;
}

/// Whether all rows begin at a multiple of `bytes`.
bool isAligned(const void *data, size_t elementSize, std::initializer_list<int64_t> strides, uint64_t bytes) {
  uint64_t all = addressOf(data);
  for (int64_t stride : strides)
    all |= static_cast<uint64_t>(stride) * elementSize;
  return all % bytes == 0;
}

} // namespace

/// As the kernel's copies want them: 16 bits, in multiples of 16 bytes. Others are written to `to`.
CudaDevice::HeadRows CudaDevice::narrow(const HeadRows &rows, DType type, DType via, const Attention &a,
                                        std::byte *to) {
  if (!to)
    return rows;
  auto *target = reinterpret_cast<unsigned short *>(to);
  NarrowArguments arguments{rows.data,         target,     a.batch,   a.kvHeads, a.total, rows.size,
                            padded(rows.size), rows.batch, rows.head, rows.token};
  int64_t token = arguments.padded, head = token * a.total;
  const char *kernel = type == via ? "caat_narrow_copy" : via == DType::BF16 ? "caat_narrow_bf16" : "caat_narrow_f16";
  launchOwn(kernel, blocksFor(a.batch * a.kvHeads * a.total * (token / 8)), arguments);
  return {target, head * a.kvHeads, head, token, rows.size};
}

void CudaDevice::attention(const Attention &a) {
  const int *size = std::find_if(std::begin(sizes), std::end(sizes),
                                 [&](int known) { return known >= std::max(a.size, a.valueSize); });
  if (size == std::end(sizes))
    failRun("attention with heads of ", std::max(a.size, a.valueSize), " elements: the largest are ",
            sizes[std::size(sizes) - 1]);
  for (DType type : {a.queryType, a.keyType, a.outType})
    if (type != a.via && type != DType::F32)
      failRun("attention in ", nameOf(a.via), " with elements of ", nameOf(type));
  bool few = attendsFew && FewTokensShape::suits(a.tokens * (a.heads / a.kvHeads), a.batch * a.kvHeads, *size);
  if (few)
    return attendOwn(a, *size, true);
  int64_t step = fused.tokensOfPiece(a), done = 0; // done: tokens
  for (int64_t first = 0, count = step; first < a.tokens; first += count) {
    if (a.tokens - first < step + step / 4) // a small rest has too few blocks to be computed alone
      count = a.tokens - first;
    Attention piece = partOf(a, first, count);
    FusedAttention::Choice choice = fused.choose(piece, stream_);
    if (!choice.plan || !attendFused(piece, choice, *size))
      continue;
    if (first > done)
      attendOwn(partOf(a, done, first - done), *size, false);
    done = first + count;
  }
  if (done < a.tokens)
    attendOwn(partOf(a, done, a.tokens - done), *size, false);
}

void CudaDevice::attendOwn(const Attention &a, int size, bool few) {
  HeadRows keys{a.keys, a.keyBatch, a.keyHead, a.keyToken, a.size};
  HeadRows values{a.values, a.valueBatch, a.valueHead, a.valueToken, a.valueSize};
  auto needs = [&](const HeadRows &rows) -> int64_t {
    bool fits =
        a.keyType == a.via && rows.size % 8 == 0 && isAligned(rows.data, 2, {rows.batch, rows.head, rows.token}, 16);
    return fits ? 0 : a.batch * a.kvHeads * a.total * padded(rows.size) * 2;
  };
  int64_t keyBytes = needs(keys), valueBytes = needs(values);
  if (keyBytes + valueBytes > 0) {
    std::byte *to = narrowed.reserve(*this, static_cast<size_t>(keyBytes + valueBytes), "keys and values in 16 bits");
    keys = narrow(keys, a.keyType, a.via, a, keyBytes ? to : nullptr);
    values = narrow(values, a.keyType, a.via, a, valueBytes ? to + keyBytes : nullptr);
  }

  bool queryIsF32 = a.queryType == DType::F32, outIsF32 = a.outType == DType::F32;
  auto narrowInt = [](int64_t x) { return static_cast<int>(std::clamp<int64_t>(x, -1, INT32_MAX / 4)); };
  AttentionArguments arguments{
      a.query,
      keys.data,
      values.data,
      a.mask,
      a.lengths,
      a.out,
      a.queryBatch,
      a.queryToken,
      a.queryHead,
      keys.batch,
      keys.head,
      keys.token,
      values.batch,
      values.head,
      values.token,
      a.maskBatch,
      a.maskHead,
      a.maskToken,
      a.maskKey,
      a.outBatch,
      a.outToken,
      a.outHead,
      narrowInt(a.batch),
      narrowInt(a.tokens),
      narrowInt(a.total),
      narrowInt(a.past),
      narrowInt(a.kvHeads),
      narrowInt(a.heads / a.kvHeads),
      narrowInt(a.size),
      narrowInt(a.valueSize),
      narrowInt(a.left),
      narrowInt(a.right),
      a.causal,
      a.appendsByRow,
      queryIsF32,
      outIsF32,
      a.lengthType == DType::I64,
      isAligned(a.query, sizeOf(a.queryType), {a.queryBatch, a.queryToken, a.queryHead}, 16),
      isAligned(a.out, sizeOf(a.outType), {a.outBatch, a.outToken, a.outHead}, 2 * sizeOf(a.outType)),
      a.scale,
      a.softcap,
  };
  if (few)
    return attendFew(arguments, a.via, size);
  AttentionShape shape(size);
  int64_t rows = a.tokens * (a.heads / a.kvHeads);
  int64_t blocks = (rows + shape.rows() - 1) / shape.rows() * a.batch * a.kvHeads;
  if (blocks > INT32_MAX)
    failRun("attention of ", a.batch, " times ", a.tokens, " tokens: too many");
  Step step = queue.newStep();
  step.name = "attention";
  step.function = context->attention(false, a.via == DType::BF16, size);
  step.blocks = static_cast<unsigned>(blocks);
  step.threads = attentionThreads;
  step.shared = static_cast<unsigned>(shape.sharedBytes(size));
  step.addParameter(&arguments, sizeof arguments);
  queue.add(std::move(step));
}

/// False where the library is not to be used.
bool CudaDevice::attendFused(const Attention &a, const FusedAttention::Choice &choice, int size) {
  std::byte *workspace = nullptr;
  if (size_t bytes = choice.plan->workspaceBytes())
    workspace = fusedWorkspace.reserve(*this, bytes, "the workspace of cuDNN");
  FusedCall call{choice.plan, a.query, a.keys, a.values, a.out, workspace, a.scale};
  if (choice.isNew) {
    std::string problem = compareFused(a, call, size);
    fused.compared(a, problem);
    if (progress && !problem.empty())
      progress("attention of " + std::to_string(a.tokens) + " tokens goes on without cuDNN: " + problem);
    return problem.empty();
  }
  Step step;
  step.kind = Step::Kind::Fused;
  step.name = "attention";
  step.fused = std::move(call);
  queue.add(std::move(step));
  return true;
}

/// Calls it, and compares the result with that of the own kernel. What is wrong, if anything. None of it becomes part
/// of a graph, so that ranks of which one finds something wrong have the same graphs.
std::string CudaDevice::compareFused(const Attention &a, const FusedCall &call, int size) {
  constexpr double tolerance = 0.02; // of the largest value; both round weights and results to 16 bits
  CUstream work = stream();
  try {
    constexpr size_t line = 256;
    int64_t extent = (a.batch - 1) * a.outBatch + (a.tokens - 1) * a.outToken + (a.heads - 1) * a.outHead + a.valueSize;
    std::shared_ptr<std::byte> memory =
        context->allocate(line + static_cast<size_t>(extent) * 2, "attention to be compared");
    driver().check(driver().cuMemsetD8Async(addressOf(memory.get()), 0, line, work), "a comparison");
    Attention own = a;
    own.out = memory.get() + line;
    attendOwn(own, size, false);
    stream();
    call.run();
    float found[2] = {};
    launchOwn(a.outType == DType::BF16 ? "caat_compare_bf16" : "caat_compare_f16",
              blocksFor(a.batch * a.tokens * a.heads * a.valueSize),
              CompareArguments{static_cast<const unsigned short *>(own.out), static_cast<const unsigned short *>(a.out),
                               reinterpret_cast<unsigned *>(memory.get()), a.batch, a.tokens, a.heads, a.valueSize,
                               a.outBatch, a.outToken, a.outHead});
    download(found, memory.get(), sizeof found);
    if (found[0] <= tolerance * found[1])
      return "";
    return detail::concat("it differs by ", found[0], " from the runtime's own kernel, whose largest value is ",
                          found[1]);
  } catch (const Error &error) {
    return error.what();
  }
}

void CudaDevice::attendFew(const AttentionArguments &a, DType via, int size) {
  int rows = a.tokens * a.group;
  int64_t tiles = int64_t{FewTokensShape::tiles(rows)} * a.batch * a.kvHeads, span = a.total;
  if (a.left >= 0 && (a.causal || a.right >= 0))
    span = std::min<int64_t>(span, int64_t{a.left} + a.tokens + std::max(a.right, 0));
  FewTokensArguments arguments{a, nullptr, nullptr, nullptr, FewTokensShape::splits(tiles, rows, span, size)};
  if (tiles * arguments.splits > INT32_MAX)
    failRun("attention of ", a.batch, " times ", a.tokens, " tokens: too many");
  if (arguments.splits > 1) {
    // As much as any number of keys takes, so that it stays where it is while they become more.
    int64_t parts = tiles * FewTokensShape::splits(tiles, rows, INT32_MAX, size) * std::min(rows, FewTokensShape::rows);
    auto bytes = static_cast<size_t>(parts) * static_cast<size_t>(size + 2) * sizeof(float);
    arguments.parts = reinterpret_cast<float *>(attentionParts.reserve(*this, bytes, "parts of attention"));
    arguments.tops = arguments.parts + parts * size;
    arguments.arrived = reinterpret_cast<unsigned *>(
        attentionArrivals.reserve(*this, static_cast<size_t>(tiles) * sizeof(unsigned), "counters of attention"));
  }
  Step step = queue.newStep();
  step.name = "attention";
  step.function = context->attention(true, via == DType::BF16, size);
  step.blocks = static_cast<unsigned>(tiles * arguments.splits);
  step.threads = attentionThreads;
  step.shared = static_cast<unsigned>(FewTokensShape(size).sharedBytes(size));
  step.isDependent = true;
  step.addParameter(&arguments, sizeof arguments);
  queue.add(std::move(step));
}

} // namespace caat::runtime::cuda

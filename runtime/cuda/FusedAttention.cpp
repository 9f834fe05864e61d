// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "FusedAttention.h"
#include "PeerMemory.h"
#include "caat/runtime/Environment.h"
#include "caat/runtime/Error.h"
#include <algorithm>

namespace caat::runtime::cuda {

/// Operations of a call below which the runtime's own kernel is as good: half of 512 tokens of 32 heads of 128.
constexpr double fewestOperations = 2e9;
/// Operations of one shape that win a plan's time back. It takes 0.3 to 1.5 s, by the library's version; per operation,
/// 1 / 305 - 1 / 416 ps are won of 2048 tokens on an H100, 1 / 387 - 1 / 613 of 8192.
constexpr double worthOfPlan = 5e14;
/// Of so many the library has most of its speed on an H100: 416 TFLOP/s of 2048, 613 of 8192.
constexpr int64_t pieceTokens = 2048;
/// Shapes that are remembered, with their plans.
constexpr size_t mostShapes = 256;

FusedAttention::FusedAttention() {
  const char *library = environment::text("CAAT_CUDNN");
  isOff = library && (std::string_view(library) == "off" || std::string_view(library) == "0");
  after = environment::number("CAAT_CUDNN_AFTER", 0, {.least = 1});
  piece = environment::number("CAAT_CUDNN_TOKENS", pieceTokens, {.least = 1});
  reason = isOff ? "CAAT_CUDNN=off" : "";
  // A plan's code is loaded in the middle of a run, for which the driver may wait for the device: for the kernels of
  // other ranks there that wait for this one.
  if (joinsLocalRanks()) {
    isOff = true;
    reason = "CAAT_CUDA_LOCAL_PEERS=1";
  }
}

int64_t FusedAttention::tokensOfPiece(const Attention &a) const {
  bool hasPieces = !isOff && a.causal && !a.mask && !a.lengths && a.past + a.tokens == a.total;
  return hasPieces ? std::min(piece, a.tokens) : a.tokens;
}

/// In place of the one that was not used for longest, where there are many.
FusedAttention::Entry &FusedAttention::entryFor(const FusedShape &shape) {
  auto at = entries.find(shape);
  if (at == entries.end()) {
    if (entries.size() >= mostShapes)
      entries.erase(std::ranges::min_element(entries, {}, [](const auto &entry) { return entry.second.used; }));
    at = entries.emplace(shape, Entry()).first;
  }
  at->second.used = ++time;
  return at->second;
}

bool FusedAttention::isWorthPlan(const Entry &entry) const {
  return after > 0 ? entry.calls >= after : entry.asked >= worthOfPlan;
}

FusedAttention::Choice FusedAttention::choose(const Attention &attention, CUstream stream) {
  std::optional<FusedShape> shape;
  if (!isOff)
    shape = fusedShapeOf(attention);
  ++own;
  if (!shape || (after == 0 && shape->operations() < fewestOperations))
    return {};
  Entry &entry = entryFor(*shape);
  entry.asked += shape->operations();
  ++entry.calls;
  if (entry.isRefused)
    return {};
  if (!entry.plan) {
    if (!isWorthPlan(entry)) {
      reason = reason.empty() ? "no shape was asked for often enough to make a plan of cuDNN's" : reason;
      return {};
    }
    try {
      if (!target)
        target = std::make_shared<CudnnTarget>(std::make_shared<Cudnn>(), stream);
      entry.plan = std::make_shared<FusedPlan>(target, *shape);
    } catch (const Error &error) {
      entry.isRefused = true;
      isOff = !target;
      reason = error.what();
      return {};
    }
  }
  --own;
  ++fused;
  return {entry.plan, !entry.isProven};
}

void FusedAttention::compared(const Attention &attention, const std::string &problem) {
  Entry &entry = entryFor(*fusedShapeOf(attention));
  entry.isProven = problem.empty();
  if (entry.isProven)
    return;
  entry.isRefused = true;
  entry.plan = nullptr;
  reason = problem;
  --fused;
  ++own;
}

std::string FusedAttention::info() const {
  if (own + fused == 0)
    return "";
  std::string text;
  if (fused > 0)
    text = detail::concat("cuDNN ", target->library->version(), " (", fused, " calls)");
  if (own > 0)
    text += detail::concat(fused > 0 ? ", " : "", "own kernels (", own, " calls)",
                           fused > 0 || reason.empty() ? "" : ": " + reason);
  std::ranges::replace(text, '\n', ' ');
  return text;
}

} // namespace caat::runtime::cuda

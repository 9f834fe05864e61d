// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Linear.h"
#include "../core/Multiversion.h"
#include "DnnlProducts.h"
#include "Epilogues.h"
#include "Panels.h"
#include "caat/runtime/Bf16.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <utility>

namespace caat::runtime {

namespace {

using Type = DnnlProducts::Type;
using Layout = DnnlProducts::Layout;
using Tag = dnnl::memory::format_tag;

/// Up to how many bytes of floats all panels of a weight are dequantized at once. Larger ones are multiplied in parts,
/// which like their results stay in a core's own cache.
constexpr int64_t wholeBytes = 16 << 20, partBytes = 1 << 20;

constexpr size_t align(size_t bytes) { return (bytes + 63) / 64 * 64; }

struct Weight {
  int64_t k, n;
  Type type;               // of the product
  Layout stored, layout;   // as the file has it, as the product reads it
  const std::byte *source; // in `stored`
  const std::byte *data;   // in `layout` after pack()
  bool travels, roundsX;
  size_t layoutId = 0;
  std::optional<Panels::Kind> kind = {}; // where `data` lies in panels

  // Where `source` has blocks; `stored` is their values then. `data` may have them as well:
  std::optional<BlockFormat> blocks = {};
  int64_t chunk = 0;       // panels of blocks that are dequantized at once, to `layout`
  bool asRows = false;     // which are rows of all columns then, not panels
  size_t lastLayoutId = 0; // of the last ones, which may be fewer
  bool inPanels() const { return kind == Panels::Kind::Blocks; }

  bool stays() const { return layout == stored && !blocks; }
  size_t bytes() const {
    return inPanels() ? static_cast<size_t>(panelsOf(n) * blockPanelBytes(*blocks, k)) : layout.get_size();
  }
  Panels panels() const { return {*kind, k, n, blocks.value_or(BlockFormat()), data}; }
};

CAAT_WIDEST void roundTo(const float *x, uint16_t *y, size_t count) {
  for (size_t i = 0; i < count; ++i)
    y[i] = floatToBf16(x[i]);
}

CAAT_WIDEST void roundInFp32(const float *x, float *y, size_t count) {
  for (size_t i = 0; i < count; ++i)
    y[i] = bf16ToFloat(floatToBf16(x[i]));
}

void copyRows(const float *from, int64_t fromStride, float *to, int64_t toStride, int64_t rows, int64_t columns) {
  for (int64_t row = 0; row < rows; ++row)
    std::copy_n(from + row * fromStride, columns, to + row * toStride);
}

} // namespace

struct Linears::State {
  int threads;
  DnnlProducts products;
  std::vector<Weight> weights;
  LargeBuffer arena, dense;                    // the weights', of dequantized panels
  std::pair<const void *, int64_t> densePlace; // of which weight, from which panel on
  std::vector<float> rounded, part;            // x, columns of y

  size_t add(const ParameterSpec &spec, const std::byte *data, bool travels);
  void chooseLayout(Weight &weight);
  bool choosePanelsOfBlocks(Weight &weight);
  void copy(const Weight &weight, std::byte *to);

  bool isFew(const Weight &weight, int64_t m) const { return weight.kind && m <= fewRows(*weight.kind); }
  void runFewRows(const Weight &weight, const float *x, int64_t m, float *y, bool accumulate, const Epilogue &epilogue);
  void runBlocks(const Weight &weight, const void *x, int64_t m, float *y, bool accumulate, const Epilogue &epilogue);
};

Linears::Linears(int threads) : state(std::make_unique<State>()) { state->threads = threads; }
Linears::~Linears() = default;

size_t Linears::State::add(const ParameterSpec &spec, const std::byte *data, bool travels) {
  // f16 is only how a weight is stored: it is widened where it is packed.
  Type type = spec.dtype == DType::BF16 ? Type::bf16 : Type::f32;
  Type storedType = spec.blocks ? Type::f32 : spec.dtype == DType::F16 ? Type::f16 : type;
  Layout stored({spec.k(), spec.n()}, storedType, spec.transposed ? Tag::ba : Tag::ab);
  weights.push_back({.k = spec.k(),
                     .n = spec.n(),
                     .type = type,
                     .stored = stored,
                     .layout = stored,
                     .source = data,
                     .data = data,
                     .travels = travels,
                     .roundsX = type == Type::bf16,
                     .blocks = spec.blocks});
  return weights.size() - 1;
}

size_t Linears::add(const ParameterSpec &spec, const std::byte *data) { return state->add(spec, data, false); }

size_t Linears::addTravelling(const ParameterSpec &spec, const std::byte *data) { return state->add(spec, data, true); }

/// Dequantized panels side by side: oneDNN's own ones, or rows of all their columns.
static Layout chunkOf(const Weight &weight, int64_t columns) {
  if (weight.asRows)
    return {{weight.k, columns}, weight.type, dnnl::memory::dims{weight.chunk * panelColumns, 1}};
  return {{weight.k, columns}, weight.type, weight.type == Type::bf16 ? Tag::BA16a64b2a : Tag::BA16a64b};
}

bool Linears::State::choosePanelsOfBlocks(Weight &weight) {
  for (auto [type, asRows] : {std::pair(weight.type, false), {Type::f32, false}, {Type::f32, true}}) {
    weight.type = type;
    weight.asRows = asRows;
    int64_t panelBytes = weight.k * panelColumns * (type == Type::bf16 ? 2 : 4);
    int64_t all = panelsOf(weight.n);
    weight.chunk = all * panelBytes <= wholeBytes ? all : std::max<int64_t>(partBytes / panelBytes, 1);
    weight.layout = chunkOf(weight, std::min(weight.n, weight.chunk * panelColumns));
    if (!products.isFast(weight.layout))
      continue;
    weight.lastLayoutId =
        products.idOf(chunkOf(weight, weight.n - (all - 1) / weight.chunk * weight.chunk * panelColumns));
    weight.kind = Panels::Kind::Blocks;
    return true;
  }
  return false;
}

void Linears::State::chooseLayout(Weight &weight) {
  if (weight.blocks && choosePanelsOfBlocks(weight))
    return;
  auto layout = products.fastest(weight.k, weight.n, weight.type);
  if (!layout) { // this processor has no bf16 product: in fp32 on the same (already rounded) weight
    weight.type = Type::f32;
    layout = products.fastest(weight.k, weight.n, weight.type);
  }
  if (!layout)
    failRun("oneDNN has no fast product with a weight [", weight.k, ", ", weight.n, "]");
  weight.layout = *layout;
  if (weight.layout == Layout({weight.k, weight.n}, weight.type, Tag::BA16a64b))
    weight.kind = Panels::Kind::F32;
  else if (weight.layout == Layout({weight.k, weight.n}, weight.type, Tag::BA16a64b2a))
    weight.kind = Panels::Kind::BF16Pairs;
}

/// From its stored data to its layout.
void Linears::State::copy(const Weight &weight, std::byte *to) {
  if (weight.inPanels())
    return packBlocks(*weight.blocks, weight.source, weight.k, weight.n, to);
  if (!weight.blocks)
    return products.reorder(weight.stored, weight.source, weight.layout, to);
  std::vector<float> values(static_cast<size_t>(weight.n * weight.k));
  weight.blocks->dequantize(weight.source, weight.n, weight.k, values.data());
  products.reorder(weight.stored, reinterpret_cast<const std::byte *>(values.data()), weight.layout, to);
}

void Linears::pack(const std::function<void(size_t)> &packed) {
  try {
    size_t total = 0;
    for (Weight &weight : state->weights) {
      state->chooseLayout(weight);
      weight.layoutId = state->products.idOf(weight.layout);
      if (!weight.stays() && !weight.travels)
        total += align(weight.bytes());
    }
    state->arena.reserve(total);
    std::byte *to = state->arena.data();
    for (size_t i = 0; i < state->weights.size(); ++i) {
      Weight &weight = state->weights[i];
      if (weight.stays() || weight.travels)
        continue;
      state->copy(weight, to);
      weight.data = to;
      to += align(weight.bytes());
      packed(i);
    }
  } catch (const dnnl::error &e) {
    failRun("oneDNN cannot pack a weight: ", e.what());
  }
}

/// x of an even number of columns, as pairs of bf16 are read.
void Linears::State::runFewRows(const Weight &weight, const float *x, int64_t m, float *y, bool accumulate,
                                const Epilogue &epilogue) {
  int64_t stride = weight.k;
  if (weight.kind == Panels::Kind::BF16Pairs) {
    stride += weight.k % 2;
    rounded.resize(std::max(rounded.size(), static_cast<size_t>(m * stride)));
    for (int64_t row = 0; row < m; ++row) {
      float *to = rounded.data() + row * stride;
      roundInFp32(x + row * weight.k, to, static_cast<size_t>(weight.k));
      std::fill(to + weight.k, to + stride, 0.0f);
    }
    x = rounded.data();
  }
  multiplyFewRows(weight.panels(), x, m, stride, y, accumulate, threads);
  if (epilogue)
    applyEpilogue(epilogue, y, m, weight.n);
}

/// Some panels are dequantized and multiplied, then the next ones. Products of parts of the rows, as where a sum goes
/// on beside them, find the panels of the part before them.
void Linears::State::runBlocks(const Weight &weight, const void *x, int64_t m, float *y, bool accumulate,
                               const Epilogue &epilogue) {
  DensePanels to{nullptr, weight.type == Type::bf16, panelColumns, weight.k * panelColumns};
  if (to.isBf16Pairs) {
    to.rowStride *= 2;
    to.panelStride = (weight.k + 31) / 32 * 32 * panelColumns;
  } else if (weight.asRows) {
    to.rowStride = weight.chunk * panelColumns, to.panelStride = panelColumns;
  }
  int64_t size = to.isBf16Pairs ? 2 : 4, all = panelsOf(weight.n);
  dense.reserve(static_cast<size_t>(weight.chunk * (weight.k + 31) / 32 * 32 * panelColumns * size));
  to.data = dense.data();
  for (int64_t first = 0; first < all; first += weight.chunk) {
    int64_t count = std::min(weight.chunk, all - first), column = first * panelColumns;
    int64_t columns = std::min(count * panelColumns, weight.n - column);
    size_t layout = first + count == all ? weight.lastLayoutId : weight.layoutId;
    if (std::pair<const void *, int64_t> place{weight.data, first}; std::exchange(densePlace, place) != place)
      dequantize(weight.panels(), first, count, to, threads);
    if (columns == weight.n)
      return products.run(layout, x, m, dense.data(), y, accumulate, epilogue);
    part.resize(std::max(part.size(), static_cast<size_t>(m * columns)));
    if (accumulate)
      copyRows(y + column, weight.n, part.data(), columns, m, columns);
    Epilogue ofPart = epilogue;
    if (epilogue.bias)
      ofPart.bias = static_cast<const float *>(epilogue.bias) + column;
    products.run(layout, x, m, dense.data(), part.data(), accumulate, ofPart);
    copyRows(part.data(), columns, y + column, weight.n, m, columns);
  }
}

void Linears::run(size_t index, const float *x, int64_t m, float *y, bool accumulate, const Epilogue &epilogue) {
  const Weight &weight = state->weights[index];
  if (m == 0)
    return;
  if (state->isFew(weight, m))
    return state->runFewRows(weight, x, m, y, accumulate, epilogue);
  const void *source = x;
  if (weight.roundsX) { // oneDNN reads bf16; where it cannot, the rounded values go in as fp32
    size_t count = static_cast<size_t>(m * weight.k);
    state->rounded.resize(std::max(state->rounded.size(), count));
    if (weight.type == Type::f32)
      roundInFp32(x, state->rounded.data(), count);
    else
      roundTo(x, reinterpret_cast<uint16_t *>(state->rounded.data()), count);
    source = state->rounded.data();
  }
  try {
    if (weight.inPanels())
      state->runBlocks(weight, source, m, y, accumulate, epilogue);
    else
      state->products.run(weight.layoutId, source, m, weight.data, y, accumulate, epilogue);
  } catch (const dnnl::error &e) {
    failRun("oneDNN: product [", m, ", ", weight.k, "] x [", weight.k, ", ", weight.n, "]: ", e.what());
  }
}

size_t Linears::bytes(size_t weight) const { return state->weights[weight].bytes(); }

void Linears::packTo(size_t index, std::byte *to) {
  try {
    state->copy(state->weights[index], to);
  } catch (const dnnl::error &e) {
    failRun("oneDNN cannot pack a weight: ", e.what());
  }
  state->weights[index].data = to;
}

void Linears::moveTo(size_t index, const std::byte *data) { state->weights[index].data = data; }

size_t Linears::bytes() const {
  size_t total = 0;
  for (const Weight &weight : state->weights)
    total += weight.bytes();
  return total;
}

std::string Linears::implementation(size_t index, int64_t m, const Epilogue &epilogue) {
  const Weight &weight = state->weights[index];
  if (state->isFew(weight, m))
    return "panels";
  return state->products.implementation(weight.layoutId, m, Extras(false, epilogue));
}

} // namespace caat::runtime

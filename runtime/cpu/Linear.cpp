// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Linear.h"
#include "../core/Memory.h"
#include "../core/Multiversion.h"
#include "caat/runtime/Bf16.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <map>
#include <oneapi/dnnl/dnnl.hpp>
#include <tuple>

namespace caat::runtime {

namespace {

using dnnl::memory;
using Type = memory::data_type;
using Tag = memory::format_tag;

/// The layout is chosen for this many rows; measured to be as good for every other number.
constexpr int64_t layoutRows = 512;
/// A run without a cache makes a new primitive at every step: more than this many are thrown away.
constexpr size_t maxPrimitives = 512;

constexpr size_t align(size_t bytes) { return (bytes + 63) / 64 * 64; }

struct Weight {
  int64_t k, n;
  Type type;                   // of the product
  memory::desc stored, layout; // as the file has it, as the product reads it
  const std::byte *source;     // in `stored`
  const std::byte *data;       // in `layout` after pack()
  bool travels;
  std::optional<BlockFormat> blocks; // how `source` has it; `stored` are its values then
  size_t layoutId = 0;
};

/// What a primitive does besides multiplying.
struct Extras {
  bool accumulate = false, hasBias = false;
  caat_activation activation = CAAT_UNCHANGED;
  float alpha = 1;

  Extras() = default;
  Extras(bool accumulate, const Epilogue &epilogue)
      : accumulate(accumulate), hasBias(epilogue.bias), activation(epilogue.activation), alpha(epilogue.alpha) {}
  auto operator<=>(const Extras &) const = default;
};

struct Product {
  dnnl::matmul primitive;
  std::string implementation;
  memory x, w, y, scratch, bias;
  size_t scratchBytes;
};

dnnl::matmul::primitive_desc describe(const dnnl::engine &engine, int64_t m, const Weight &weight,
                                      const memory::desc &layout, const Extras &extras = {}) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user); // the default one is shared between threads
  dnnl::post_ops after;
  if (extras.accumulate)
    after.append_sum(1.0f);
  auto apply = [&](dnnl::algorithm function, float alpha) { after.append_eltwise(1.0f, function, alpha, 0.0f); };
  switch (extras.activation) {
  case CAAT_UNCHANGED:
    break;
  case CAAT_RELU:
    apply(dnnl::algorithm::eltwise_relu, 0.0f);
    break;
  case CAAT_GELU:
    apply(dnnl::algorithm::eltwise_gelu_erf, 0.0f);
    break;
  case CAAT_GELU_TANH:
    apply(dnnl::algorithm::eltwise_gelu_tanh, 0.0f);
    break;
  case CAAT_SWISH:
    apply(dnnl::algorithm::eltwise_swish, extras.alpha);
    break;
  }
  attributes.set_post_ops(after);
  memory::desc x({m, weight.k}, weight.type, Tag::ab), y({m, weight.n}, Type::f32, Tag::ab);
  if (!extras.hasBias)
    return {dnnl::matmul::desc(x, layout, y), attributes, engine};
  memory::desc bias({1, weight.n}, Type::f32, Tag::ab);
  return {dnnl::matmul::desc(x, layout, bias, y), attributes, engine};
}

bool staysWhereItIs(const Weight &weight) {
  return weight.travels || (weight.layout == weight.stored && !weight.blocks);
}

bool isReference(const dnnl::matmul::primitive_desc &description) {
  return std::string_view(description.impl_info_str()).starts_with("ref");
}

CAAT_WIDEST void roundTo(const float *x, uint16_t *y, size_t count) {
  for (size_t i = 0; i < count; ++i)
    y[i] = floatToBf16(x[i]);
}

CAAT_WIDEST void roundInFp32(const float *x, float *y, size_t count) {
  for (size_t i = 0; i < count; ++i)
    y[i] = bf16ToFloat(floatToBf16(x[i]));
}

} // namespace

struct Linears::State {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::vector<Weight> weights;
  LargeBuffer arena, scratch;
  std::vector<uint16_t> rounded;     // x as bf16
  std::vector<memory::desc> layouts; // the different ones: weights of one layout share their primitives
  std::map<std::tuple<size_t, int64_t, Extras>, Product> products; // (layout, m, extras)

  size_t add(const ParameterSpec &spec, const std::byte *data, bool travels);
  void chooseLayout(Weight &weight);
  void copy(const Weight &weight, std::byte *to);
  Product &product(const Weight &weight, int64_t m, const Extras &extras);
};

Linears::Linears() : state(std::make_unique<State>()) {}
Linears::~Linears() = default;

size_t Linears::State::add(const ParameterSpec &spec, const std::byte *data, bool travels) {
  // f16 is only how a weight is stored: it is widened where it is packed.
  Type type = spec.dtype == DType::BF16 ? Type::bf16 : Type::f32;
  Type storedType = spec.blocks ? Type::f32 : spec.dtype == DType::F16 ? Type::f16 : type;
  memory::desc stored({spec.k(), spec.n()}, storedType, spec.transposed ? Tag::ba : Tag::ab);
  weights.push_back({spec.k(), spec.n(), type, stored, stored, data, data, travels, spec.blocks});
  return weights.size() - 1;
}

size_t Linears::add(const ParameterSpec &spec, const std::byte *data) { return state->add(spec, data, false); }

size_t Linears::addTravelling(const ParameterSpec &spec, const std::byte *data) { return state->add(spec, data, true); }

void Linears::State::chooseLayout(Weight &weight) {
  memory::desc any({weight.k, weight.n}, weight.type, Tag::any);
  try {
    auto best = describe(engine, layoutRows, weight, any);
    if (!isReference(best)) {
      weight.layout = best.weights_desc();
      return;
    }
  } catch (const dnnl::error &) {
    // This processor has no bf16 product: run it in fp32 on the same (already rounded) weight.
  }
  weight.type = Type::f32;
  weight.layout =
      describe(engine, layoutRows, weight, memory::desc({weight.k, weight.n}, Type::f32, Tag::any)).weights_desc();
}

/// From its stored data to its layout.
void Linears::State::copy(const Weight &weight, std::byte *to) {
  std::vector<float> values;
  const std::byte *source = weight.source;
  if (weight.blocks) {
    values.resize(static_cast<size_t>(weight.n * weight.k));
    weight.blocks->dequantize(source, weight.n, weight.k, values.data());
    source = reinterpret_cast<const std::byte *>(values.data());
  }
  memory from(weight.stored, engine, const_cast<std::byte *>(source));
  memory into(weight.layout, engine, to);
  dnnl::reorder(from, into).execute(stream, from, into);
  stream.wait();
}

void Linears::pack(const std::function<void(size_t)> &packed) {
  try {
    size_t total = 0;
    for (Weight &weight : state->weights) {
      state->chooseLayout(weight);
      auto known = std::find(state->layouts.begin(), state->layouts.end(), weight.layout);
      weight.layoutId = static_cast<size_t>(known - state->layouts.begin());
      if (known == state->layouts.end())
        state->layouts.push_back(weight.layout);
      if (!staysWhereItIs(weight))
        total += align(weight.layout.get_size());
    }
    state->arena.reserve(total);
    std::byte *to = state->arena.data();
    for (size_t i = 0; i < state->weights.size(); ++i) {
      Weight &weight = state->weights[i];
      if (staysWhereItIs(weight))
        continue;
      state->copy(weight, to);
      weight.data = to;
      to += align(weight.layout.get_size());
      packed(i);
    }
  } catch (const dnnl::error &e) {
    failRun("oneDNN cannot pack a weight: ", e.what());
  }
}

Product &Linears::State::product(const Weight &weight, int64_t m, const Extras &extras) {
  auto key = std::tuple(weight.layoutId, m, extras);
  auto found = products.find(key);
  if (found != products.end())
    return found->second;
  if (products.size() >= maxPrimitives)
    products.clear();
  auto description = describe(engine, m, weight, weight.layout, extras);
  if (isReference(description))
    failRun("oneDNN has no fast product for [", m, ", ", weight.k, "] x [", weight.k, ", ", weight.n, "]");
  Product made{dnnl::matmul(description),
               description.impl_info_str(),
               memory(description.src_desc(), engine, nullptr),
               memory(description.weights_desc(), engine, nullptr),
               memory(description.dst_desc(), engine, nullptr),
               memory(description.scratchpad_desc(), engine, nullptr),
               extras.hasBias ? memory(description.bias_desc(), engine, nullptr) : memory(),
               description.scratchpad_desc().get_size()};
  return products.emplace(key, std::move(made)).first->second;
}

void Linears::run(size_t index, const float *x, int64_t m, float *y, bool accumulate, const Epilogue &epilogue) {
  const Weight &weight = state->weights[index];
  if (m == 0)
    return;
  try {
    Product &product = state->product(weight, m, Extras(accumulate, epilogue));
    const void *source = x;
    if (weight.stored.data_type() == Type::bf16) {
      // oneDNN reads bf16; where it cannot, the rounded values go in as fp32.
      size_t count = static_cast<size_t>(m * weight.k);
      bool wide = weight.type == Type::f32;
      state->rounded.resize(std::max(state->rounded.size(), count * (wide ? 2 : 1)));
      if (wide)
        roundInFp32(x, reinterpret_cast<float *>(state->rounded.data()), count);
      else
        roundTo(x, state->rounded.data(), count);
      source = state->rounded.data();
    }
    state->scratch.reserve(product.scratchBytes);
    product.x.set_data_handle(const_cast<void *>(source));
    product.w.set_data_handle(const_cast<std::byte *>(weight.data));
    product.y.set_data_handle(y);
    product.scratch.set_data_handle(state->scratch.data());
    std::unordered_map<int, memory> arguments{{DNNL_ARG_SRC, product.x},
                                              {DNNL_ARG_WEIGHTS, product.w},
                                              {DNNL_ARG_DST, product.y},
                                              {DNNL_ARG_SCRATCHPAD, product.scratch}};
    if (epilogue.bias) {
      product.bias.set_data_handle(const_cast<void *>(epilogue.bias));
      arguments.emplace(DNNL_ARG_BIAS, product.bias);
    }
    product.primitive.execute(state->stream, arguments);
  } catch (const dnnl::error &e) {
    failRun("oneDNN: product [", m, ", ", weight.k, "] x [", weight.k, ", ", weight.n, "]: ", e.what());
  }
}

size_t Linears::bytes(size_t weight) const { return state->weights[weight].layout.get_size(); }

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
    total += weight.layout.get_size();
  return total;
}

std::string Linears::implementation(size_t weight, int64_t m, const Epilogue &epilogue) {
  return state->product(state->weights[weight], m, Extras(false, epilogue)).implementation;
}

} // namespace caat::runtime

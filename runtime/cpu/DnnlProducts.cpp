// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "DnnlProducts.h"
#include "caat/runtime/Error.h"
#include <algorithm>

namespace caat::runtime {

using dnnl::memory;
using Tag = memory::format_tag;

namespace {
/// The layout is chosen for this many rows; measured to be as good for every other number.
constexpr int64_t layoutRows = 512;
/// A run without a cache makes a new primitive at every step: more than this many are thrown away.
constexpr size_t maxPrimitives = 512;

bool isReference(const dnnl::matmul::primitive_desc &description) {
  return std::string_view(description.impl_info_str()).starts_with("ref");
}
} // namespace

dnnl::matmul::primitive_desc DnnlProducts::describe(int64_t m, const Layout &layout, const Extras &extras) const {
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
  memory::dims matrix = layout.dims();
  memory::desc x({m, matrix[0]}, layout.data_type(), Tag::ab), bias({1, matrix[1]}, Type::f32, Tag::ab);
  memory::desc y({m, matrix[1]}, Type::f32, Tag::ab);
  if (!extras.hasBias)
    return {dnnl::matmul::desc(x, layout, y), attributes, engine};
  return {dnnl::matmul::desc(x, layout, bias, y), attributes, engine};
}

std::optional<DnnlProducts::Layout> DnnlProducts::fastest(int64_t k, int64_t n, Type type) const {
  try {
    auto best = describe(layoutRows, {{k, n}, type, Tag::any});
    if (!isReference(best))
      return best.weights_desc();
  } catch (const dnnl::error &) { // this processor has no product of the type
  }
  return std::nullopt;
}

bool DnnlProducts::isFast(const Layout &layout) const {
  try {
    return !isReference(describe(layoutRows, layout));
  } catch (const dnnl::error &) {
    return false;
  }
}

void DnnlProducts::reorder(const Layout &from, const std::byte *source, const Layout &to, std::byte *data) {
  memory given(from, engine, const_cast<std::byte *>(source)), into(to, engine, data);
  dnnl::reorder(given, into).execute(stream, given, into);
  stream.wait();
}

size_t DnnlProducts::idOf(const Layout &layout) {
  auto known = std::find(layouts.begin(), layouts.end(), layout);
  auto id = static_cast<size_t>(known - layouts.begin());
  if (known == layouts.end())
    layouts.push_back(layout);
  return id;
}

DnnlProducts::Product &DnnlProducts::product(const Key &key) {
  auto found = products.find(key);
  if (found != products.end())
    return found->second;
  if (products.size() >= maxPrimitives)
    products.clear();
  const auto &[layout, m, extras] = key;
  auto description = describe(m, layouts[layout], extras);
  memory::dims matrix = layouts[layout].dims();
  if (isReference(description))
    failRun("oneDNN has no fast product for [", m, ", ", matrix[0], "] x [", matrix[0], ", ", matrix[1], "]");
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

void DnnlProducts::run(size_t layout, const void *x, int64_t m, const std::byte *w, float *y, bool accumulate,
                       const Epilogue &epilogue) {
  Product &made = product({layout, m, Extras(accumulate, epilogue)});
  scratch.reserve(made.scratchBytes);
  made.x.set_data_handle(const_cast<void *>(x));
  made.w.set_data_handle(const_cast<std::byte *>(w));
  made.y.set_data_handle(y);
  made.scratch.set_data_handle(scratch.data());
  std::unordered_map<int, memory> arguments{
      {DNNL_ARG_SRC, made.x}, {DNNL_ARG_WEIGHTS, made.w}, {DNNL_ARG_DST, made.y}, {DNNL_ARG_SCRATCHPAD, made.scratch}};
  if (epilogue.bias) {
    made.bias.set_data_handle(const_cast<void *>(epilogue.bias));
    arguments.emplace(DNNL_ARG_BIAS, made.bias);
  }
  made.primitive.execute(stream, arguments);
}

std::string DnnlProducts::implementation(size_t layout, int64_t m, const Extras &extras) {
  return product({layout, m, extras}).implementation;
}

} // namespace caat::runtime

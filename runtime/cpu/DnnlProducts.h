// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Products of oneDNN: one primitive for each layout of the weight, number of rows and epilogue.
#ifndef CAAT_RUNTIME_CPU_DNNLPRODUCTS_H
#define CAAT_RUNTIME_CPU_DNNLPRODUCTS_H

#include "../core/Memory.h"
#include "caat/runtime/Device.h"
#include <map>
#include <oneapi/dnnl/dnnl.hpp>

namespace caat::runtime {

/// What a product does besides multiplying.
struct Extras {
  bool accumulate = false, hasBias = false;
  caat_activation activation = CAAT_UNCHANGED;
  float alpha = 1;

  Extras() = default;
  Extras(bool accumulate, const Epilogue &epilogue)
      : accumulate(accumulate), hasBias(epilogue.bias), activation(epilogue.activation), alpha(epilogue.alpha) {}
  auto operator<=>(const Extras &) const = default;
};

/// Used by one thread. Members throw dnnl::error.
class DnnlProducts {
public:
  using Type = dnnl::memory::data_type;
  using Layout = dnnl::memory::desc; // of a weight [k, n]

  /// What the fast products with many rows of `type` read the weight in, or nothing where there is none.
  std::optional<Layout> fastest(int64_t k, int64_t n, Type type) const;
  /// Whether there is a fast product with many rows.
  bool isFast(const Layout &layout) const;
  void reorder(const Layout &from, const std::byte *source, const Layout &to, std::byte *data);

  /// Weights of one layout share their primitives.
  size_t idOf(const Layout &layout);
  /// x [m, k] has the layout's type, y [m, n] and the bias are fp32.
  void run(size_t layout, const void *x, int64_t m, const std::byte *w, float *y, bool accumulate,
           const Epilogue &epilogue);
  /// oneDNN's name of the implementation.
  std::string implementation(size_t layout, int64_t m, const Extras &extras);

private:
  struct Product {
    dnnl::matmul primitive;
    std::string implementation;
    dnnl::memory x, w, y, scratch, bias;
    size_t scratchBytes;
  };
  using Key = std::tuple<size_t, int64_t, Extras>; // layout, m

  dnnl::matmul::primitive_desc describe(int64_t m, const Layout &layout, const Extras &extras = {}) const;
  Product &product(const Key &key);

  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::vector<Layout> layouts;
  std::map<Key, Product> products;
  LargeBuffer scratch;
};

} // namespace caat::runtime

#endif

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The graphs of cuDNN's stand-in: descriptors with their attributes, tensors of four dimensions, and what the
// operations between them do.
#ifndef CAAT_TEST_CUDA_DOUBLE_CUDNN_H
#define CAAT_TEST_CUDA_DOUBLE_CUDNN_H

#include "caat/runtime/Bf16.h"
#include "cuda/Cudnn.h"
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

namespace caat::test {

using namespace caat::runtime::cuda;

constexpr int rank = 4;

/// A descriptor. What it refers to lives as long as it does, as in the library.
struct Object {
  int kind;
  bool finished = false;
  std::map<int, std::vector<std::byte>> values = {};
  std::map<int, std::vector<std::shared_ptr<Object>>> others = {};

  bool has(int name) const { return values.contains(name); }
  template <typename T> std::vector<T> all(int name) const {
    const std::vector<std::byte> &bytes = values.at(name);
    std::vector<T> result(bytes.size() / sizeof(T));
    std::memcpy(result.data(), bytes.data(), bytes.size());
    return result;
  }
  template <typename T> T get(int name) const { return all<T>(name).at(0); }
  const Object &other(int name) const { return *others.at(name).at(0); }
};

using Four = std::array<int64_t, rank>;

struct TensorView {
  int64_t id, alignment;
  int type;
  Four sizes, strides;
  bool isVirtual, isByValue;

  explicit TensorView(const Object &o)
      : id(o.get<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID)), alignment(o.get<int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT)),
        type(o.get<int>(CUDNN_ATTR_TENSOR_DATA_TYPE)), sizes(four(o, CUDNN_ATTR_TENSOR_DIMENSIONS)),
        strides(four(o, CUDNN_ATTR_TENSOR_STRIDES)), isVirtual(flag(o, CUDNN_ATTR_TENSOR_IS_VIRTUAL)),
        isByValue(flag(o, CUDNN_ATTR_TENSOR_IS_BY_VALUE)) {}
  static Four four(const Object &o, int name) {
    Four result{};
    std::ranges::copy(o.all<int64_t>(name), result.begin());
    return result;
  }
  static bool flag(const Object &o, int name) { return o.has(name) && o.get<char>(name) != 0; }

  int64_t bytes() const {
    return type == CUDNN_DATA_FLOAT || type == CUDNN_DATA_INT32 ? 4 : type == CUDNN_DATA_BOOLEAN ? 1 : 2;
  }
  int64_t count() const { return sizes[0] * sizes[1] * sizes[2] * sizes[3]; }
  template <typename F> void forEach(F &&f) const {
    Four i;
    for (i[0] = 0; i[0] < sizes[0]; ++i[0])
      for (i[1] = 0; i[1] < sizes[1]; ++i[1])
        for (i[2] = 0; i[2] < sizes[2]; ++i[2])
          for (i[3] = 0; i[3] < sizes[3]; ++i[3])
            f(i);
  }
  int64_t at(const Four &i) const {
    return i[0] * strides[0] + i[1] * strides[1] + i[2] * strides[2] + i[3] * strides[3];
  }
  /// Among the elements one behind the other; dimensions of one are repeated.
  size_t dense(const Four &i) const {
    int64_t result = 0;
    for (int d = 0; d < rank; ++d)
      result = result * sizes[d] + (sizes[d] == 1 ? 0 : i[d]);
    return static_cast<size_t>(result);
  }
  bool isBroadcastTo(const TensorView &other) const {
    for (int d = 0; d < rank; ++d)
      if (sizes[d] != other.sizes[d] && sizes[d] != 1)
        return false;
    return true;
  }

  float rounded(float x) const {
    if (type == CUDNN_DATA_BFLOAT16)
      return caat::runtime::bf16ToFloat(caat::runtime::floatToBf16(x));
    return type == CUDNN_DATA_HALF ? static_cast<float>(static_cast<_Float16>(x)) : x;
  }
  float load(const void *data, int64_t index) const {
    switch (type) {
    case CUDNN_DATA_FLOAT:
      return static_cast<const float *>(data)[index];
    case CUDNN_DATA_INT32:
      return static_cast<float>(static_cast<const int32_t *>(data)[index]);
    case CUDNN_DATA_HALF:
      return static_cast<float>(static_cast<const _Float16 *>(data)[index]);
    default:
      return caat::runtime::bf16ToFloat(static_cast<const uint16_t *>(data)[index]);
    }
  }
  void store(void *data, int64_t index, float x) const {
    if (type == CUDNN_DATA_HALF)
      static_cast<_Float16 *>(data)[index] = static_cast<_Float16>(x);
    else
      static_cast<uint16_t *>(data)[index] = caat::runtime::floatToBf16(x);
  }
};

/// The tensors that an operation reads, and the one that it writes.
struct Operation {
  const Object *object;
  std::vector<TensorView> in;
  TensorView out;

  static Operation of(const Object &o) {
    auto tensor = [&](int name) { return TensorView(o.other(name)); };
    if (o.kind == CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR)
      return {&o,
              {tensor(CUDNN_ATTR_OPERATION_MATMUL_ADESC), tensor(CUDNN_ATTR_OPERATION_MATMUL_BDESC)},
              tensor(CUDNN_ATTR_OPERATION_MATMUL_CDESC)};
    if (o.kind == CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR)
      return {&o, {tensor(CUDNN_ATTR_OPERATION_REDUCTION_XDESC)}, tensor(CUDNN_ATTR_OPERATION_REDUCTION_YDESC)};
    Operation result{&o, {tensor(CUDNN_ATTR_OPERATION_POINTWISE_XDESC)}, tensor(CUDNN_ATTR_OPERATION_POINTWISE_YDESC)};
    for (int name : {CUDNN_ATTR_OPERATION_POINTWISE_BDESC, CUDNN_ATTR_OPERATION_POINTWISE_TDESC})
      if (o.has(name))
        result.in.push_back(tensor(name));
    return result;
  }

  int pointwiseMode() const {
    return object->other(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR).get<int>(CUDNN_ATTR_POINTWISE_MODE);
  }

  /// Whether the sizes fit each other.
  bool fits() const {
    if (object->kind == CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR) {
      const Four &a = in[0].sizes, &b = in[1].sizes, &c = out.sizes;
      return a[0] == b[0] && a[0] == c[0] && a[1] == c[1] && a[1] % b[1] == 0 && a[2] == c[2] && a[3] == b[2] &&
             b[3] == c[3];
    }
    if (object->kind == CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR)
      return out.isBroadcastTo(in[0]);
    int mode = pointwiseMode();
    bool one = mode == CUDNN_POINTWISE_EXP || mode == CUDNN_POINTWISE_LOG || mode == CUDNN_POINTWISE_GEN_INDEX;
    size_t wanted = one ? 1 : mode == CUDNN_POINTWISE_BINARY_SELECT ? 3 : 2;
    return in.size() == wanted && std::ranges::all_of(in, [&](const TensorView &x) { return x.isBroadcastTo(out); });
  }

  using Arrays = std::map<int64_t, std::vector<float>>;
  void run(Arrays &arrays) const {
    std::vector<float> &y = arrays[out.id];
    y.assign(static_cast<size_t>(out.count()), 0);
    if (object->kind == CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR)
      multiply(arrays[in[0].id], arrays[in[1].id], y);
    else if (object->kind == CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR)
      reduce(arrays[in[0].id], y);
    else
      out.forEach([&](const Four &i) {
        float x[3] = {};
        for (size_t n = 0; n < in.size(); ++n)
          x[n] = arrays[in[n].id][in[n].dense(i)];
        y[out.dense(i)] = pointwise(x, i);
      });
    for (float &x : y)
      x = out.rounded(x);
  }

private:
  void multiply(const std::vector<float> &a, const std::vector<float> &b, std::vector<float> &c) const {
    int64_t shared = in[0].sizes[1] / in[1].sizes[1];
    out.forEach([&](const Four &i) {
      float sum = 0;
      for (int64_t k = 0; k < in[0].sizes[3]; ++k)
        sum += a[in[0].dense({i[0], i[1], i[2], k})] * b[in[1].dense({i[0], i[1] / shared, k, i[3]})];
      c[out.dense(i)] = sum;
    });
  }
  void reduce(const std::vector<float> &x, std::vector<float> &y) const {
    bool adds = object->other(CUDNN_ATTR_OPERATION_REDUCTION_DESC).get<int>(CUDNN_ATTR_REDUCTION_OPERATOR) ==
                CUDNN_REDUCE_TENSOR_ADD;
    if (!adds)
      std::ranges::fill(y, -INFINITY);
    in[0].forEach([&](const Four &i) {
      float value = x[in[0].dense(i)], &to = y[out.dense(i)];
      to = adds ? to + value : std::max(to, value);
    });
  }
  float pointwise(const float (&x)[3], const Four &i) const {
    const Object &kind = object->other(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
    switch (pointwiseMode()) {
    case CUDNN_POINTWISE_ADD:
      return x[0] + x[1];
    case CUDNN_POINTWISE_SUB:
      return x[0] - x[1];
    case CUDNN_POINTWISE_MUL:
      return x[0] * x[1];
    case CUDNN_POINTWISE_DIV:
      return x[0] / x[1];
    case CUDNN_POINTWISE_EXP:
      return std::exp(x[0]);
    case CUDNN_POINTWISE_LOG:
      return std::log(x[0]);
    case CUDNN_POINTWISE_CMP_GE:
      return x[0] >= x[1];
    case CUDNN_POINTWISE_BINARY_SELECT:
      return x[2] != 0 ? x[0] : x[1];
    default: // GEN_INDEX
      return static_cast<float>(i[static_cast<size_t>(kind.get<int64_t>(CUDNN_ATTR_POINTWISE_AXIS))]);
    }
  }
};

} // namespace caat::test

#endif

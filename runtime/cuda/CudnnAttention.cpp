// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "CudnnAttention.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace caat::runtime::cuda {

namespace {

constexpr int64_t alignment = 16; // bytes, of each row
constexpr size_t mostWorkspace = 256 << 20;

using Four = std::array<int64_t, 4>;

/// What is given when a plan runs.
enum Id : int64_t { Query = 1, Keys, Values, Out, Scale, Total, Tokens, Hidden, FirstBetween };

/// The operations between tensors, each with a number of its own.
class GraphBuilder {
public:
  GraphBuilder(const Cudnn &library, std::deque<Descriptor> &parts) : library(library), parts(parts) {}

  const Descriptor &given(Id id, int type, const Four &sizes, const Four &strides) {
    return tensor(id, type, sizes, strides, [](Descriptor &) {});
  }
  /// A number in the host's memory.
  const Descriptor &number(Id id, int type) {
    return tensor(id, type, {1, 1, 1, 1}, {1, 1, 1, 1},
                  [](Descriptor &d) { d.setTrue(CUDNN_ATTR_TENSOR_IS_BY_VALUE); });
  }
  /// What is never stored.
  const Descriptor &between(int type, const Four &sizes) {
    return tensor(next++, type, sizes, {sizes[1] * sizes[2] * sizes[3], sizes[2] * sizes[3], sizes[3], 1},
                  [](Descriptor &d) { d.setTrue(CUDNN_ATTR_TENSOR_IS_VIRTUAL); });
  }

  void product(const Descriptor &a, const Descriptor &b, const Descriptor &c) {
    Descriptor &kind = part(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    kind.setValue(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT).finish();
    Descriptor &operation = part(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    operation.setDescriptor(CUDNN_ATTR_OPERATION_MATMUL_ADESC, a)
        .setDescriptor(CUDNN_ATTR_OPERATION_MATMUL_BDESC, b)
        .setDescriptor(CUDNN_ATTR_OPERATION_MATMUL_CDESC, c)
        .setDescriptor(CUDNN_ATTR_OPERATION_MATMUL_DESC, kind);
    add(operation);
  }

  /// Returns y. `b` may be missing; `choose` says where x is taken, not b.
  const Descriptor &pointwise(int mode, int computeType, const Descriptor &y, const Descriptor &x,
                              const Descriptor *b = nullptr, const Descriptor *choose = nullptr, int64_t axis = -1) {
    Descriptor &kind = part(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    kind.setValue(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, mode)
        .setValue(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, computeType);
    if (axis >= 0)
      kind.setNumber(CUDNN_ATTR_POINTWISE_AXIS, axis);
    kind.finish();
    Descriptor &operation = part(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    operation.setDescriptor(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, kind)
        .setDescriptor(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x)
        .setDescriptor(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    if (b)
      operation.setDescriptor(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *b);
    if (choose)
      operation.setDescriptor(CUDNN_ATTR_OPERATION_POINTWISE_TDESC, *choose);
    add(operation);
    return y;
  }

  const Descriptor &reduce(int mode, const Descriptor &y, const Descriptor &x) {
    Descriptor &kind = part(CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    kind.setValue(CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, mode)
        .setValue(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
        .finish();
    Descriptor &operation = part(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    operation.setDescriptor(CUDNN_ATTR_OPERATION_REDUCTION_DESC, kind)
        .setDescriptor(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x)
        .setDescriptor(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y);
    add(operation);
    return y;
  }

  Descriptor &part(int kind) { return parts.emplace_back(library, kind); }
  std::span<const cudnnBackendDescriptor_t> all() const { return operations; }

private:
  template <typename F>
  const Descriptor &tensor(int64_t id, int type, const Four &sizes, const Four &strides, F &&more) {
    Descriptor &result = part(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    result.setNumber(CUDNN_ATTR_TENSOR_UNIQUE_ID, id)
        .setValue(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, type)
        .setNumbers(CUDNN_ATTR_TENSOR_DIMENSIONS, sizes)
        .setNumbers(CUDNN_ATTR_TENSOR_STRIDES, strides)
        .setNumber(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, alignment);
    more(result);
    result.finish();
    return result;
  }
  void add(Descriptor &operation) {
    operation.finish();
    operations.push_back(operation.get());
  }

  const Cudnn &library;
  std::deque<Descriptor> &parts;
  std::vector<cudnnBackendDescriptor_t> operations;
  int64_t next = FirstBetween;
};

/// In the order and the form in which the library looks for it.
void describe(GraphBuilder &graph, const FusedShape &s) {
  Four scores{s.batch, s.heads, s.tokens, s.total}, rows{s.batch, s.heads, s.tokens, 1};
  auto sized = [&](int type = CUDNN_DATA_FLOAT) -> const Descriptor & { return graph.between(type, scores); };
  auto aRow = [&]() -> const Descriptor & { return graph.between(CUDNN_DATA_FLOAT, rows); };

  const Descriptor &query =
      graph.given(Query, s.type, {s.batch, s.heads, s.tokens, s.size}, {s.query.batch, s.query.head, s.query.row, 1});
  const Descriptor &keys =
      graph.given(Keys, s.type, {s.batch, s.kvHeads, s.size, s.total}, {s.keys.batch, s.keys.head, 1, s.keys.row});
  const Descriptor &values = graph.given(Values, s.type, {s.batch, s.kvHeads, s.total, s.valueSize},
                                         {s.values.batch, s.values.head, s.values.row, 1});
  const Descriptor &out =
      graph.given(Out, s.type, {s.batch, s.heads, s.tokens, s.valueSize}, {s.out.batch, s.out.head, s.out.row, 1});

  const Descriptor &products = sized();
  graph.product(query, keys, products);
  const Descriptor *x = &graph.pointwise(CUDNN_POINTWISE_MUL, CUDNN_DATA_FLOAT, sized(), products,
                                         &graph.number(Scale, CUDNN_DATA_FLOAT));
  if (s.causal) {
    auto index = [&](int64_t axis) {
      return &graph.pointwise(CUDNN_POINTWISE_GEN_INDEX, CUDNN_DATA_FLOAT, sized(CUDNN_DATA_INT32), *x, nullptr,
                              nullptr, axis);
    };
    const Descriptor *row = index(2), *column = index(3);
    if (s.total != s.tokens) { // row + total - tokens: the tokens are the last
      row = &graph.pointwise(CUDNN_POINTWISE_ADD, CUDNN_DATA_INT32, sized(CUDNN_DATA_INT32), *row,
                             &graph.number(Total, CUDNN_DATA_INT32), nullptr, 3);
      row = &graph.pointwise(CUDNN_POINTWISE_SUB, CUDNN_DATA_INT32, sized(CUDNN_DATA_INT32), *row,
                             &graph.number(Tokens, CUDNN_DATA_INT32), nullptr, 3);
    }
    const Descriptor &sees =
        graph.pointwise(CUDNN_POINTWISE_CMP_GE, CUDNN_DATA_BOOLEAN, sized(CUDNN_DATA_BOOLEAN), *row, column);
    x = &graph.pointwise(CUDNN_POINTWISE_BINARY_SELECT, CUDNN_DATA_FLOAT, sized(), *x,
                         &graph.number(Hidden, CUDNN_DATA_FLOAT), &sees);
  }
  const Descriptor &most = graph.reduce(CUDNN_REDUCE_TENSOR_MAX, aRow(), *x);
  const Descriptor &relative = graph.pointwise(CUDNN_POINTWISE_SUB, CUDNN_DATA_FLOAT, sized(), *x, &most);
  const Descriptor &powers = graph.pointwise(CUDNN_POINTWISE_EXP, CUDNN_DATA_FLOAT, sized(), relative);
  const Descriptor &sum = graph.reduce(CUDNN_REDUCE_TENSOR_ADD, aRow(), powers);
  // Nobody reads these two; without them the library does not know the softmax.
  const Descriptor &logarithm = graph.pointwise(CUDNN_POINTWISE_LOG, CUDNN_DATA_FLOAT, aRow(), sum);
  graph.pointwise(CUDNN_POINTWISE_ADD, CUDNN_DATA_FLOAT, aRow(), most, &logarithm);
  const Descriptor &weights = graph.pointwise(CUDNN_POINTWISE_DIV, CUDNN_DATA_FLOAT, sized(s.type), powers, &sum);
  graph.product(weights, values, out);
}

/// All rows at multiples of 16 bytes.
bool isAligned(const void *data, const FusedShape::Strides &strides) {
  auto all = reinterpret_cast<uint64_t>(data) | static_cast<uint64_t>(strides.batch | strides.head | strides.row) * 2;
  return all % alignment == 0;
}

} // namespace

double FusedShape::operations() const {
  double all = 2.0 * static_cast<double>(batch * heads) * static_cast<double>(tokens) * static_cast<double>(total) *
               static_cast<double>(size + valueSize);
  return causal ? all * (1 - 0.5 * static_cast<double>(tokens) / static_cast<double>(total)) : all;
}

std::optional<FusedShape> fusedShapeOf(const Attention &a) {
  bool oneType = a.queryType == a.via && a.keyType == a.via && a.outType == a.via;
  bool limits = a.mask || a.lengths || a.softcap != 0 || (!a.causal && a.right >= 0) ||
                (a.left >= 0 && a.left < a.past + a.tokens - 1);
  bool areLast = !a.causal || a.past + a.tokens == a.total;
  if (!oneType || limits || !areLast || !(a.scale > 0) || a.size % 8 != 0 || a.valueSize % 8 != 0 ||
      std::min({a.batch, a.tokens, a.total, a.size, a.valueSize}) < 1)
    return std::nullopt;
  auto strides = [&](int64_t batch, int64_t head, int64_t row, int64_t heads, int64_t rows, int64_t size) {
    FusedShape::Strides result{batch, head, row};
    if (rows == 1)
      result.row = size;
    if (heads == 1)
      result.head = std::max(result.row * rows, size);
    if (a.batch == 1)
      result.batch = std::max(result.head * heads, result.row * rows);
    return result;
  };
  FusedShape shape{a.via == DType::BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF,
                   a.batch,
                   a.tokens,
                   a.total,
                   a.heads,
                   a.kvHeads,
                   a.size,
                   a.valueSize,
                   strides(a.queryBatch, a.queryHead, a.queryToken, a.heads, a.tokens, a.size),
                   strides(a.keyBatch, a.keyHead, a.keyToken, a.kvHeads, a.total, a.size),
                   strides(a.valueBatch, a.valueHead, a.valueToken, a.kvHeads, a.total, a.valueSize),
                   strides(a.outBatch, a.outHead, a.outToken, a.heads, a.tokens, a.valueSize),
                   a.causal};
  for (const auto &[data, itsStrides] :
       {std::pair{a.query, &shape.query}, std::pair{a.keys, &shape.keys}, std::pair{a.values, &shape.values},
        std::pair{static_cast<const void *>(a.out), &shape.out}})
    if (!isAligned(data, *itsStrides) || std::min({itsStrides->batch, itsStrides->head, itsStrides->row}) < 1)
      return std::nullopt;
  return shape;
}

CudnnTarget::CudnnTarget(std::shared_ptr<const Cudnn> given, CUstream stream) : library(std::move(given)) {
  library->check(library->cudnnCreate(&handle), "a handle");
  if (cudnnStatus_t status = library->cudnnSetStream(handle, stream); status != CUDNN_STATUS_SUCCESS) {
    library->cudnnDestroy(handle);
    library->check(status, "a stream");
  }
}

CudnnTarget::CudnnTarget(std::shared_ptr<const Cudnn> given, const std::string &json) : library(std::move(given)) {
  properties.emplace(*library, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  properties->set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, static_cast<int64_t>(json.size()),
                  json.data());
  properties->finish();
}

CudnnTarget::~CudnnTarget() {
  if (handle)
    library->cudnnDestroy(handle);
}

FusedPlan::FusedPlan(std::shared_ptr<const CudnnTarget> given, const FusedShape &shape)
    : target(std::move(given)), shape(shape) {
  const Cudnn &library = *target->library;
  GraphBuilder builder(library, parts);
  describe(builder, shape);
  Descriptor &graph = builder.part(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.setDescriptors(CUDNN_ATTR_OPERATIONGRAPH_OPS, builder.all());
  if (target->handle)
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &target->handle);
  graph.finish();

  Descriptor &choices = builder.part(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  choices.setDescriptor(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)
      .setValue(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, CUDNN_HEUR_MODE_A);
  if (target->properties)
    choices.setDescriptor(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *target->properties);
  choices.finish();
  constexpr size_t most = 4; // the best first
  std::array<cudnnBackendDescriptor_t, most> engines;
  std::vector<const Descriptor *> engineParts;
  for (cudnnBackendDescriptor_t &engine : engines) {
    engineParts.push_back(&builder.part(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR));
    engine = engineParts.back()->get();
  }
  int64_t count = 0;
  library.check(library.cudnnBackendGetAttribute(choices.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                                 CUDNN_TYPE_BACKEND_DESCRIPTOR, most, &count, engines.data()),
                "attention");
  std::string reason = "cuDNN has no engine for it, or does not find libnvrtc";
  for (size_t i = 0; i < std::min(static_cast<size_t>(count), most) && !plan; ++i)
    try {
      plan = &makePlan(*engineParts[i]);
    } catch (const Error &error) {
      reason = error.what();
    }
  if (!plan)
    failRun(reason);
}

Descriptor &FusedPlan::makePlan(const Descriptor &engine) {
  const Cudnn &library = *target->library;
  Descriptor &made = parts.emplace_back(library, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  made.setDescriptor(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, engine);
  if (target->handle)
    made.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &target->handle);
  else
    made.setDescriptor(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *target->properties);
  made.finish();
  int64_t bytes = 0, count = 0;
  library.check(library.cudnnBackendGetAttribute(made.get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64,
                                                 1, &count, &bytes),
                "its workspace");
  if (static_cast<size_t>(bytes) > mostWorkspace)
    failRun("cuDNN wants a workspace of ", bytes, " bytes for it");
  workspace = static_cast<size_t>(bytes);
  return made;
}

void FusedPlan::run(const void *query, const void *keys, const void *values, void *out, float scale,
                    void *space) const {
  const Cudnn &library = *target->library;
  float hidden = -INFINITY;
  auto total = static_cast<int32_t>(shape.total), tokens = static_cast<int32_t>(shape.tokens);
  std::vector<int64_t> ids = {Query, Keys, Values, Out, Scale};
  std::vector<const void *> data = {query, keys, values, out, &scale};
  auto add = [&](Id id, const void *value) {
    ids.push_back(id);
    data.push_back(value);
  };
  if (shape.causal) {
    add(Hidden, &hidden);
    if (shape.total != shape.tokens) {
      add(Total, &total);
      add(Tokens, &tokens);
    }
  }
  Descriptor pack(library, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.setNumbers(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids)
      .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, static_cast<int64_t>(data.size()), data.data())
      .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &space)
      .finish();
  library.check(library.cudnnBackendExecute(target->handle, plan->get(), pack.get()), "attention");
}

} // namespace caat::runtime::cuda

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// cuDNN's functions: any graph of products, element-wise operations and reductions over tensors of four dimensions is
// carried out operation by operation, as its descriptors say, in fp32.
//
// CAAT_DOUBLE_CUDNN_VERSION and _ENGINES (how many it has for a graph) make it another library; the first
// CAAT_DOUBLE_CUDNN_FAILING plans do not compile; with CAAT_DOUBLE_CUDNN_WRONG results are.
#include "DoubleCudnn.h"
#include "Double.h"
#include <set>

using namespace caat::test;
using namespace caat::runtime::cuda;

namespace {

constexpr int badParameter = 2000, notFinished = 2004, misaligned = 2003, failed = 5000;
std::string lastError;

cudnnStatus_t fail(cudnnStatus_t status, const std::string &text) {
  lastError = text;
  return status;
}

/// What a kind of descriptor takes.
struct Attribute {
  int kind, name, type;
  int64_t most = 1;
  bool required = true;
};
constexpr int64_t many = 1 << 20;
constexpr int descriptors = CUDNN_TYPE_BACKEND_DESCRIPTOR, types = CUDNN_TYPE_DATA_TYPE, integers = CUDNN_TYPE_INT64;
const Attribute attributes[] = {
    {CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_ATTR_TENSOR_UNIQUE_ID, integers},
    {CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_ATTR_TENSOR_DATA_TYPE, types},
    {CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_ATTR_TENSOR_DIMENSIONS, integers, rank},
    {CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_ATTR_TENSOR_STRIDES, integers, rank},
    {CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, integers},
    {CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, false},
    {CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, false},
    {CUDNN_BACKEND_MATMUL_DESCRIPTOR, CUDNN_ATTR_MATMUL_COMP_TYPE, types},
    {CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR, CUDNN_ATTR_OPERATION_MATMUL_ADESC, descriptors},
    {CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR, CUDNN_ATTR_OPERATION_MATMUL_BDESC, descriptors},
    {CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR, CUDNN_ATTR_OPERATION_MATMUL_CDESC, descriptors},
    {CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR, CUDNN_ATTR_OPERATION_MATMUL_DESC, descriptors},
    {CUDNN_BACKEND_POINTWISE_DESCRIPTOR, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE},
    {CUDNN_BACKEND_POINTWISE_DESCRIPTOR, CUDNN_ATTR_POINTWISE_MATH_PREC, types},
    {CUDNN_BACKEND_POINTWISE_DESCRIPTOR, CUDNN_ATTR_POINTWISE_AXIS, integers, 1, false},
    {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, descriptors},
    {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, descriptors},
    {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, descriptors, 1, false},
    {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, descriptors, 1, false},
    {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, descriptors},
    {CUDNN_BACKEND_REDUCTION_DESCRIPTOR, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE},
    {CUDNN_BACKEND_REDUCTION_DESCRIPTOR, CUDNN_ATTR_REDUCTION_COMP_TYPE, types},
    {CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR, CUDNN_ATTR_OPERATION_REDUCTION_DESC, descriptors},
    {CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, descriptors},
    {CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, descriptors},
    {CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, CUDNN_ATTR_OPERATIONGRAPH_OPS, descriptors, many},
    {CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE},
    {CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, descriptors},
    {CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE},
    {CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, descriptors},
    {CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE},
    {CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, integers, many},
    {CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, many},
    {CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR},
};

size_t sizeOfType(int type) {
  return type == CUDNN_TYPE_BOOLEAN                                                                            ? 1
         : type == integers || type == descriptors || type == CUDNN_TYPE_VOID_PTR || type == CUDNN_TYPE_HANDLE ? 8
                                                                                                               : 4;
}

struct Handle {
  Stream *stream = nullptr;
};

/// What the caller has: an owner of the object.
using Owner = std::shared_ptr<Object>;
Owner &of(cudnnBackendDescriptor_t descriptor) { return *static_cast<Owner *>(descriptor); }

std::vector<Operation> operationsOf(const Object &graph) {
  std::vector<Operation> result;
  for (const Owner &operation : graph.others.at(CUDNN_ATTR_OPERATIONGRAPH_OPS))
    result.push_back(Operation::of(*operation));
  return result;
}

/// Whether what is between the operations is written once, before it is read.
bool isInOrder(const Object &graph) {
  std::set<int64_t> written;
  for (const Operation &operation : operationsOf(graph)) {
    for (const TensorView &x : operation.in)
      if (x.isVirtual && !written.contains(x.id))
        return false;
    if (operation.out.isByValue || !written.insert(operation.out.id).second)
      return false;
  }
  return true;
}

bool isAligned(const TensorView &x) {
  for (int d = 0; d < rank - 1; ++d)
    if (x.sizes[d] > 1 && x.strides[d] != 1 && x.strides[d] * x.bytes() % x.alignment != 0)
      return false;
  return true;
}

cudnnStatus_t finishPlan(const Object &plan) {
  static int64_t failing = Double::number("CUDNN_FAILING", 0);
  if (failing > 0 && failing-- > 0)
    return fail(CUDNN_STATUS_NOT_SUPPORTED, "it does not compile");
  const Object &graph =
      plan.other(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG).other(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
  for (const Operation &operation : operationsOf(graph))
    for (const TensorView &x : operation.in)
      if (!x.isVirtual && !x.isByValue && !isAligned(x))
        return fail(CUDNN_STATUS_NOT_SUPPORTED, "rows are not aligned");
  return CUDNN_STATUS_SUCCESS;
}

void addAccesses(const TensorView &x, const void *data, bool writes, std::vector<Access> &all) {
  int64_t inner = x.strides[3] == 1 ? 3 : 2; // the transposed keys
  TensorView rows = x;
  rows.sizes[static_cast<size_t>(inner)] = 1;
  rows.forEach([&](const Four &i) {
    uint64_t begin = reinterpret_cast<uint64_t>(data) + static_cast<uint64_t>(x.at(i) * x.bytes());
    all.push_back({begin, begin + static_cast<uint64_t>(x.sizes[static_cast<size_t>(inner)] * x.bytes()), writes});
  });
}

constexpr int64_t workspaceBytes = 256;

} // namespace

CAAT_EXPORT size_t cudnnGetVersion() { return static_cast<size_t>(Double::number("CUDNN_VERSION", 91002)); }
CAAT_EXPORT const char *cudnnGetErrorString(cudnnStatus_t status) {
  return status == CUDNN_STATUS_NOT_SUPPORTED ? "CUDNN_STATUS_NOT_SUPPORTED" : "CUDNN_STATUS_OF_THE_DOUBLE";
}
CAAT_EXPORT void cudnnGetLastErrorString(char *text, size_t size) {
  std::strncpy(text, lastError.c_str(), size - 1);
  text[size - 1] = 0;
}
CAAT_EXPORT cudnnStatus_t cudnnCreate(cudnnHandle_t *handle) {
  *handle = reinterpret_cast<cudnnHandle_t>(new Handle);
  return CUDNN_STATUS_SUCCESS;
}
CAAT_EXPORT cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  delete reinterpret_cast<Handle *>(handle);
  return CUDNN_STATUS_SUCCESS;
}
CAAT_EXPORT cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, CUstream stream) {
  reinterpret_cast<Handle *>(handle)->stream = reinterpret_cast<Stream *>(stream);
  return CUDNN_STATUS_SUCCESS;
}

CAAT_EXPORT cudnnStatus_t cudnnBackendCreateDescriptor(int kind, cudnnBackendDescriptor_t *descriptor) {
  *descriptor = new Owner(std::make_shared<Object>(kind));
  return CUDNN_STATUS_SUCCESS;
}
CAAT_EXPORT cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  delete &of(descriptor);
  return CUDNN_STATUS_SUCCESS;
}

CAAT_EXPORT cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, int name, int type,
                                                   int64_t count, const void *values) {
  Object &object = *of(descriptor);
  const auto *known = std::ranges::find_if(
      attributes, [&](const Attribute &a) { return a.kind == object.kind && a.name == name && a.type == type; });
  if (known == std::end(attributes) || count < 1 || count > known->most || object.finished)
    return fail(badParameter, "attribute " + std::to_string(name) + " of " + std::to_string(object.kind));
  const auto *bytes = static_cast<const std::byte *>(values);
  object.values[name] = {bytes, bytes + static_cast<size_t>(count) * sizeOfType(type)};
  if (type == descriptors)
    for (int64_t i = 0; i < count; ++i) {
      Owner &other = of(static_cast<const cudnnBackendDescriptor_t *>(values)[i]);
      if (!other->finished)
        return fail(notFinished, "attribute " + std::to_string(name));
      object.others[name].push_back(other);
    }
  return CUDNN_STATUS_SUCCESS;
}

CAAT_EXPORT cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
  Object &object = *of(descriptor);
  for (const Attribute &a : attributes)
    if (a.kind == object.kind && a.required && !object.has(a.name))
      return fail(badParameter, "attribute " + std::to_string(a.name) + " is missing");
  cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
  switch (object.kind) {
  case CUDNN_BACKEND_TENSOR_DESCRIPTOR: {
    TensorView tensor(object);
    if (object.all<int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS).size() != rank || std::ranges::min(tensor.sizes) < 1 ||
        std::ranges::min(tensor.strides) < 1)
      status = fail(badParameter, "a tensor's sizes");
    break;
  }
  case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR:
  case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR:
  case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR:
    if (!Operation::of(object).fits())
      status = fail(badParameter, "sizes that do not fit");
    break;
  case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
    if (!isInOrder(object))
      status = fail(badParameter, "operations in another order");
    break;
  case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
    status = finishPlan(object);
    break;
  default:
    break;
  }
  object.finished = status == CUDNN_STATUS_SUCCESS;
  return status;
}

CAAT_EXPORT cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t descriptor, int name, int type,
                                                   int64_t wanted, int64_t *count, void *values) {
  Object &object = *of(descriptor);
  if (!object.finished)
    return fail(notFinished, "it is not finished");
  if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS && type == descriptors) { // engines know their graph
    *count = std::min(wanted, Double::number("CUDNN_ENGINES", 2));
    for (int64_t i = 0; i < *count; ++i) {
      Object &engine = *of(static_cast<cudnnBackendDescriptor_t *>(values)[i]);
      if (engine.kind != CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)
        return fail(badParameter, "an engine is wanted in another descriptor");
      engine.others[CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH] = object.others.at(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
      engine.finished = true;
    }
    return CUDNN_STATUS_SUCCESS;
  }
  if (name != CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE || type != integers || wanted != 1)
    return fail(badParameter, "attribute " + std::to_string(name));
  *static_cast<int64_t *>(values) = workspaceBytes;
  *count = 1;
  return CUDNN_STATUS_SUCCESS;
}

CAAT_EXPORT cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t planDescriptor,
                                              cudnnBackendDescriptor_t packDescriptor) {
  Double &state = Double::get();
  std::lock_guard lock(state.mutex);
  Owner plan = of(planDescriptor);
  const Object &pack = *of(packDescriptor);
  if (!plan->finished || !pack.finished || plan->get<cudnnHandle_t>(CUDNN_ATTR_EXECUTION_PLAN_HANDLE) != handle)
    return fail(badParameter, "not finished, or of another handle");
  auto ids = pack.all<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  auto pointers = pack.all<void *>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  if (ids.size() != pointers.size() || std::set(ids.begin(), ids.end()).size() != ids.size())
    return fail(badParameter, "other numbers of tensors and pointers");
  std::map<int64_t, void *> data;
  for (size_t i = 0; i < ids.size(); ++i)
    data[ids[i]] = pointers[i];

  std::vector<Operation> operations =
      operationsOf(plan->other(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG).other(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH));
  std::map<int64_t, float> numbers; // taken now
  std::vector<Access> accesses;
  std::set<int64_t> used;
  auto look = [&](const TensorView &x, bool writes) {
    if (x.isVirtual)
      return true;
    used.insert(x.id);
    if (!data.contains(x.id))
      return false;
    const void *at = data[x.id];
    if (x.isByValue)
      numbers[x.id] = x.load(at, 0);
    else if (reinterpret_cast<uint64_t>(at) % static_cast<uint64_t>(x.alignment) == 0)
      addAccesses(x, at, writes, accesses);
    else
      return false;
    return true;
  };
  for (const Operation &operation : operations) {
    for (const TensorView &x : operation.in)
      if (!look(x, false))
        return fail(misaligned, "a tensor is missing or misaligned");
    if (!look(operation.out, true))
      return fail(misaligned, "the result is missing or misaligned");
  }
  if (used.size() != data.size())
    return fail(badParameter, "a tensor that nobody knows");
  auto space = reinterpret_cast<uint64_t>(pack.get<void *>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE));
  accesses.push_back({space, space + workspaceBytes, true});

  Stream &stream = *reinterpret_cast<Handle *>(handle)->stream;
  auto run = [=, &state, &stream, alive = std::weak_ptr(plan)]() -> int {
    Owner kept = alive.lock(); // the operations are its own
    if (!kept)
      return state.fault("a graph has a plan of cuDNN's that is destroyed"), failed;
    if (!state.operate(stream, "attention by cuDNN", accesses))
      return failed;
    Operation::Arrays arrays;
    static const float factor = Double::number("CUDNN_WRONG", 0) ? 1.1f : 1.0f;
    for (const Operation &operation : operations) {
      for (const TensorView &x : operation.in)
        if (!x.isVirtual && !arrays.contains(x.id)) {
          std::vector<float> &array = arrays[x.id];
          array.resize(static_cast<size_t>(x.count()));
          x.forEach([&](const Four &i) {
            array[x.dense(i)] = x.isByValue ? numbers.at(x.id) : x.load(data.at(x.id), x.at(i));
          });
        }
      operation.run(arrays);
      if (const TensorView &y = operation.out; !y.isVirtual)
        y.forEach([&](const Four &i) { y.store(data.at(y.id), y.at(i), factor * arrays[y.id][y.dense(i)]); });
    }
    return 0;
  };
  return stream.submit(run);
}

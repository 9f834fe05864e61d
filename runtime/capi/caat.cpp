// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/caat.h"
#include "caat/runtime/Engine.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/Tasks.h"
#include <algorithm>
#include <cstddef>
#include <iterator>

using namespace caat::runtime;

struct caat_model {
  Engine engine;
};

struct caat_result {
  TensorMap tensors;
};

namespace {

thread_local std::string lastError;

template <typename F> caat_status guarded(F &&run) noexcept {
  try {
    lastError.clear();
    run();
    return CAAT_OK;
  } catch (const Error &e) {
    lastError = e.what();
    return e.kind == ErrorKind::Input      ? CAAT_ERROR_INPUT
           : e.kind == ErrorKind::Artifact ? CAAT_ERROR_ARTIFACT
                                           : CAAT_ERROR_RUN;
  } catch (const std::exception &e) {
    lastError = e.what();
  } catch (...) {
    lastError = "unknown error";
  }
  return CAAT_ERROR_RUN;
}

void need(const void *pointer, const char *what) {
  if (!pointer)
    failInput(what, " is NULL");
}

/// The fields that the caller's struct holds whole; the others are 0. Throws Error (Input) where it holds more than
/// this library knows.
caat_options takeOptions(const caat_options *given) {
  constexpr size_t most = 4096; // of any version: what is larger was never set
  static_assert(sizeof(caat_options) == offsetof(caat_options, devices) + sizeof(caat_options::devices),
                "a field that is added must not lie in the padding of a version before");
  caat_options options = CAAT_OPTIONS_INIT;
  if (!given)
    return options;
  size_t size = given->struct_size;
  if (size < sizeof size || size > most)
    failInput("options: struct_size is ", size, "; begin with caat_options options = CAAT_OPTIONS_INIT");
  auto *bytes = reinterpret_cast<const unsigned char *>(given);
  for (size_t i = sizeof options; i < size; ++i)
    if (bytes[i])
      failInput("options: byte ", i, " of ", size, " is set, but this library knows ", sizeof options,
                " bytes: it is older than the caller's header");
  auto take = [&](auto caat_options::*field) {
    if (reinterpret_cast<const unsigned char *>(&(given->*field) + 1) <= bytes + size)
      options.*field = given->*field;
  };
  take(&caat_options::timeout_ms);
  take(&caat_options::threads_per_rank);
  take(&caat_options::device_count);
  take(&caat_options::devices);
  return options;
}

EngineOptions engineOptions(const caat_options &options) {
  EngineOptions engine;
  if (options.threads_per_rank)
    engine.threadsPerRank = options.threads_per_rank;
  if (options.timeout_ms)
    engine.timeout = std::chrono::milliseconds(options.timeout_ms);
  if (options.device_count < 0)
    failInput("options: device_count is ", options.device_count);
  if (options.device_count > 0)
    need(options.devices, "options: devices");
  for (int32_t i = 0; i < options.device_count; ++i) {
    if (options.devices[i] < 0)
      failInput("options: devices[", i, "] is ", options.devices[i]);
    engine.devices.push_back(options.devices[i]);
  }
  return engine;
}

Tensor viewOf(const caat_tensor &tensor) {
  need(tensor.name, "an input's name");
  if (tensor.dtype < 0 || tensor.dtype >= numDTypes)
    failInput("input '", tensor.name, "': element type ", tensor.dtype, " is unknown");
  if (tensor.rank < 0 || tensor.rank > 64)
    failInput("input '", tensor.name, "' has ", tensor.rank, " dimensions");
  if (tensor.rank > 0)
    need(tensor.shape, "an input's shape");
  Shape shape(tensor.shape, tensor.shape + tensor.rank);
  if (elementCount(shape, sizeOf(static_cast<DType>(tensor.dtype))) > 0)
    need(tensor.data, "an input's data");
  return Tensor::view(static_cast<DType>(tensor.dtype), shape, const_cast<void *>(tensor.data));
}

void fill(const TensorMap::value_type &entry, caat_tensor &tensor) {
  const auto &[name, value] = entry;
  tensor = {name.c_str(), static_cast<int32_t>(value.dtype), static_cast<int32_t>(value.shape.size()),
            value.shape.data(), value.data.get()};
}

} // namespace

extern "C" {

const char *caat_error_text(void) { return lastError.c_str(); }

caat_status caat_model_load(const char *directory, const caat_options *options, caat_model **model) {
  return guarded([&] {
    need(model, "model");
    *model = nullptr;
    need(directory, "directory");
    *model = new caat_model{Engine(directory, engineOptions(takeOptions(options)))};
  });
}

void caat_model_destroy(caat_model *model) { delete model; }

caat_status caat_model_run(caat_model *model, const caat_tensor *inputs, size_t count, caat_result **result) {
  return guarded([&] {
    need(result, "result");
    *result = nullptr;
    need(model, "model");
    if (count > 0)
      need(inputs, "inputs");
    TensorMap map;
    for (size_t i = 0; i < count; ++i) {
      Tensor view = viewOf(inputs[i]);
      if (!map.emplace(inputs[i].name, view).second)
        failInput("input '", inputs[i].name, "' is given twice");
    }
    *result = new caat_result{model->engine.infer(map)};
  });
}

caat_status caat_model_start(caat_model *model, int64_t capacity) {
  return guarded([&] {
    need(model, "model");
    model->engine.start(capacity);
  });
}

caat_status caat_model_step(caat_model *model, const int64_t *tokens, int64_t batch, int64_t count,
                            caat_result **result) {
  return guarded([&] {
    need(result, "result");
    *result = nullptr;
    need(model, "model");
    need(tokens, "tokens");
    if (batch < 1 || count < 1)
      failInput("tokens [", batch, ", ", count, "]: there must be some");
    Tensor owned(DType::I64, {batch, count}); // a program without caches reads it again in the next step
    std::copy_n(tokens, owned.count(), owned.as<int64_t>());
    Engine &engine = model->engine;
    Tensor logits = lastLogits(engine, owned);
    *result = new caat_result{{{engine.manifest().outputs[logitsOutput(engine.manifest())].name, logits}}};
  });
}

size_t caat_result_count(const caat_result *result) { return result ? result->tensors.size() : 0; }

caat_status caat_result_get(const caat_result *result, size_t index, caat_tensor *tensor) {
  return guarded([&] {
    need(result, "result");
    need(tensor, "tensor");
    if (index >= result->tensors.size())
      failInput("array ", index, " of a result with ", result->tensors.size());
    fill(*std::next(result->tensors.begin(), static_cast<ptrdiff_t>(index)), *tensor);
  });
}

caat_status caat_result_find(const caat_result *result, const char *name, caat_tensor *tensor) {
  return guarded([&] {
    need(result, "result");
    need(name, "name");
    need(tensor, "tensor");
    auto found = result->tensors.find(name);
    if (found == result->tensors.end())
      failInput("the result has no array '", name, "'");
    fill(*found, *tensor);
  });
}

void caat_result_destroy(caat_result *result) { delete result; }

} // extern "C"

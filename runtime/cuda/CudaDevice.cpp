// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "CudaDevice.h"
#include "PeerMemory.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <iomanip>

namespace caat::runtime::cuda {

namespace {
constexpr size_t line = 256;            // where each weight begins
constexpr size_t pieceBytes = 64 << 20; // of uploads, what is reported at once
constexpr size_t align(size_t bytes) { return (bytes + line - 1) / line * line; }
} // namespace

CudaDevice::CudaDevice(const Program &program, std::shared_ptr<Context> given, std::shared_ptr<const CublasLt> library,
                       std::shared_ptr<ProductTimes> times, Progress progress)
    : program(program), context(std::move(given)), progress(std::move(progress)), products(library, *context, times),
      staging(*context), queue(*context, products) {
  driver().check(driver().cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING), "a stream");
  // A kernel that takes a multiprocessor's shared memory before it may go on would keep out those of other ranks there,
  // for which the one before it waits.
  streamsRows = streamsRows && !joinsLocalRanks();
  setTiming(false);
}

/// A moment between two steps needs them to be started one by one.
void CudaDevice::setTiming(bool enabled) {
  timing = enabled;
  queue.start(stream_, makesGraphs && !timing, checksSteps);
}

CudaDevice::~CudaDevice() {
  context->enter();
  driver().cuStreamSynchronize(stream_);
  for (CUevent event : events)
    driver().cuEventDestroy_v2(event);
  if (base)
    driver().cuEventDestroy_v2(base);
  queue.clear(); // what libraries have on the stream
  fused = {};
  driver().cuStreamDestroy_v2(stream_);
}

void CudaDevice::attach() { context->enter(); }

void CudaDevice::onCaller(const std::function<void()> &work) {
  Context::Guest guest(*context);
  work();
}

std::shared_ptr<std::byte> CudaDevice::allocate(size_t bytes, const std::string &what) {
  std::shared_ptr<std::byte> memory = context->allocate(bytes, what);
  queue.memoryChanged();
  driver().check(driver().cuMemsetD8Async(addressOf(memory.get()), 0, std::max<size_t>(bytes, 1), stream()), what);
  return memory;
}

void CudaDevice::upload(void *to, const void *from, size_t bytes) { staging.upload(to, from, bytes, stream()); }

void CudaDevice::download(void *to, const void *from, size_t bytes) { staging.download(to, from, bytes, stream()); }

void CudaDevice::copy(void *to, const void *from, size_t bytes) {
  if (bytes == 0 || to == from)
    return;
  auto add = [&](CUdeviceptr target, CUdeviceptr source) {
    Step step;
    step.kind = Step::Kind::Copy;
    step.name = "copy";
    step.to = target;
    step.from = source;
    step.bytes = bytes;
    queue.add(std::move(step));
  };
  CUdeviceptr target = addressOf(to), source = addressOf(from);
  if (target < source + bytes && source < target + bytes) { // by way of other memory
    CUdeviceptr other = addressOf(scratch.reserve(*this, bytes, "a copy"));
    add(other, source);
    source = other;
  }
  add(target, source);
}

void CudaDevice::storeElement(void *to, DType dtype, int64_t bits) {
  launchOwn("caat_store", 1,
            StoreArguments{to, static_cast<unsigned long long>(bits), static_cast<long long>(sizeOf(dtype))});
}

/// Whether a weight of a product, stored as [k, n], lies as [n, k] in the device's memory: that is how products of few
/// rows read it.
static bool isTurned(const ParameterSpec &spec) {
  return spec.linear && !spec.transposed && spec.dtype != DType::F32 && !spec.rotation;
}

/// The transpose of data [k, n] of a 16-bit type.
void CudaDevice::uploadTurned(std::byte *to, const std::byte *data, int64_t k, int64_t n) {
  constexpr int64_t piece = 64 << 20; // bytes at once
  int64_t row = n * 2, most = std::clamp<int64_t>(piece / row, 1, k);
  std::byte *from = scratch.reserve(*this, static_cast<size_t>(most * row), "a part of a weight");
  for (int64_t first = 0; first < k; first += most) {
    int64_t rows = std::min(most, k - first), blocks = (rows + 31) / 32 * ((n + 31) / 32);
    upload(from, data + first * row, static_cast<size_t>(rows * row));
    launchOwn("caat_transpose_16", blocks,
              TransposeArguments{reinterpret_cast<const unsigned short *>(from),
                                 reinterpret_cast<unsigned short *>(to) + first, rows, n, k});
  }
}

/// `done` is told how much has been asked for.
void CudaDevice::uploadWhole(std::byte *to, const std::byte *data, size_t bytes,
                             const std::function<void(size_t)> &done) {
  for (size_t at = 0; at < bytes; at += pieceBytes) {
    upload(to + at, data + at, std::min(pieceBytes, bytes - at));
    done(at);
  }
}

/// One allocation for all that stay.
std::vector<void *> CudaDevice::load(std::span<const HostParameter> parameters) {
  size_t total = 0;
  for (const HostParameter &parameter : parameters)
    total += parameter.spec->rotation ? 0 : align(deviceBytes(*parameter.spec));
  std::shared_ptr<std::byte> &arena = memory.emplace_back(context->allocate(total, "the weights of a rank"));
  std::vector<void *> places;
  std::byte *to = arena.get();
  weights.resize(parameters.size());
  travelling.resize(parameters.size());
  size_t done = 0;
  auto report = [&](size_t more) {
    if (!progress || total <= pieceBytes)
      return;
    std::ostringstream text;
    text << std::fixed << std::setprecision(1) << "weights: " << static_cast<double>(done + more) / 1e9 << " of "
         << static_cast<double>(total) / 1e9 << " GB a rank";
    progress(text.str());
  };
  for (size_t i = 0; i < parameters.size(); ++i) {
    const auto &[spec, data, bytes, taken, seed] = parameters[i];
    if (spec->linear) {
      weights[i] = {spec->name, to, spec->k(), spec->n(), spec->transposed || isTurned(*spec), spec->dtype};
      if (spec->blocks)
        addBlocks(weights[i], *spec, to);
      else if (spec->dtype != DType::F32 && streamsRows && context->hasDependentLaunch())
        weights[i].stream = context->streamRows(spec->dtype == DType::BF16);
      linearBytes += bytes;
      isNarrow = isNarrow || spec->dtype != DType::F32;
    }
    if (spec->rotation) {
      travelling[i] = parameters[i];
      places.push_back(nullptr);
      continue;
    }
    if (!data)
      makeUp(*spec, to, bytes, seed);
    else if (spec->blocks)
      uploadBlocks(*spec, to, data);
    else if (isTurned(*spec))
      uploadTurned(to, data, spec->k(), spec->n());
    else
      uploadWhole(to, data, bytes, report);
    if (taken)
      taken();
    places.push_back(to);
    to += align(deviceBytes(*spec));
    done += bytes;
  }
  if (unpackedBytes > 0)
    unpacked.reserve(*this, unpackedBytes, "weights of few bits as floats");
  return places;
}

void CudaDevice::fillTravelling(size_t parameter, std::byte *to) {
  const HostParameter &given = travelling[parameter];
  if (given.data)
    uploadWhole(to, given.data, given.bytes, [](size_t) {});
  else
    makeUp(*given.spec, to, given.bytes, given.seed);
}

void CudaDevice::makeUp(const ParameterSpec &spec, std::byte *to, size_t bytes, uint32_t seed) {
  if (spec.blocks)
    return makeUpBlocks(spec, to, seed);
  MadeUp numbers(spec);
  int64_t count = elementCount(spec.shape);
  const char *kernel = spec.dtype == DType::BF16  ? "caat_random_bf16"
                       : spec.dtype == DType::F16 ? "caat_random_f16"
                                                  : "caat_random_f32";
  if (isConvertible(spec.dtype))
    launchOwn(kernel, blocksFor(count), RandomArguments{to, count, numbers.scale, numbers.offset, seed});
  else
    driver().check(driver().cuMemsetD8Async(addressOf(to), 0, bytes, stream_), "'", spec.name, "'");
}

int64_t CudaDevice::blocksOf(const KernelLaunch &launch) const {
  const LaunchSpec &spec = specOf(launch.kernel);
  return (launch.rows + spec.rowsPerBlock - 1) / spec.rowsPerBlock * spec.blocksPerRow;
}

Step CudaDevice::kernelStep(const KernelLaunch &launch, std::span<const int64_t> more) {
  const LaunchSpec &spec = specOf(launch.kernel);
  const std::string &name = program.manifest().kernels[launch.kernel];
  int64_t blocks = blocksOf(launch);
  if (blocks > INT32_MAX)
    failRun("kernel '", name, "': ", launch.rows, " rows are too many");
  Step step = queue.newStep();
  step.name = name;
  step.function = context->kernel(launch.kernel);
  step.blocks = static_cast<unsigned>(blocks);
  step.threads = static_cast<unsigned>(spec.threads);
  step.shared = static_cast<unsigned>(spec.shared);
  step.isDependent = spec.dependent && context->haveKernelsThatWait();
  for (void *const &buffer : launch.buffers)
    step.addParameter(&buffer, sizeof buffer);
  for (std::span<const int64_t> numbers : {launch.dims, more})
    for (const int64_t &number : numbers)
      step.addParameter(&number, sizeof number);
  step.addParameter(&launch.rows, sizeof launch.rows);
  return step;
}

void CudaDevice::launch(const KernelLaunch &launch) { queue.add(kernelStep(launch, {})); }

const std::optional<RowSum> &CudaDevice::sumOf(size_t kernel) const {
  static const std::optional<RowSum> none;
  return program.manifest().gpu->sums == rowsVersion ? specOf(kernel).sum : none;
}

void CudaDevice::launchSumming(const KernelLaunch &launch, Exchange sum, std::span<const int64_t> more) {
  Step step = kernelStep(launch, more);
  step.exchange = std::move(sum);
  queue.add(std::move(step));
}

Step CudaDevice::ownStep(const char *name, int64_t blocks) {
  CUfunction &function = ownKernels[name];
  if (!function)
    function = context->own(name);
  Step step = queue.newStep();
  step.name = name;
  step.function = function;
  step.blocks = static_cast<unsigned>(blocks);
  step.threads = kernelThreads;
  return step;
}

int64_t CudaDevice::blocksFor(int64_t count) {
  constexpr int64_t most = 2048; // enough for any GPU; the rest are further turns of each thread
  return std::min((count + kernelThreads - 1) / kernelThreads, most);
}

void CudaDevice::multiply(const Gemm &gemm, std::string_view name) {
  products.prepare(gemm, stream_);
  Step step;
  step.kind = Step::Kind::Product;
  step.name = name;
  step.gemm = gemm;
  queue.add(std::move(step));
}

void CudaDevice::exchange(Exchange exchange) {
  Step step;
  step.kind = Step::Kind::Exchange;
  step.name = exchange.call.name;
  step.exchange = std::move(exchange);
  queue.add(std::move(step));
}

void CudaDevice::matmul(const MatMul &p) {
  if (p.batch < 0 || p.m < 0 || p.n < 0 || p.k < 0)
    failRun("product with a negative size");
  if (p.batch == 0 || p.m == 0 || p.n == 0)
    return;
  std::optional<Gemm> gemm = asGemm(p);
  if (gemm && p.dtype == DType::F32 && isNarrow)
    gemm->computeType = CUBLAS_COMPUTE_32F_FAST_TF32;
  if (gemm && products.knows(*gemm))
    multiply(*gemm, "a product");
  else
    fallBack(p);
}

void CudaDevice::fallBack(const MatMul &p) {
  const char *kernel = nullptr;
  switch (p.dtype) {
  case DType::F32:
    kernel = "caat_product_f32";
    break;
  case DType::F64:
    kernel = "caat_product_f64";
    break;
  case DType::I64:
  case DType::UI64:
    kernel = "caat_product_i64";
    break;
  case DType::I32:
  case DType::UI32:
    kernel = "caat_product_i32";
    break;
  default:
    failRun("products of ", nameOf(p.dtype), " activations are not supported");
  }
  launchOwn(kernel, blocksFor(p.batch * p.m * p.n),
            MatMulArguments{p.a, p.b, p.c, p.batch, p.m, p.n, p.k, p.aBatch, p.aRow, p.aCol, p.bBatch, p.bRow, p.bCol,
                            p.cBatch, p.cRow, p.alpha, p.beta});
}

void CudaDevice::read(const void *from, size_t bytes) {
  auto *never = reinterpret_cast<unsigned *>(candidates.reserve(*this, sizeof(unsigned), "a measurement"));
  launchOwn("caat_read", static_cast<int64_t>(bytes / readBytes), ReadArguments{from, never});
}

void CudaDevice::beginRun() {
  queue.beginRun();
  unpackedPlace = {};
  used = 0;
  if (failed)
    *reinterpret_cast<unsigned *>(failed.get()) = 0;
  if (!timing)
    return;
  if (!base)
    driver().check(driver().cuEventCreate(&base, CU_EVENT_DEFAULT), "an event");
  driver().check(driver().cuEventRecord(base, stream_), "an event");
  driver().check(driver().cuEventSynchronize(base), "an event");
  baseTime = std::chrono::steady_clock::now();
}

void CudaDevice::synchronize() {
  unpackedPlace = {}; // so that who measures a product measures all of it
  CUresult result = driver().cuStreamSynchronize(stream());
  if (result != CUDA_SUCCESS)
    driver().check(result, context->name(), ", in or before '", queue.last(), "' (CAAT_CUDA_CHECK=1 finds where)");
}

/// Does not throw: an error that comes up here comes up again in synchronize().
Moment CudaDevice::nowOn(CUstream other) {
  if (!timing)
    return Device::now();
  if (used == events.size()) {
    CUevent event = nullptr;
    if (driver().cuEventCreate(&event, CU_EVENT_DEFAULT) != CUDA_SUCCESS)
      return Device::now();
    events.push_back(event);
  }
  CUevent event = events[used++];
  driver().cuEventRecord(event, other);
  return {{}, event};
}

std::chrono::steady_clock::time_point CudaDevice::timeOf(const Moment &moment) {
  if (!moment.event)
    return moment.time;
  float milliseconds = 0;
  driver().check(driver().cuEventElapsedTime(&milliseconds, base, static_cast<CUevent>(moment.event)), "an event");
  return baseTime + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                        std::chrono::duration<double, std::milli>(milliseconds));
}

} // namespace caat::runtime::cuda

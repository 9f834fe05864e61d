// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Products with weights: by the plugin's kernel where there are few rows, else by cuBLASLt, which does what it can of
// what follows them itself.
#include "CudaDevice.h"
#include "StreamRows.h"
#include "caat/runtime/Error.h"
#include <utility>

namespace caat::runtime::cuda {

static_assert(EpilogueOf::Unchanged == int{CAAT_UNCHANGED} && EpilogueOf::Relu == int{CAAT_RELU} &&
              EpilogueOf::Gelu == int{CAAT_GELU} && EpilogueOf::GeluTanh == int{CAAT_GELU_TANH} &&
              EpilogueOf::Swish == int{CAAT_SWISH});
static_assert(Ungated == int{CAAT_UNGATED} && GateFirst == int{CAAT_GATE_FIRST} && GateSecond == int{CAAT_GATE_SECOND});

static int libraryType(DType dtype) {
  return dtype == DType::BF16 ? CUDA_R_16BF : dtype == DType::F16 ? CUDA_R_16F : CUDA_R_32F;
}

EpilogueOf forKernel(const Epilogue &e) { return {e.bias, e.biasType == DType::F32, e.activation, e.alpha}; }

void CudaDevice::linear(const Linear &given) {
  if (given.m == 0)
    return;
  const Weight &weight = weights[given.parameter];
  Linear l = given;
  if (l.xType == DType::F32 && (weight.dtype != DType::F32 || readsCodes(weight, given)))
    l.x = roundRows(weight, l);
  else if (l.xType != weight.dtype)
    failRun("product of ", nameOf(l.xType), " rows with '", weight.name, "', which is ", nameOf(weight.dtype));
  multiplyRounded(weight, l);
  if (l.x != given.x && given.x != given.y)
    roundedRows.until = queue.asked();
}

/// Rows of x in the weight's type; for f32, in parts of 16 bits. Products that follow each other often have the same.
const void *CudaDevice::roundRows(const Weight &weight, const Linear &l) {
  int64_t count = l.m * weight.k;
  bool splits = weight.dtype == DType::F32;
  auto *to = reinterpret_cast<unsigned short *>(
      rounded.reserve(*this, static_cast<size_t>(count * (splits ? splitParts : 1)) * 2, "rounded rows of a product"));
  const auto *x = static_cast<const float *>(l.x);
  RoundedRows rows{x, weight.dtype, l.m, weight.k, queue.asked()};
  if (splits && roundedRows != rows)
    launchOwn("caat_split_rows", blocksFor(count), SplitArguments{x, to, l.m, weight.k});
  else if (roundedRows != rows)
    launchOwn(weight.dtype == DType::BF16 ? "caat_round_bf16" : "caat_round_f16", blocksFor(count),
              RoundArguments{x, to, count});
  roundedRows = rows;
  return to;
}

/// By the first way that takes it. The rows are as products read them, whatever their type was.
void CudaDevice::multiplyRounded(const Weight &weight, const Linear &l) {
  if (multiplyFewRows(weight, l))
    return;
  if (l.gate != CAAT_UNGATED) {
    if (!multiplyGated(weight, l))
      multiplyThenGate(weight, l);
  } else if (readsCodes(weight, l)) {
    multiplyCodes(weight, l);
  } else if (weight.blocks) {
    multiplyUnpacked(weight, l);
  } else {
    multiply(weight, l, weight.n);
  }
}

/// A gated product by way of the plain one, whose halves a kernel reads again.
void CudaDevice::multiplyThenGate(const Weight &weight, const Linear &l) {
  Linear plain = l;
  plain.gate = CAAT_UNGATED;
  plain.epilogue = {};
  plain.y = halves.reserve(*this, static_cast<size_t>(l.m * weight.n) * sizeOf(l.yType), "halves of a gated product");
  multiplyRounded(weight, plain);
  const char *kernel = l.yType == DType::BF16  ? "caat_gate_bf16"
                       : l.yType == DType::F16 ? "caat_gate_f16"
                                               : "caat_gate_f32";
  int64_t n = weight.n / 2, most = static_cast<int64_t>(16 / sizeOf(l.yType)), atOnce = n % most == 0 ? most : 1;
  launchOwn(kernel, blocksFor(l.m * n / atOnce), GateArguments{plain.y, l.y, l.m, n, l.gate, forKernel(l.epilogue)},
            /*waits=*/true);
}

/// By kernels of the plugin, which read the weight faster than the library's do: from sm_90 on by one through which it
/// streams. False where they do not take them.
bool CudaDevice::multiplyFewRows(const Weight &weight, const Linear &l) {
  if (fewRowsThreads == 0 || weight.blocks || weight.dtype == DType::F32 ||
      (l.yType != DType::F32 && l.yType != weight.dtype) || !weight.transposed || l.m > mostFewRows ||
      weight.k % 8 != 0 || addressOf(l.x) % 16 != 0)
    return false;
  int64_t columns = l.gate == CAAT_UNGATED ? weight.n : weight.n / 2;
  FewRowsArguments arguments{
      weight.data,           l.x,   l.y, l.m, columns, weight.k, l.yType == DType::F32, l.accumulate,
      forKernel(l.epilogue), l.gate};
  int64_t tiles = arguments.tiles();
  bool streams = weight.stream && l.m * weight.k * 2 <= mostStreamedRows;
  Step step = streams ? queue.newStep()
                      : ownStep(weight.dtype == DType::BF16 ? "caat_few_rows_bf16" : "caat_few_rows_f16", tiles);
  if (streams) {
    StreamRowsArguments stream{arguments, std::min<int64_t>(tiles, context->multiprocessors())};
    step.function = weight.stream;
    step.blocks = static_cast<unsigned>(stream.blocks);
    step.threads = streamRowsThreads;
    step.shared = StreamRowsShape::bytes;
    step.addParameter(&stream, sizeof stream);
  } else {
    step.threads = fewRowsThreads;
    step.addParameter(&arguments, sizeof arguments);
  }
  step.name = weight.name;
  step.isDependent = true;
  queue.add(std::move(step));
  return true;
}

/// Gives the library what it does itself of an epilogue, and takes it out of that. It adds a bias of the result's type,
/// and its activations follow the bias. Its GELU is of unknown precision: good enough for results of 16 bits.
static void giveToLibrary(Gemm &gemm, Epilogue &e, DType yType) {
  int takes = 0;
  if (e.bias && e.biasType == yType && addressOf(e.bias) % 16 == 0) {
    takes |= CUBLASLT_EPILOGUE_BIAS;
    gemm.bias = std::exchange(e.bias, nullptr);
  }
  int function = e.activation == CAAT_RELU                               ? CUBLASLT_EPILOGUE_RELU
                 : e.activation == CAAT_GELU_TANH && yType != DType::F32 ? CUBLASLT_EPILOGUE_GELU
                                                                         : 0;
  if (function && !e.bias) {
    takes |= function;
    e.activation = CAAT_UNCHANGED;
  }
  if (takes)
    gemm.epilogue = takes;
}

/// Rows of y begin `pitch` elements apart.
void CudaDevice::multiply(const Weight &weight, const Linear &l, int64_t pitch) {
  // Column-major, y^T [N, m] = W^T [N, K] x^T [K, m].
  Gemm plain{libraryType(weight.dtype),
             libraryType(l.yType),
             CUBLAS_COMPUTE_32F,
             weight.transposed,
             false,
             weight.n,
             l.m,
             weight.k,
             1,
             weight.data,
             l.x,
             l.y,
             weight.transposed ? weight.k : weight.n,
             weight.k,
             pitch,
             0,
             0,
             0,
             1.0f,
             l.accumulate ? 1.0f : 0.0f};
  Gemm gemm = plain;
  Epilogue rest = l.epilogue;
  if (libraryEpilogues)
    giveToLibrary(gemm, rest, l.yType);
  if (gemm.epilogue != CUBLASLT_EPILOGUE_DEFAULT && !products.knows(gemm)) {
    gemm = plain;
    rest = l.epilogue;
  }
  if (!products.knows(gemm))
    failRun("cuBLASLt has no algorithm for the product of [", l.m, ", ", weight.k, "] with '", weight.name, "'");
  multiply(gemm, weight.name);
  if (!rest)
    return;
  const char *kernel = l.yType == DType::BF16  ? "caat_epilogue_bf16"
                       : l.yType == DType::F16 ? "caat_epilogue_f16"
                                               : "caat_epilogue_f32";
  auto most = static_cast<int64_t>(16 / sizeOf(l.yType)), atOnce = weight.n % most == 0 && pitch % most == 0 ? most : 1;
  launchOwn(kernel, blocksFor(l.m * weight.n / atOnce), EpilogueArguments{l.y, l.m, weight.n, pitch, forKernel(rest)});
}

} // namespace caat::runtime::cuda

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "BlockEvaluator.h"
#include "BlockFormat.h"
#include "BlockRounding.h"
#include "MovedCodes.h"
#include "mlir/IR/Threading.h"
#include "llvm/ADT/bit.h"
#include <atomic>
#include <cmath>
#include <cstring>

using namespace mlir;
using namespace caat;
using caat::runtime::BlockFormat, caat::runtime::BlockOffset;
using llvm::Expected;

/// Rows that a thread does at a time.
static constexpr int64_t kRows = 32;

static void forEachRows(MLIRContext *context, int64_t rows,
                        llvm::function_ref<void(int64_t first, int64_t count)> visit) {
  parallelFor(context, 0, llvm::divideCeil(rows, kRows), [&](size_t chunk) {
    int64_t first = static_cast<int64_t>(chunk) * kRows;
    visit(first, std::min(kRows, rows - first));
  });
}

template <typename T> static std::vector<T> denseRows(const TensorView &view, int64_t first, int64_t count) {
  std::vector<T> result(count * view.shape[1]);
  copyDense(view.slice(0, first, count), reinterpret_cast<char *>(result.data()));
  return result;
}

static Expected<EncodedBlocks> rounded(rt::WeightOp weight, int64_t rank, WeightEvaluator &evaluator) {
  Expected<TensorView> view = evaluator.evaluate(weight, rank);
  if (!view)
    return view.takeError();
  BlockFormat format = blockFormat(weight.getBlocks().value());
  int64_t k = weight.getK(), n = weight.getN(), numBlocks = k / format.size, rowBytes = format.rowBytes(k);
  EncodedBlocks result{std::vector<std::byte>(n * rowBytes)};
  std::atomic<bool> isFinite = true, fits = true;
  forEachRows(weight.getContext(), n, [&](int64_t first, int64_t count) {
    std::vector<float> x = denseRows<float>(*view, first, count);
    RoundedBlocks blocks;
    (format.bits == 4 ? roundToFourBits : roundToEightBits)(x.data(), count * numBlocks, format.size, blocks);
    if (!blocks.isFinite)
      isFinite = false;
    if (!blocks.fits)
      fits = false;
    for (int64_t r = 0; blocks.isFinite && r < count; ++r)
      format.writeRow({blocks.codes.data() + r * k, blocks.scales.data() + r * numBlocks, /*zeros=*/nullptr,
                       blocks.minima.empty() ? nullptr : blocks.minima.data() + r * numBlocks},
                      k, result.rows.data() + (first + r) * rowBytes);
  });
  if (isFinite && fits)
    return result;
  return llvm::createStringError("has elements that are " +
                                 Twine(isFinite ? "too large for scales of 16 bits" : "not finite numbers") +
                                 ", so it cannot be rounded to blocks; leave it as it is with --weights=NAME=float");
}

namespace {

/// Rows of codes with their scales and offsets -> rows of a file.
class RowEncoder {
public:
  RowEncoder(const BlockFormat &format, const CodedView &coded)
      : format(format), coded(coded), k(coded.codes.shape[1]), size(format.size) {}

  int64_t rowBytes() const { return format.rowBytes(k); }

  /// Whether the blocks have one scale and offset each.
  bool write(int64_t first, int64_t count, std::byte *to, int64_t &numNotFinite) const {
    std::vector<uint8_t> codes = denseRows<uint8_t>(coded.codes, first, count);
    int64_t numBlocks = k / size;
    std::vector<float> scales(numBlocks), minima(numBlocks);
    std::vector<uint8_t> zeros(numBlocks);
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t block = 0; block < numBlocks; ++block) {
        std::optional<Numbers> numbers = numbersOf(first + r, block, codes.data() + r * k + block * size);
        if (!numbers)
          return false;
        scales[block] = numbers->scale;
        zeros[block] = numbers->zero;
        minima[block] = numbers->minimum;
        numNotFinite += std::isfinite(numbers->scale) && std::isfinite(numbers->minimum) ? 0 : size;
      }
      format.writeRow({codes.data() + r * k, scales.data(), zeros.data(), minima.data()}, k, to + r * rowBytes());
    }
    return true;
  }

private:
  struct Numbers {
    float scale = 0, minimum = 0;
    uint8_t zero = 0;
    /// By their bits: what is not a number is equal to itself.
    bool operator==(const Numbers &other) const {
      return llvm::bit_cast<uint32_t>(scale) == llvm::bit_cast<uint32_t>(other.scale) &&
             llvm::bit_cast<uint32_t>(minimum) == llvm::bit_cast<uint32_t>(other.minimum) && zero == other.zero;
    }
  };

  Numbers numbersAt(int64_t row, int64_t place) const {
    auto read = [&](const TensorView &view, auto number) {
      int64_t r = coded.axis == 0 ? row / coded.times : row, d = coded.axis == 1 ? place / coded.times : place;
      std::memcpy(&number, view.data + (r * view.strides[0] + d * view.strides[1]) * view.elementBytes(),
                  sizeof number);
      return number;
    };
    Numbers numbers;
    numbers.scale = read(coded.scale, 0.0f);
    if (format.offset == BlockOffset::Zeros)
      numbers.zero = read(*coded.offset, uint8_t(0));
    else if (format.offset == BlockOffset::Minimum)
      numbers.minimum = read(*coded.offset, 0.0f);
    return numbers;
  }

  /// What the elements of a block share. Codes without a scale become those of zero.
  std::optional<Numbers> numbersOf(int64_t row, int64_t block, uint8_t *codes) const {
    int64_t first = block * size;
    if (coded.scale.strides[1] == 0 || (coded.axis == 1 && coded.times % size == 0))
      return numbersAt(row, first);
    std::optional<Numbers> shared;
    bool isMinimum = format.offset == BlockOffset::Minimum;
    for (int64_t i = 0; i < size; ++i) {
      Numbers own = numbersAt(row, first + i);
      if (own.scale == 0 && !isMinimum)
        continue;
      if (shared && !(*shared == own))
        return std::nullopt;
      shared = own;
    }
    if (!shared)
      shared.emplace();
    int zero = format.offset == BlockOffset::Middle ? 1 << (format.bits - 1) : shared->zero;
    for (int64_t i = 0; i < size && !isMinimum; ++i)
      if (numbersAt(row, first + i).scale == 0)
        codes[i] = static_cast<uint8_t>(zero);
    return shared;
  }

  const BlockFormat &format;
  const CodedView &coded;
  int64_t k, size;
};

} // namespace

static Expected<EncodedBlocks> kept(rt::WeightOp weight, int64_t rank, WeightEvaluator &evaluator) {
  rt::BlocksAttr form = weight.getBlocks().value();
  BlockFormat format = blockFormat(form);
  Expected<CodedView> coded = moveCodes(weight.getYielded(), form, rank, evaluator);
  if (!coded)
    return coded.takeError();
  int64_t n = weight.getN();
  bool hasOffset = format.offset == BlockOffset::Middle || coded->offset;
  if (ArrayRef<int64_t>(coded->codes.shape) != weight.getTensorType().getShape() || !hasOffset)
    return llvm::createStringError("has other codes than its form says");
  RowEncoder encoder(format, *coded);
  EncodedBlocks result{std::vector<std::byte>(n * encoder.rowBytes())};
  std::atomic<bool> agree = true;
  std::atomic<int64_t> numNotFinite = 0;
  forEachRows(weight.getContext(), n, [&](int64_t first, int64_t count) {
    int64_t own = 0;
    if (!encoder.write(first, count, result.rows.data() + first * encoder.rowBytes(), own))
      agree = false;
    numNotFinite += own;
  });
  if (!agree)
    return llvm::createStringError("has blocks with several scales");
  result.numNotFinite = numNotFinite;
  return result;
}

Expected<EncodedBlocks> caat::encodeBlocks(rt::WeightOp weight, int64_t rank, WeightEvaluator &evaluator) {
  return weight.getRounded() ? rounded(weight, rank, evaluator) : kept(weight, rank, evaluator);
}

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "WeightWriter.h"
#include "BlockEvaluator.h"
#include "BlockFormat.h"
#include "caat/Artifact/ByteProgress.h"
#include "caat/Artifact/OutputFile.h"
#include "caat/Artifact/WeightEvaluator.h"
#include "caat/runtime/SafeTensors.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MathExtras.h"
#include <cstring>

using namespace mlir;
using namespace caat;

/// The names that safetensors has for element types.
static llvm::Expected<StringRef> safetensorsType(rt::WeightOp weight) {
  if (weight.getBlocks())
    return "U8";
  static constexpr llvm::StringLiteral kNames[] = {"F32", "BF16", "F16", "I64", "I32", "I8", "BOOL", "F64", "U8"};
  Type element = weight.getTensorType().getElementType();
  std::optional<int64_t> code = dtypeCode(element);
  if (!code) {
    std::string text;
    llvm::raw_string_ostream(text) << element;
    return llvm::createStringError("weight '" + weight.getSymName() + "': no element type of artifacts: " + text);
  }
  return kNames[*code];
}

/// Of a weight in blocks.
static int64_t rowBytes(rt::WeightOp weight) { return blockFormat(*weight.getBlocks()).rowBytes(weight.getK()); }

int64_t caat::storedBytes(rt::WeightOp weight) {
  RankedTensorType type = weight.getTensorType();
  if (weight.getBlocks())
    return weight.getN() * rowBytes(weight);
  return type.getNumElements() * std::max(1u, type.getElementTypeBitWidth() / 8);
}

/// What stands in a header until all is written.
static constexpr llvm::StringLiteral kNoDigest = "0000000000000000";
static_assert(kNoDigest.size() == runtime::Digest::textLength);

/// Header of a safetensors file: length, then JSON padded with spaces to a multiple of 64.
static llvm::Expected<std::string> makeHeader(ArrayRef<rt::WeightOp> weights) {
  std::string text;
  llvm::raw_string_ostream os(text);
  llvm::json::OStream json(os);
  int64_t offset = 0;
  llvm::Error error = llvm::Error::success();
  json.object([&] {
    json.attributeObject("__metadata__", [&] {
      json.attribute("format", "caat");
      json.attribute(runtime::arraysDigestKey, kNoDigest);
    });
    for (rt::WeightOp weight : weights) {
      llvm::Expected<StringRef> type = safetensorsType(weight);
      if (!type) {
        error = llvm::joinErrors(std::move(error), type.takeError());
        continue;
      }
      json.attributeObject(weight.getSymName(), [&] {
        json.attribute("dtype", *type);
        json.attributeArray("shape", [&] {
          if (weight.getBlocks())
            json.value(weight.getN()), json.value(rowBytes(weight));
          else
            for (int64_t extent : weight.getTensorType().getShape())
              json.value(extent);
        });
        int64_t end = offset + storedBytes(weight);
        json.attributeArray("data_offsets", [&] { json.value(offset), json.value(end); });
        offset = end;
      });
    }
  });
  if (error)
    return std::move(error);
  text.append((64 - (text.size() + 8) % 64) % 64, ' ');
  char length[8];
  llvm::support::endian::write64le(length, text.size());
  return std::string(length, 8) + text;
}

namespace {

/// Passes on what is written to it, and takes its digest.
class DigestStream : public llvm::raw_ostream {
public:
  explicit DigestStream(llvm::raw_ostream &to) : to(to) {}
  ~DigestStream() override { flush(); }

  void beginArray(StringRef name) {
    flush();
    runtime::addName(digest, std::string_view(name));
  }
  std::string finish() {
    flush();
    return digest.text();
  }

private:
  void write_impl(const char *data, size_t size) override {
    constexpr size_t piece = 1 << 20; // as much as a file's buffer: written without a copy, and from the cache
    if (size >= piece)
      to.flush();
    for (size_t bytes; size > 0; data += bytes, size -= bytes) {
      bytes = std::min(piece, size);
      digest.add({reinterpret_cast<const std::byte *>(data), bytes});
      to.write(data, bytes);
    }
  }
  uint64_t current_pos() const override { return to.tell(); }

  llvm::raw_ostream &to;
  runtime::Digest digest;
};

/// Elements that are no finite numbers.
struct SpecialValues {
  int64_t nans = 0, infinities = 0;
};

} // namespace

/// Adds the NaN and infinite elements of a weight. Infinities alone are common: masks are stored with them.
static void countSpecialValues(const TensorView &view, SpecialValues &values) {
  auto count = [&](auto exponent) {
    using Bits = decltype(exponent);
    Bits mantissa = (exponent & -exponent) - 1;
    forEachRun(view, [&](const char *first, int64_t length, int64_t stride) {
      int64_t special = 0, infinite = 0;
      for (int64_t i = 0; i < length; ++i) {
        Bits bits;
        std::memcpy(&bits, first + i * stride * int64_t(sizeof(Bits)), sizeof(Bits));
        bool isSpecial = (bits & exponent) == exponent;
        special += isSpecial;
        infinite += isSpecial && (bits & mantissa) == 0;
      }
      values.infinities += infinite;
      values.nans += special - infinite;
    });
  };
  if (view.element.isF32())
    count(uint32_t(0x7f800000));
  else if (view.element.isBF16())
    count(uint16_t(0x7f80));
  else if (view.element.isF16())
    count(uint16_t(0x7c00));
}

/// Writes a rank's array. Adds the elements that are no finite numbers.
static llvm::Error writeWeight(rt::WeightOp weight, int64_t rank, WeightEvaluator &evaluator, llvm::raw_ostream &os,
                               SpecialValues &values) {
  if (weight.getBlocks()) {
    llvm::Expected<EncodedBlocks> blocks = encodeBlocks(weight, rank, evaluator);
    if (!blocks)
      return blocks.takeError();
    values.nans += blocks->numNotFinite;
    os.write(reinterpret_cast<const char *>(blocks->rows.data()), blocks->rows.size());
    return llvm::Error::success();
  }
  llvm::Expected<TensorView> view = evaluator.evaluate(weight, rank);
  if (!view)
    return view.takeError();
  if (ArrayRef<int64_t>(view->shape) != weight.getTensorType().getShape())
    return llvm::createStringError("has another shape than its type says");
  countSpecialValues(*view, values);
  writeDense(*view, os);
  return llvm::Error::success();
}

/// Writes the arrays of a rank. Returns their digest, and adds the elements that are no finite numbers.
static llvm::Expected<std::string> writeArrays(ArrayRef<rt::WeightOp> weights, int64_t rank, WeightEvaluator &evaluator,
                                               OutputFile &file, ByteProgress &progress, SpecialValues &values) {
  DigestStream os(file.os());
  for (rt::WeightOp weight : weights) {
    if (storedBytes(weight) > 0)
      os.beginArray(weight.getSymName());
    if (llvm::Error error = writeWeight(weight, rank, evaluator, os, values))
      return llvm::createStringError("weight '" + weight.getSymName() + "': " + llvm::toString(std::move(error)));
    if (llvm::Error error = file.status())
      return std::move(error);
    evaluator.release(); // so that the process never holds more of the model than one weight
    progress.add(storedBytes(weight));
  }
  return os.finish();
}

llvm::Expected<WrittenWeights> caat::writeWeights(ModuleOp module, ArrayRef<rt::WeightOp> weights,
                                                  const WeightWriterOptions &options) {
  WeightEvaluator evaluator(module);
  // Aligned types first, so that every tensor starts at a multiple of its element's size.
  SmallVector<rt::WeightOp> ordered(weights);
  llvm::sort(ordered, [&](rt::WeightOp a, rt::WeightOp b) {
    auto key = [](rt::WeightOp w) {
      int64_t bits = w.getBlocks() ? 8 : w.getTensorType().getElementTypeBitWidth();
      return std::pair(-bits, w.getSymName());
    };
    return key(a) < key(b);
  });
  llvm::Expected<std::string> header = makeHeader(ordered);
  if (!header)
    return header.takeError();
  size_t digestAt = StringRef(*header).find(kNoDigest); // the metadata comes first
  WrittenWeights written;
  for (rt::WeightOp weight : ordered)
    if (llvm::AddOverflow(written.bytes, storedBytes(weight), written.bytes) || written.bytes > evaluator.byteLimit())
      return llvm::createStringError("the weights of a rank take more than " + Twine(evaluator.byteLimit() >> 20) +
                                     " MiB, at '" + weight.getSymName() +
                                     "': far more than the model's files hold (Expand, Tile or Pad of a forged size?)");
  ByteProgress progress("weights", written.bytes * options.tp, options.progress);
  SpecialValues first;
  for (int64_t rank = 0; rank < options.tp; ++rank) {
    llvm::Expected<OutputFile> file =
        OutputFile::create(options.directory, "weights-" + std::to_string(rank) + ".safetensors");
    if (!file)
      return file.takeError();
    file->os() << *header;
    SpecialValues values;
    llvm::Expected<std::string> digest = writeArrays(ordered, rank, evaluator, *file, progress, values);
    if (!digest)
      return digest.takeError();
    file->os().pwrite(digest->data(), digest->size(), digestAt);
    if (llvm::Error error = file->keep())
      return std::move(error);
    written.digests.push_back(std::move(*digest));
    if (rank == 0)
      first = values;
  }
  progress.finish();
  if (first.nans > 0)
    llvm::errs() << "warning: rank 0's weights hold " << first.nans << " values that are not numbers (NaN) and "
                 << first.infinities << " infinite ones\n";
  return written;
}

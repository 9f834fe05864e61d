// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Artifact/Manifest.h"
#include "BlockFormat.h"
#include "caat/Raise/DimExpr.h"
#include "caat/Shard/Passes.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "runtime/cuda/Kernels.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/SHA256.h"

using namespace mlir;
using namespace caat;
using llvm::json::OStream;

/// Programs with rotated weights need a runtime of format 2, those with switchable sites one of format 3, those that
/// start sums and wait for them later one of format 4, those whose kernels sum one of format 5, those whose products
/// have a bias or an activation one of format 6, those with weights in blocks one of format 7, those that ask how large
/// parts of products are one of format 8, those that ask which results are read one of format 9, those whose conditions
/// are looked at later one of format 10, those with gated products one of format 11.
static constexpr int64_t kFormat = 1, kRotatedFormat = 2, kSwitchableFormat = 3, kOverlappedFormat = 4,
                         kSummingFormat = 5, kEpilogueFormat = 6, kBlockFormat = 7, kPartsFormat = 8, kUnreadFormat = 9,
                         kLateFormat = 10, kGatedFormat = 11;

namespace {

class ManifestWriter {
public:
  ManifestWriter(const Program &program, const ManifestOptions &options, OStream &json)
      : program(program), options(options), json(json) {}

  LogicalResult write() {
    bool good = true;
    json.object([&] {
      bool overlaps = llvm::any_of(program.collectives, [](Operation *op) { return isa<rt::AllReduceStartOp>(op); });
      bool sums = llvm::any_of(program.kernels, [](Operation *kernel) { return kernelSums(kernel); });
      bool hasBlocks = llvm::any_of(program.weights, [](rt::WeightOp weight) { return bool(weight.getBlocks()); });
      json.attribute("format", program.hasGates         ? kGatedFormat
                               : program.checksLater    ? kLateFormat
                               : program.skipsUnread    ? kUnreadFormat
                               : program.hasParts       ? kPartsFormat
                               : hasBlocks              ? kBlockFormat
                               : program.hasEpilogues   ? kEpilogueFormat
                               : sums                   ? kSummingFormat
                               : overlaps               ? kOverlappedFormat
                               : !program.sites.empty() ? kSwitchableFormat
                               : options.isRotated()    ? kRotatedFormat
                                                        : kFormat);
      json.attribute("caat", kVersion);
      json.attributeObject("model", [&] { json.attribute("file", llvm::json::fixUTF8(options.model)); });
      json.attribute("tp", options.tp);
      json.attribute("strategy", options.isRotated() ? "rtp" : "tp");
      if (options.isRotated()) {
        json.attribute("batch", options.batch);
        json.attributeArray("rotations", [&] {
          for (auto [group, spare] : program.rotations)
            json.object([&, group = group, spare = spare] {
              json.attribute("name", group.getValue());
              if (spare >= 0)
                json.attribute("spare", spare);
            });
        });
      }
      json.attributeObject("target", [&] {
        json.attribute("device", options.target.device);
        json.attribute("triple", options.target.triple);
        json.attribute("cpu", options.target.cpu);
        json.attribute("features", options.target.features);
      });
      json.attribute("code", "code.so");
      json.attributeArray("dims", [&] {
        for (auto name : program.dims().getAsRange<StringAttr>())
          json.value(name.getValue());
      });
      good &= succeeded(writeBuffers());
      json.attributeArray("parameters", [&] {
        for (rt::WeightOp weight : program.weights)
          good &= succeeded(writeParameter(weight));
      });
      json.attributeArray("kernels", [&] {
        for (func::FuncOp kernel : program.kernels)
          json.value(kernel.getSymName());
      });
      if (program.isOnDevice())
        writeLaunches();
      json.attributeArray("messages", [&] {
        for (StringAttr message : program.messages)
          json.value(message.getValue());
      });
      good &= succeeded(writeCollectives());
      writeSync();
      writeHalves();
      if (options.vocabulary)
        json.attribute("vocabulary", options.vocabulary);
      if (program.numBuffers("caches"))
        json.attribute("max_length", options.maxLength);
    });
    return success(good);
  }

private:
  static bool kernelSums(Operation *kernel) {
    auto launch = kernel->getAttrOfType<DictionaryAttr>(kLaunchAttr);
    return launch && launch.contains("sum_buffer");
  }

  /// The kernels' files, and how each kernel is launched.
  void writeLaunches() {
    json.attributeObject("gpu", [&] {
      json.attribute("ptx", kPtxFile);
      json.attributeObject("later_ptx", [&] { json.attribute(kDependentPtxArch, kDependentPtxFile); });
      json.attributeObject("cubins", [&] {
        for (const std::string &arch : options.gpuArchs)
          json.attribute(arch, cubinFile(arch));
      });
      if (llvm::any_of(program.kernels, [](Operation *kernel) { return kernelSums(kernel); }))
        json.attribute("sums", runtime::cuda::rowsVersion);
    });
    json.attributeArray("launches", [&] {
      for (func::FuncOp kernel : program.kernels)
        json.object([&] {
          for (NamedAttribute number : kernel->getAttrOfType<DictionaryAttr>(kLaunchAttr))
            json.attribute(number.getName().getValue(), cast<IntegerAttr>(number.getValue()).getInt());
          json.attribute("dependent", true);
        });
    });
  }

  /// "12" as a number, anything else as text.
  void size(StringRef text) {
    int64_t number;
    if (!text.getAsInteger(10, number))
      json.value(number);
    else
      json.value(text);
  }

  LogicalResult writeType(RankedTensorType type) { return writeElementType(type.getElementType(), "dtype"); }

  LogicalResult writeElementType(Type type, StringRef key) {
    std::optional<StringRef> name = dtypeName(type);
    if (!name)
      return emitError(func::FuncOp(program.host).getLoc(), "no element type of artifacts: ") << type;
    json.attribute(key, *name);
    return success();
  }

  void writeSizes(ArrayRef<std::string> sizes) {
    json.attributeArray("shape", [&] {
      for (const std::string &text : sizes)
        size(text);
    });
  }

  /// Sizes of an argument, by the names of its dynamic dimensions.
  static SmallVector<std::string> argumentSizes(DictionaryAttr entry) {
    auto type = cast<RankedTensorType>(entry.getAs<TypeAttr>("type").getValue());
    auto dims = entry.getAs<ArrayAttr>("dims");
    SmallVector<std::string> sizes;
    for (int64_t d = 0; d < type.getRank(); ++d)
      sizes.push_back(type.isDynamicDim(d) ? sizeText(cast<StringAttr>(dims[d]).getValue())
                                           : std::to_string(type.getDimSize(d)));
    return sizes;
  }

  /// A dimension's text in the words of the runtime: exporters write a division in several ways.
  static std::string sizeText(StringRef text) {
    MLIRContext context(MLIRContext::Threading::DISABLED);
    SmallVector<std::string> names;
    AffineExpr expr = parseDim(text, &context, [&](StringRef name) {
      auto *known = llvm::find(names, name.str());
      if (known == names.end()) {
        names.push_back(name.str());
        known = std::prev(names.end());
      }
      return getAffineSymbolExpr(known - names.begin(), &context);
    });
    if (!expr || isa<AffineSymbolExpr>(expr))
      return text.str();
    return printDim(expr, [&](unsigned position) { return names[position]; });
  }

  /// Sizes of a result, as the host program computes them.
  FailureOr<SmallVector<std::string>> outputSizes(uint64_t position, RankedTensorType type) {
    if (type.hasStaticShape())
      return llvm::map_to_vector(type.getShape(), [](int64_t size) { return std::to_string(size); });
    for (auto buffer : func::FuncOp(program.host).getBody().getOps<rt::BufferOp>())
      if (static_cast<uint64_t>(buffer.getPosition()) == position) {
        if (std::optional<SmallVector<std::string>> sizes = sizeTexts(buffer.getResult()))
          return *sizes;
        return emitError(buffer.getLoc(), kSizeFromData), failure();
      }
    return emitError(func::FuncOp(program.host).getLoc(), "no output at position ") << position, failure();
  }

  LogicalResult writeArray(DictionaryAttr entry, ArrayRef<std::string> sizes, StringRef nameKey) {
    auto type = cast<RankedTensorType>(entry.getAs<TypeAttr>("type").getValue());
    json.attribute(nameKey, entry.getAs<StringAttr>("name").getValue());
    if (failed(writeType(type)))
      return failure();
    if (auto declared = entry.getAs<TypeAttr>("declared"))
      if (failed(writeElementType(declared.getValue(), "declared")))
        return failure();
    writeSizes(sizes);
    writeShard(entry.get("shard"));
    return success();
  }

  LogicalResult writeBuffers() {
    bool good = true;
    json.attributeArray("inputs", [&] {
      for (auto entry : program.interface.getAs<ArrayAttr>("inputs").getAsRange<DictionaryAttr>())
        json.object([&] { good &= succeeded(writeArray(entry, argumentSizes(entry), "name")); });
    });
    json.attributeArray("caches", [&] {
      for (auto entry : program.interface.getAs<ArrayAttr>("caches").getAsRange<DictionaryAttr>())
        json.object([&] {
          json.attribute("present", entry.getAs<StringAttr>("present").getValue());
          good &= succeeded(writeArray(entry, argumentSizes(entry), "past"));
          json.attribute("axis", 2);
          json.attribute("past_length", entry.getAs<StringAttr>("past_length").getValue());
          json.attribute("present_length", entry.getAs<StringAttr>("present_length").getValue());
        });
    });
    uint64_t position = program.numBuffers("inputs") + program.numBuffers("caches");
    json.attributeArray("outputs", [&] {
      for (auto entry : program.interface.getAs<ArrayAttr>("outputs").getAsRange<DictionaryAttr>()) {
        FailureOr<SmallVector<std::string>> sizes =
            outputSizes(position++, cast<RankedTensorType>(entry.getAs<TypeAttr>("type").getValue()));
        good &= succeeded(sizes);
        if (failed(sizes))
          continue;
        json.object([&] { good &= succeeded(writeArray(entry, *sizes, "name")); });
      }
    });
    return success(good);
  }

  void writeShard(Attribute attr) {
    auto shard = dyn_cast_or_null<tp::ShardAttr>(attr);
    if (!shard)
      return;
    json.attributeObject("shard", [&] {
      json.attribute("dim", shard.getDim());
      json.attribute("global", shard.getGlobal());
      json.attributeArray("pieces", [&] {
        for (auto rank : shard.getPieces().getAsRange<DenseI64ArrayAttr>())
          json.array([&] {
            ArrayRef<int64_t> pieces = rank.asArrayRef();
            for (size_t i = 0; i + 1 < pieces.size(); i += 2)
              json.array([&] { json.value(pieces[i]), json.value(pieces[i + 1]); });
          });
      });
    });
  }

  LogicalResult writeParameter(rt::WeightOp weight) {
    bool good = true;
    json.object([&] {
      json.attribute("name", weight.getSymName());
      good = succeeded(writeType(weight.getTensorType()));
      json.attributeArray("shape", [&] {
        for (int64_t extent : weight.getTensorType().getShape())
          json.value(extent);
      });
      json.attribute("kind", weight.getLinear() ? "linear" : "buffer");
      if (weight.getLinear())
        json.attribute("transposed", weight.getTransposed());
      if (std::optional<rt::BlocksAttr> blocks = weight.getBlocks())
        json.attributeObject("blocks", [&] {
          runtime::BlockFormat format = blockFormat(*blocks);
          json.attribute("bits", format.bits);
          json.attribute("size", format.size);
          json.attribute("scales", StringRef(runtime::nameOf(format.scales)));
          json.attribute("offset", StringRef(runtime::nameOf(format.offset)));
        });
      if (StringAttr group = weight.getGroupAttr(); group && program.rotations.contains(group))
        json.attribute("rotation", static_cast<int64_t>(program.rotations.find(group) - program.rotations.begin()));
    });
    return success(good);
  }

  /// What a quantised all-reduce sends for a row, and the same for the digest.
  std::string writeWire(tp::QuantizedAllReduceOp op) {
    std::string text =
        llvm::formatv("{0} channels, {1} bits, blocks of {2}, exact", op.getNumChannels(), op.getBits(), op.getBlock())
            .str();
    json.attributeObject("wire", [&] {
      json.attribute("channels", op.getNumChannels());
      json.attribute("bits", int64_t(op.getBits()));
      json.attribute("block", int64_t(op.getBlock()));
      json.attributeArray("exact", [&] {
        for (int64_t channel : op.getExact()) {
          json.value(channel);
          text += " " + std::to_string(channel);
        }
      });
    });
    return text + ": ";
  }

  /// The schedule; its digest is what ranks compare before they start.
  LogicalResult writeCollectives() {
    std::string schedule;
    bool good = true;
    json.attributeArray("collectives", [&] {
      for (tp::CollectiveOpInterface op : program.collectives) {
        auto type = cast<MemRefType>(op.getInput().getType());
        std::optional<StringRef> dtype = dtypeName(type.getElementType());
        auto start = dyn_cast<rt::AllReduceStartOp>(*op);
        Value data = op.getInput();
        if (auto part = data.getDefiningOp<memref::SubViewOp>(); part && start && start.getParts() > 1)
          data = part.getSource(); // that all parts are of
        std::optional<SmallVector<std::string>> sizes = sizeTexts(data);
        StringRef kind = start ? "all_reduce" : op->getName().stripDialect();
        if (!dtype || !sizes) {
          op->emitOpError("has an element type or a size that the manifest cannot express");
          good = false;
          continue;
        }
        int64_t constant = 1;
        std::string count;
        for (StringRef text : *sizes) {
          int64_t number;
          if (!text.getAsInteger(10, number))
            constant *= number;
          else
            count += (text.contains(' ') ? "(" + text + ") * " : text + " * ").str();
        }
        count += std::to_string(constant);
        json.object([&] {
          json.attribute("name", op.getSiteName());
          json.attribute("kind", kind);
          if (start && !start.getLeft())
            json.attribute("parts", int64_t(start.getParts()));
          json.attribute("dtype", *dtype);
          json.attributeBegin("count");
          size(count);
          json.attributeEnd();
          if (auto reduce = dyn_cast<tp::QuantizedAllReduceOp>(*op))
            schedule += writeWire(reduce);
        });
        schedule += llvm::formatv("{0} {1} {2} {3}", op.getSiteName(), kind, *dtype, count).str();
        if (start && !start.getLeft())
          schedule += llvm::formatv(" started in {0}", start.getParts()).str();
        schedule += "\n";
      }
    });
    writeSites(schedule);
    for (auto [group, spare] : program.rotations)
      schedule += llvm::formatv("{0} rotate {1}\n", group.getValue(), spare).str();
    std::array<uint8_t, 32> hash =
        llvm::SHA256::hash(ArrayRef(reinterpret_cast<const uint8_t *>(schedule.data()), schedule.size()));
    json.attribute("digest", llvm::toHex(ArrayRef(hash).take_front(16), /*LowerCase=*/true));
    return success(good);
  }

  ModuleOp module() const { return func::FuncOp(program.host)->getParentOfType<ModuleOp>(); }

  /// Sync points whose policy is read at run time; part of the schedule.
  void writeSites(std::string &schedule) {
    if (program.sites.empty())
      return;
    json.attributeArray("sites", [&] {
      for (rt::SyncPointOp site : program.sites)
        json.object([&] {
          json.attribute("name", site.getSite());
          json.attribute("channels", site.getNumChannels());
          if (Value input = site.getInput())
            json.attribute("input", cast<MemRefType>(input.getType()).getShape().back());
          json.attribute("starts_base", site.getStartsBase());
          json.attribute("starts_pending", site.getStartsPending());
          json.attribute("flushes", site.getFlushes());
          if (std::optional<StringRef> reason = site.getNotDeferrable())
            json.attribute("not_deferrable", *reason);
          if (std::optional<StringRef> reason = site.getNotPrivate())
            json.attribute("not_private", *reason);
        });
    });
    if (auto heads = module()->getAttrOfType<DictionaryAttr>(kHeadsAttrName))
      json.attributeObject("heads", [&] {
        for (NamedAttribute site : heads)
          json.attributeArray(site.getName().getValue(), [&] {
            for (int64_t head : cast<DenseI64ArrayAttr>(site.getValue()).asArrayRef())
              json.value(head);
          });
      });
    for (rt::SyncPointOp site : program.sites)
      schedule += llvm::formatv("{0} sync_point {1}\n", site.getSite(), site.getNumChannels()).str();
  }

  /// What each sync point sends, as the Sync stage left it in the module.
  void writeSync() {
    auto sites = module()->getAttrOfType<ArrayAttr>("tp.sync");
    json.attributeArray("sync", [&] {
      if (!sites)
        return;
      for (auto site : sites.getAsRange<DictionaryAttr>())
        json.object([&] {
          for (NamedAttribute attr : site) {
            if (auto text = dyn_cast<StringAttr>(attr.getValue()))
              json.attribute(attr.getName().getValue(), text.getValue());
            else if (auto number = dyn_cast<IntegerAttr>(attr.getValue()))
              json.attribute(attr.getName().getValue(), number.getInt());
          }
        });
    });
  }

  /// Along which dimensions a run may be divided in two, or why not.
  void writeHalves() {
    auto halves = module()->getAttrOfType<DictionaryAttr>(kHalvesAttrName);
    if (!halves || options.isRotated())
      return;
    json.attributeObject("halves", [&] {
      for (NamedAttribute half : halves)
        json.attributeObject(half.getName().getValue(), [&] {
          for (NamedAttribute text : cast<DictionaryAttr>(half.getValue()))
            json.attribute(text.getName().getValue(), cast<StringAttr>(text.getValue()).getValue());
        });
    });
  }

  const Program &program;
  const ManifestOptions &options;
  OStream &json;
};

} // namespace

FailureOr<std::string> caat::writeManifest(const Program &program, const ManifestOptions &options) {
  std::string text;
  llvm::raw_string_ostream os(text);
  OStream json(os, /*IndentSize=*/1);
  if (failed(ManifestWriter(program, options, json).write()))
    return failure();
  os << "\n";
  return text;
}

/// With one entry more, whose value `write` writes.
static std::string withEntry(StringRef manifest, StringRef name, llvm::function_ref<void(raw_ostream &)> write) {
  constexpr StringLiteral end = "\n}\n";
  assert(manifest.ends_with(end) && "not what writeManifest() returns");
  std::string text = manifest.drop_back(end.size()).str();
  llvm::raw_string_ostream os(text);
  os << ",\n \"" << name << "\": ";
  write(os);
  os << end;
  return text;
}

std::string caat::withWeights(StringRef manifest, ArrayRef<std::string> digests) {
  return withEntry(manifest, "weights", [&](raw_ostream &os) {
    os << "[";
    llvm::interleaveComma(digests, os, [&](StringRef digest) { os << '"' << digest << '"'; });
    os << "]";
  });
}

std::string caat::withKernels(StringRef manifest, ArrayRef<KernelFile> files) {
  return withEntry(manifest, "kernel_files", [&](raw_ostream &os) {
    os << "{";
    llvm::interleaveComma(files, os,
                          [&](const KernelFile &file) { os << '"' << file.name << "\": \"" << file.digest << '"'; });
    os << "}";
  });
}

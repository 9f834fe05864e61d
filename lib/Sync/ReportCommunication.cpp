// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// tp-report-communication: what sync points and other collectives send per token.
#include "PolicyText.h"
#include "caat/Support/SafeStream.h"
#include "caat/Sync/Passes.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/ToolOutputFile.h"
#include "llvm/Support/raw_ostream.h"

namespace caat {
#define GEN_PASS_DEF_TPREPORTCOMMUNICATION
#include "caat/Sync/Passes.h.inc"
} // namespace caat

using namespace caat;
using namespace mlir;

namespace {

/// One line: a sync point, a flush, or a collective of the vocabulary.
struct Row {
  std::string site, policy;
  int64_t elements, bytes, bytesBefore;
  bool isSite;
};

struct Report {
  int64_t ranks = 1;
  SmallVector<Row> rows;

  int64_t getBytes() const {
    return sum([](const Row &row) { return row.bytes; });
  }
  int64_t getBytesBefore() const {
    return sum([](const Row &row) { return row.bytesBefore; });
  }
  /// Collectives on the stream that send anything.
  int64_t getSyncPoints() const {
    return sum([](const Row &row) { return row.isSite && row.bytes > 0; });
  }
  int64_t getSyncPointsBefore() const {
    return sum([](const Row &row) { return row.isSite && row.bytesBefore > 0; });
  }

private:
  template <typename F> int64_t sum(F f) const {
    int64_t total = 0;
    for (const Row &row : rows)
      total += f(row);
    return total;
  }
};

} // namespace

static int64_t getWidth(Type type) { return llvm::divideCeil(getElementTypeOrSelf(type).getIntOrFloatBitWidth(), 8); }

/// Elements of one token: the last dimension.
static int64_t getElementsPerToken(Type type) {
  auto shaped = cast<ShapedType>(type);
  return shaped.getRank() == 0 ? 1 : shaped.isDynamicDim(shaped.getRank() - 1) ? 0 : shaped.getShape().back();
}

static Report collect(ModuleOp module) {
  Report report;
  llvm::StringMap<bool> known;
  if (auto entries = module->getAttrOfType<ArrayAttr>(tp::kSyncAttrName))
    for (DictionaryAttr entry : entries.getAsRange<DictionaryAttr>()) {
      auto text = [&](StringRef key) { return cast<StringAttr>(entry.get(key)).str(); };
      auto number = [&](StringRef key) { return cast<IntegerAttr>(entry.get(key)).getInt(); };
      report.rows.push_back({text("site"), text("policy"), number("elements"), number("bytes_per_token"),
                             number("full_bytes_per_token"), true});
      known[text("site")] = true;
    }
  module.walk([&](Operation *op) {
    if (auto mesh = dyn_cast<tp::MeshOp>(op))
      report.ranks = mesh.getNumRanks();
    if (auto site = dyn_cast<tp::SyncPointOp>(op)) {
      int64_t channels = site.getNumChannels(), width = getWidth(site.getPartial().getType());
      int64_t elements = site.getPolicy().getReduced(channels);
      tp::RoundingAttr rounding = site.getPolicy().getRounding();
      int64_t bytes = rounding ? getRoundedBytes(rounding, elements) : elements * width;
      report.rows.push_back(
          {site.getSite().str(), describePolicy(site.getPolicy(), channels), elements, bytes, channels * width, true});
    }
    auto collective = dyn_cast<tp::CollectiveOpInterface>(op);
    if (!collective || known.contains(collective.getSiteName()))
      return;
    int64_t elements = getElementsPerToken(collective.getInput().getType());
    int64_t bytes = elements * getWidth(collective.getInput().getType());
    report.rows.push_back(
        {collective.getSiteName().str(), op->getName().stripDialect().str(), elements, bytes, bytes, false});
  });
  // Sync points first, in the order of the graph.
  SmallVector<Row> others;
  for (const Row &row : report.rows)
    if (!row.isSite)
      others.push_back(row);
  llvm::erase_if(report.rows, [](const Row &row) { return !row.isSite; });
  report.rows.append(others);
  return report;
}

static void writeTable(const Report &report, llvm::raw_ostream &os) {
  size_t width = 4, policyWidth = 6;
  for (const Row &row : report.rows) {
    width = std::max(width, row.site.size());
    policyWidth = std::max(policyWidth, row.policy.size());
  }
  auto line = [&](StringRef site, StringRef policy, StringRef elements, StringRef bytes, StringRef before) {
    os << llvm::left_justify(site, width) << "  " << llvm::left_justify(policy, policyWidth) << "  "
       << llvm::right_justify(elements, 8) << "  " << llvm::right_justify(bytes, 11) << "  "
       << llvm::right_justify(before, 11) << "\n";
  };
  line("site", "policy", "elements", "bytes/token", "before");
  for (const Row &row : report.rows)
    line(row.site, row.policy, std::to_string(row.elements), std::to_string(row.bytes),
         std::to_string(row.bytesBefore));
  line("total", "", "", std::to_string(report.getBytes()), std::to_string(report.getBytesBefore()));
  os << report.getSyncPoints() << " of " << report.getSyncPointsBefore() << " sync points on " << report.ranks
     << " ranks communicate";
  if (report.getBytesBefore() > 0)
    os << llvm::formatv("; share of the bytes {0:F3}", double(report.getBytes()) / report.getBytesBefore());
  os << "\n";
}

static void writeJson(const Report &report, llvm::raw_ostream &os) {
  llvm::json::OStream json(os, 2);
  auto writeRow = [&](const Row &row) {
    json.object([&] {
      json.attribute("site", llvm::json::fixUTF8(row.site));
      json.attribute(row.isSite ? "policy" : "kind", llvm::json::fixUTF8(row.policy));
      json.attribute("elements", row.elements);
      json.attribute("bytes_per_token", row.bytes);
      json.attribute("bytes_per_token_before", row.bytesBefore);
    });
  };
  json.object([&] {
    json.attribute("tp", report.ranks);
    for (bool isSite : {true, false})
      json.attributeArray(isSite ? "sites" : "others", [&] {
        for (const Row &row : report.rows)
          if (row.isSite == isSite)
            writeRow(row);
      });
    json.attributeObject("total", [&] {
      json.attribute("bytes_per_token", report.getBytes());
      json.attribute("bytes_per_token_before", report.getBytesBefore());
      json.attribute("sync_points", report.getSyncPoints());
      json.attribute("sync_points_before", report.getSyncPointsBefore());
    });
  });
  os << "\n";
}

namespace {
struct ReportCommunication : caat::impl::TPReportCommunicationBase<ReportCommunication> {
  using TPReportCommunicationBase::TPReportCommunicationBase;

  void runOnOperation() override {
    Report report = collect(getOperation());
    auto write = [&](llvm::raw_ostream &os) { json ? writeJson(report, os) : writeTable(report, os); };
    if (file.empty())
      return write(safeErrs());
    std::error_code error;
    llvm::ToolOutputFile output(file, error, llvm::sys::fs::OF_Text);
    if (error) {
      getOperation().emitError() << file << ": cannot write the report: " << error.message();
      return signalPassFailure();
    }
    SafeStream os(output.os());
    write(os);
    output.keep();
  }
};
} // namespace

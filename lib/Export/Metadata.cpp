// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Metadata.h"
#include "caat/Artifact/Manifest.h"
#include "dialects/tp/TP.h"
#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace caat;

/// What each sync point sends, as the Sync stage left it in the module.
static llvm::json::Array sitesOf(ModuleOp module) {
  llvm::json::Array list;
  if (auto sites = module->getAttrOfType<ArrayAttr>(tp::kSyncAttrName))
    for (auto site : sites.getAsRange<DictionaryAttr>()) {
      llvm::json::Object entry;
      for (NamedAttribute attr : site) {
        if (auto text = dyn_cast<StringAttr>(attr.getValue()))
          entry[attr.getName().getValue()] = text.getValue();
        else if (auto number = dyn_cast<IntegerAttr>(attr.getValue()))
          entry[attr.getName().getValue()] = number.getInt();
      }
      list.push_back(std::move(entry));
    }
  return list;
}

static std::string text(llvm::json::Value value) { return llvm::formatv("{0}", value).str(); }

void caat::writeMetadata(func::FuncOp function, int64_t rank, int64_t ranks, ::onnx::ModelProto &model) {
  auto module = function->getParentOfType<ModuleOp>();
  auto add = [&](const Twine &key, StringRef value) {
    auto &entry = *model.add_metadata_props();
    entry.set_key(key.str());
    entry.set_value(value.str());
  };
  model.set_producer_name("caat");
  model.set_producer_version(kVersion.str());
  add("caat.rank", std::to_string(rank));
  add("caat.ranks", std::to_string(ranks));
  if (auto digest = module->getAttrOfType<StringAttr>(tp::kPlanAttrName))
    add("caat.plan", digest.getValue());
  if (llvm::json::Array sites = sitesOf(module); !sites.empty())
    add("caat.sites", text(std::move(sites)));

  auto addShard = [&](StringRef name, Attribute attr) {
    auto shard = dyn_cast_or_null<tp::ShardAttr>(attr);
    if (!shard)
      return;
    llvm::json::Array pieces;
    for (const tp::Piece &piece : tp::getPieces(shard.getPieces(), rank))
      pieces.push_back(llvm::json::Array{piece.start, piece.length});
    add("caat.shard." + name,
        text(
            llvm::json::Object{{"dim", shard.getDim()}, {"global", shard.getGlobal()}, {"pieces", std::move(pieces)}}));
  };
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    addShard(model.graph().input(i).name(), function.getArgAttr(i, tp::kShardAttrName));
  for (unsigned i = 0; i < function.getNumResults(); ++i)
    addShard(model.graph().output(i).name(), function.getResultAttr(i, tp::kShardAttrName));
}

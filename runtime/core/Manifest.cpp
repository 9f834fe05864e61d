// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Manifest.h"
#include "caat/runtime/Digest.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/File.h"
#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>
#include <set>

namespace caat::runtime {

namespace {

using Json = nlohmann::json;

constexpr int64_t maxFormat = 11;
constexpr int64_t maxRanks = 1024;
constexpr size_t maxTensorRank = 8;
constexpr size_t maxEntries = 1 << 20;
constexpr size_t maxManifestBytes = 256 << 20;

constexpr std::string_view kindNames[numCollectiveKinds] = {
    "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "permute", "broadcast", "quantized_all_reduce"};

/// Walks the JSON and knows where it is, so that each message names the entry.
class Reader {
public:
  Reader(const Json &json, std::string where, const std::vector<std::string> &dims)
      : json(json), where(std::move(where)), dims(dims) {}

  template <typename... Parts> [[noreturn]] void error(const Parts &...parts) const {
    failArtifact(where, ": ", parts...);
  }

  bool has(const char *key) const { return json.is_object() && json.contains(key) && !json[key].is_null(); }
  Reader at(const char *key) const {
    if (!json.is_object())
      error("expected an object");
    if (!has(key))
      error("'", key, "' is missing");
    return {json[key], where + "." + key, dims};
  }
  /// The elements of the array at `key`, none where it is absent.
  std::vector<Reader> list(const char *key) const {
    std::vector<Reader> elements;
    if (has(key))
      elements = at(key).elements();
    return elements;
  }
  std::vector<Reader> elements() const {
    if (!json.is_array())
      error("expected an array");
    if (json.size() > maxEntries)
      error("has ", json.size(), " entries, the limit is ", maxEntries);
    std::vector<Reader> result;
    for (size_t i = 0; i < json.size(); ++i)
      result.emplace_back(json[i], where + "[" + std::to_string(i) + "]", dims);
    return result;
  }
  /// The entries of an object.
  std::vector<std::pair<std::string, Reader>> members() const {
    if (!json.is_object())
      error("expected an object");
    std::vector<std::pair<std::string, Reader>> result;
    for (const auto &[key, value] : json.items())
      result.emplace_back(key, Reader(value, where + "." + key, dims));
    return result;
  }
  std::string string() const {
    if (!json.is_string())
      error("expected a string");
    std::string text = json.get<std::string>();
    if (text.find('\0') != std::string::npos)
      error("contains a NUL character");
    return text;
  }
  int64_t integer(int64_t low, int64_t high) const {
    if (!json.is_number_integer() || (json.is_number_unsigned() && json.get<uint64_t>() > INT64_MAX))
      error("expected an integer");
    int64_t value = json.get<int64_t>();
    if (value < low || value > high)
      error(value, " is not in [", low, ", ", high, "]");
    return value;
  }
  bool boolean() const {
    if (!json.is_boolean())
      error("expected true or false");
    return json.get<bool>();
  }
  DType dtype() const {
    std::string name = string();
    std::optional<DType> type = dtypeFromName(name);
    if (!type)
      error("unknown element type '", name, "'");
    return *type;
  }
  ShapeExpr expression() const {
    if (json.is_number_integer())
      return ShapeExpr(integer(0, INT64_MAX));
    try {
      return ShapeExpr::parse(string(), dims);
    } catch (const Error &e) {
      error(e.what());
    }
  }
  std::vector<ShapeExpr> shape() const {
    std::vector<ShapeExpr> result;
    for (const Reader &dim : elements())
      result.push_back(dim.expression());
    if (result.size() > maxTensorRank)
      error("has ", result.size(), " dimensions, the limit is ", maxTensorRank);
    return result;
  }

private:
  const Json &json;
  std::string where;
  const std::vector<std::string> &dims;
};

ShardSpec readShard(const Reader &reader, const std::vector<ShapeExpr> &shape, int tp) {
  ShardSpec shard;
  if (shape.empty())
    reader.error("a scalar cannot be sharded");
  shard.dim = reader.at("dim").integer(0, static_cast<int64_t>(shape.size()) - 1);
  shard.global = reader.at("global").integer(0, INT64_MAX / 2);
  std::optional<int64_t> local = shape[shard.dim].asConstant();
  if (!local)
    reader.error("dimension ", shard.dim, " is sharded and must have a known size");
  std::vector<Reader> ranks = reader.at("pieces").elements();
  if (ranks.size() != static_cast<size_t>(tp))
    reader.error("has pieces for ", ranks.size(), " ranks, tp is ", tp);
  std::vector<std::array<int64_t, 2>> all;
  for (const Reader &rank : ranks) {
    int64_t used = 0;
    auto &pieces = shard.pieces.emplace_back();
    for (const Reader &piece : rank.elements()) {
      std::vector<Reader> pair = piece.elements();
      if (pair.size() != 2)
        piece.error("expected [start, length]");
      int64_t start = pair[0].integer(-1, shard.global);
      int64_t length = pair[1].integer(0, start < 0 ? *local : shard.global - start);
      used += length;
      if (used > *local)
        rank.error("pieces have more than the local size ", *local);
      if (length == 0)
        continue;
      pieces.push_back({start, length});
      if (start >= 0)
        all.push_back({start, length});
    }
  }
  std::sort(all.begin(), all.end());
  int64_t covered = 0;
  for (auto [start, length] : all) {
    if (start > covered)
      break;
    covered = std::max(covered, start + length);
  }
  if (covered < shard.global)
    reader.error("no rank holds index ", covered, " of ", shard.global);
  return shard;
}

ArraySpec readArray(const Reader &reader, int tp, const char *nameKey = "name") {
  ArraySpec array;
  array.name = reader.at(nameKey).string();
  array.dtype = reader.at("dtype").dtype();
  if (reader.has("declared")) {
    array.declared = reader.at("declared").dtype();
    if (!isConvertible(*array.declared) || !isConvertible(array.dtype))
      reader.error("an array of type ", nameOf(*array.declared), " cannot be ", nameOf(array.dtype), " in the program");
  }
  array.shape = reader.at("shape").shape();
  if (reader.has("shard"))
    array.shard = readShard(reader.at("shard"), array.shape, tp);
  return array;
}

CacheSpec readCache(const Reader &reader, int tp, const Manifest &manifest) {
  CacheSpec cache;
  cache.array = readArray(reader, tp, "past");
  cache.present = reader.at("present").string();
  cache.axis = reader.at("axis").integer(0, static_cast<int64_t>(cache.array.shape.size()) - 1);
  cache.pastLength = reader.at("past_length").expression();
  cache.presentLength = reader.at("present_length").expression();
  std::optional<size_t> maxLength = manifest.dim("max_length");
  if (!maxLength)
    reader.error("there are caches but no dimension 'max_length'");
  if (cache.array.shape[cache.axis].asSymbol() != static_cast<int64_t>(*maxLength))
    reader.error("dimension ", cache.axis, " of a cache must be 'max_length'");
  if (cache.array.shard && cache.array.shard->dim == cache.axis)
    reader.error("a cache cannot be sharded along its positions");
  return cache;
}

BlockFormat readBlocks(const Reader &reader, const ParameterSpec &parameter) {
  BlockFormat blocks;
  blocks.bits = static_cast<int>(reader.at("bits").integer(4, 8));
  blocks.size = reader.at("size").integer(16, 256);
  blocks.scales = reader.at("scales").dtype();
  std::string offset = reader.at("offset").string();
  std::optional<BlockOffset> found = blockOffsetFromName(offset);
  if (!found)
    reader.error("unknown offset '", offset, "'");
  blocks.offset = *found;
  if (blocks.bits != 4 && blocks.bits != 8)
    reader.error("bits: ", blocks.bits, " is not 4 or 8");
  if (!std::has_single_bit(static_cast<uint64_t>(blocks.size)))
    reader.error("size: ", blocks.size, " is not 16, 32, 64, 128 or 256");
  if (blocks.scales != DType::F16 && blocks.scales != DType::F32)
    reader.error("scales: must be f16 or f32, not ", nameOf(blocks.scales));
  if (!parameter.linear || !parameter.transposed || parameter.rotation)
    reader.error("only a linear, transposed parameter that stays with its rank has blocks");
  if (parameter.k() % blocks.size != 0)
    reader.error("size: ", blocks.size, " does not divide ", parameter.k());
  return blocks;
}

ParameterSpec readParameter(const Reader &reader, const Manifest &manifest) {
  ParameterSpec parameter;
  parameter.name = reader.at("name").string();
  parameter.dtype = reader.at("dtype").dtype();
  for (const ShapeExpr &dim : reader.at("shape").shape()) {
    if (!dim.asConstant())
      reader.error("a parameter's shape must be integers");
    parameter.shape.push_back(*dim.asConstant());
  }
  try {
    elementCount(parameter.shape, sizeOf(parameter.dtype));
  } catch (const Error &e) {
    reader.error(e.what());
  }
  std::string kind = reader.at("kind").string();
  if (kind != "buffer" && kind != "linear")
    reader.error("unknown kind '", kind, "'");
  parameter.linear = kind == "linear";
  parameter.transposed = reader.has("transposed") && reader.at("transposed").boolean();
  if (reader.has("rotation")) {
    if (manifest.rotations.empty())
      reader.error("travels with a group, but there are no rotations");
    parameter.rotation = reader.at("rotation").integer(0, static_cast<int64_t>(manifest.rotations.size()) - 1);
  }
  if (parameter.linear && (parameter.shape.size() != 2 || parameter.shape[0] < 1 || parameter.shape[1] < 1))
    reader.error("a linear parameter needs two dimensions of at least 1, this has ", toString(parameter.shape));
  if (parameter.linear && !isConvertible(parameter.dtype))
    reader.error("a linear parameter must be f32, bf16 or f16, this is ", nameOf(parameter.dtype));
  if (reader.has("blocks"))
    parameter.blocks = readBlocks(reader.at("blocks"), parameter);
  return parameter;
}

/// What a quantised all-reduce sends.
WireFormat readWire(const Reader &reader) {
  WireFormat wire;
  wire.channels = reader.at("channels").integer(1, INT32_MAX);
  wire.bits = reader.at("bits").integer(3, 8);
  if (wire.bits != 3 && wire.bits != 4 && wire.bits != 8)
    reader.error("bits: ", wire.bits, " is not 8, 4 or 3");
  wire.block = reader.at("block").integer(8, 1024);
  if (wire.block % 8 != 0)
    reader.error("block: ", wire.block, " is no multiple of 8");
  for (const Reader &channel : reader.list("exact")) {
    wire.exact.push_back(channel.integer(0, wire.channels - 1));
    if (wire.exact.size() > 1 && wire.exact.back() <= wire.exact[wire.exact.size() - 2])
      reader.error("exact: channels must be in ascending order");
  }
  return wire;
}

CollectiveSpec readCollective(const Reader &reader) {
  CollectiveSpec collective;
  collective.name = reader.at("name").string();
  std::string kind = reader.at("kind").string();
  auto found = std::find(std::begin(kindNames), std::end(kindNames), kind);
  if (found == std::end(kindNames))
    reader.error("unknown kind '", kind, "'");
  collective.kind = static_cast<CollectiveKind>(found - std::begin(kindNames));
  collective.dtype = reader.at("dtype").dtype();
  collective.count = reader.at("count").expression();
  if (collective.kind == CollectiveKind::QuantizedAllReduce) {
    collective.wire = readWire(reader.at("wire"));
    if (collective.dtype != DType::F32)
      reader.error("rounds elements of type ", nameOf(collective.dtype), ", not f32");
  }
  return collective;
}

SiteSpec readSite(const Reader &reader) {
  SiteSpec site;
  site.name = reader.at("name").string();
  site.channels = reader.at("channels").integer(1, INT32_MAX);
  if (reader.has("input"))
    site.input = reader.at("input").integer(1, INT32_MAX);
  site.startsBase = reader.has("starts_base") && reader.at("starts_base").boolean();
  site.startsPending = reader.has("starts_pending") && reader.at("starts_pending").boolean();
  site.flushes = reader.has("flushes") && reader.at("flushes").boolean();
  if (reader.has("not_deferrable"))
    site.notDeferrable = reader.at("not_deferrable").string();
  if (reader.has("not_private"))
    site.notPrivate = reader.at("not_private").string();
  return site;
}

/// The name of a file in the artifact's directory.
std::string readFileName(const Reader &reader) {
  std::string name = reader.string();
  if (name.empty() || name.find('/') != std::string::npos || name == "." || name == "..")
    reader.error("'", name, "' is not the name of a file in the artifact's directory");
  return name;
}

GpuSpec readGpu(const Reader &reader) {
  GpuSpec gpu;
  gpu.ptx = readFileName(reader.at("ptx"));
  if (reader.has("later_ptx"))
    for (const auto &[architecture, file] : reader.at("later_ptx").members())
      gpu.laterPtx[architecture] = readFileName(file);
  if (reader.has("cubins"))
    for (const auto &[architecture, file] : reader.at("cubins").members())
      gpu.cubins[architecture] = readFileName(file);
  if (reader.has("sums"))
    gpu.sums = reader.at("sums").integer(1, INT32_MAX);
  return gpu;
}

LaunchSpec readLaunch(const Reader &reader) {
  LaunchSpec launch;
  launch.threads = reader.at("threads").integer(1, 1024);
  if (reader.has("rows_per_block"))
    launch.rowsPerBlock = reader.at("rows_per_block").integer(1, INT32_MAX);
  if (reader.has("blocks_per_row"))
    launch.blocksPerRow = reader.at("blocks_per_row").integer(1, INT32_MAX);
  if (reader.has("shared"))
    launch.shared = reader.at("shared").integer(0, 1 << 20);
  if (reader.has("dependent"))
    launch.dependent = reader.at("dependent").boolean();
  if (reader.has("sum_buffer"))
    launch.sum = {reader.at("sum_buffer").integer(0, INT32_MAX), reader.at("sum_elements").integer(1, INT32_MAX)};
  if (launch.sum && launch.blocksPerRow > 1)
    reader.at("sum_buffer").error("rows of several blocks are not summed in a kernel");
  return launch;
}

/// As Digest writes it.
std::string readDigest(const Reader &reader) {
  std::string digest = reader.string();
  if (digest.size() != Digest::textLength || digest.find_first_not_of("0123456789abcdef") != std::string::npos)
    reader.error("'", digest, "' is no digest: ", Digest::textLength, " hexadecimal digits");
  return digest;
}

std::map<std::string, std::string> readKernelFiles(const Reader &reader, const GpuSpec &gpu) {
  std::map<std::string, std::string> digests;
  for (const auto &[file, digest] : reader.members())
    digests[file] = readDigest(digest);
  for (const std::string &file : gpu.files())
    if (!digests.contains(file))
      reader.error("has no digest of ", file);
  return digests;
}

/// Of each rank's file.
std::vector<std::string> readWeights(const Reader &root, int ranks) {
  std::vector<std::string> digests;
  for (const Reader &reader : root.list("weights"))
    digests.push_back(readDigest(reader));
  if (!digests.empty() && digests.size() != static_cast<size_t>(ranks))
    root.at("weights").error("has ", digests.size(), " digests for ", ranks, " ranks");
  return digests;
}

void checkUnique(const std::vector<std::string> &names, const std::string &what) {
  std::set<std::string> seen;
  for (const std::string &name : names)
    if (!seen.insert(name).second)
      failArtifact(what, ": '", name, "' appears twice");
}

/// {"dim": name} or {"refused": why}.
void readHalves(const Reader &entry, const Manifest &manifest, std::optional<size_t> &dim, std::string &refused) {
  if (!entry.has("dim")) {
    refused = entry.at("refused").string();
    return;
  }
  std::string name = entry.at("dim").string();
  dim = manifest.dim(name);
  if (!dim)
    entry.error("'", name, "' is no dimension of the program");
}

} // namespace

std::string_view nameOf(CollectiveKind kind) { return kindNames[static_cast<int>(kind)]; }

Shape ArraySpec::evaluate(std::span<const int64_t> dims) const {
  Shape result;
  for (const ShapeExpr &dim : shape) {
    try {
      result.push_back(dim.evaluate(dims));
    } catch (const Error &e) { // which knows the expression alone
      throw Error(e.kind, detail::concat("'", name, "': ", e.what()));
    }
    if (result.back() < 0)
      failInput("'", name, "': size '", dim.text(), "' is ", result.back(), " for these inputs");
  }
  return result;
}

std::optional<size_t> Manifest::dim(std::string_view name) const {
  auto found = std::find(dims.begin(), dims.end(), name);
  return found == dims.end() ? std::nullopt : std::optional<size_t>(found - dims.begin());
}

std::vector<std::string> GpuSpec::files() const {
  std::vector<std::string> names = {ptx};
  for (const auto *more : {&laterPtx, &cubins})
    for (const auto &[architecture, file] : *more)
      names.push_back(file);
  return names;
}

Manifest Manifest::read(const std::string &path) {
  MappedFile file = MappedFile::open(path);
  if (file.size() > maxManifestBytes)
    failArtifact(path, ": ", file.size(), " bytes, the limit is ", maxManifestBytes);
  return parse({reinterpret_cast<const char *>(file.data()), file.size()}, path);
}

Manifest Manifest::parse(std::string_view text, const std::string &origin) {
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::exception &e) {
    failArtifact(origin, ": not valid JSON: ", e.what());
  }
  Manifest manifest;
  Reader root(json, origin, manifest.dims);

  int64_t format = root.at("format").integer(1, INT64_MAX);
  if (format > maxFormat)
    failArtifact(origin, ": format ", format, " is newer than this runtime reads (", maxFormat, "); update caat");
  manifest.tp = static_cast<int>(root.at("tp").integer(1, maxRanks));
  if (root.has("strategy"))
    manifest.strategy = root.at("strategy").string();
  if (root.has("target") && root.at("target").has("device"))
    manifest.device = root.at("target").at("device").string();
  if (root.has("target") && root.at("target").has("features"))
    manifest.features = root.at("target").at("features").string();
  manifest.code = readFileName(root.at("code"));

  for (const Reader &dim : root.list("dims"))
    manifest.dims.push_back(dim.string());
  checkUnique(manifest.dims, origin + ".dims");
  if (manifest.strategy == "rtp") {
    std::string batch = root.at("batch").string();
    manifest.batch = manifest.dim(batch);
    if (!manifest.batch)
      failArtifact(origin, ".batch: '", batch, "' is no dimension of the program");
    std::vector<std::string> groups;
    for (const Reader &rotation : root.list("rotations")) {
      RotationSpec &spec = manifest.rotations.emplace_back();
      groups.push_back(spec.name = rotation.at("name").string());
      if (rotation.has("spare"))
        spec.spare = rotation.at("spare").integer(0, maxEntries - 1);
    }
    checkUnique(groups, origin + ".rotations");
  } else if (!manifest.strategy.empty() && manifest.strategy != "tp") {
    failArtifact(origin, ".strategy: '", manifest.strategy, "' is not known to this runtime; update caat");
  }
  if (root.has("halves")) {
    Reader halves = root.at("halves");
    readHalves(halves.at("tokens"), manifest, manifest.halves.tokens, manifest.halves.tokensRefused);
    readHalves(halves.at("batch"), manifest, manifest.halves.batch, manifest.halves.batchRefused);
  }
  std::vector<std::string> names;
  for (const Reader &input : root.list("inputs"))
    names.push_back(manifest.inputs.emplace_back(readArray(input, manifest.tp)).name);
  for (const Reader &cache : root.list("caches"))
    names.push_back(manifest.caches.emplace_back(readCache(cache, manifest.tp, manifest)).array.name);
  checkUnique(names, origin + ".inputs");
  names.clear();
  for (const Reader &output : root.list("outputs"))
    names.push_back(manifest.outputs.emplace_back(readArray(output, manifest.tp)).name);
  for (const CacheSpec &cache : manifest.caches)
    names.push_back(cache.present);
  checkUnique(names, origin + ".outputs");
  for (const Reader &parameter : root.list("parameters"))
    manifest.parameters.push_back(readParameter(parameter, manifest));
  for (const Reader &kernel : root.list("kernels"))
    manifest.kernels.push_back(kernel.string());
  if (manifest.device == "cuda") {
    manifest.gpu = readGpu(root.at("gpu"));
    if (root.has("kernel_files"))
      manifest.gpu->digests = readKernelFiles(root.at("kernel_files"), *manifest.gpu);
    for (const Reader &launch : root.list("launches"))
      manifest.launches.push_back(readLaunch(launch));
    if (manifest.launches.size() != manifest.kernels.size())
      failArtifact(origin, ".launches: has ", manifest.launches.size(), " entries for ", manifest.kernels.size(),
                   " kernels");
  }
  for (const Reader &message : root.list("messages"))
    manifest.messages.push_back(message.string());
  for (const Reader &collective : root.list("collectives"))
    manifest.collectives.push_back(readCollective(collective));
  names.clear();
  for (const Reader &site : root.list("sites"))
    names.push_back(manifest.sites.emplace_back(readSite(site)).name);
  checkUnique(names, origin + ".sites");
  if (root.has("heads"))
    for (const auto &[site, order] : root.at("heads").members())
      for (const Reader &head : order.elements())
        manifest.heads[site].push_back(head.integer(0, INT32_MAX));
  if (root.has("digest"))
    manifest.digest = root.at("digest").string();
  manifest.weights = readWeights(root, manifest.tp);
  if (root.has("vocabulary"))
    manifest.vocabulary = root.at("vocabulary").integer(1, INT32_MAX);
  if (root.has("max_length"))
    manifest.maxLength = root.at("max_length").integer(1, INT32_MAX);
  return manifest;
}

} // namespace caat::runtime

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Manifest.h"
#include "Expect.h"
#include "TinyModel.h"
#include <nlohmann/json.hpp>

using namespace caat::runtime;
using namespace caat::test;
using Json = nlohmann::json;

namespace {

Manifest parse(const Json &json) { return Manifest::parse(json.dump(), "manifest.json"); }

TEST(Manifest, ReadsEverything) {
  Manifest m = Manifest::parse(tinyManifest(3), "manifest.json");
  EXPECT_EQ(m.tp, 3);
  EXPECT_EQ(m.dims, (std::vector<std::string>{"batch", "seq", "past", "max_length"}));
  ASSERT_EQ(m.inputs.size(), 2u);
  EXPECT_EQ(m.inputs[1].evaluate(std::vector<int64_t>{2, 3, 4, 64}), (Shape{2, 7}));
  expectError("'attention_mask': size expression 'past + seq' overflows for these inputs",
              [&] { m.inputs[1].evaluate(std::vector<int64_t>{2, INT64_MAX, 1, 64}); });
  ASSERT_EQ(m.caches.size(), 1u);
  EXPECT_EQ(m.caches[0].present, "present.0");
  ASSERT_TRUE(m.outputs[0].shard);
  EXPECT_EQ(m.outputs[0].shard->pieces[2], (std::vector<std::array<int64_t, 2>>{{10, 3}}));
  EXPECT_EQ(m.parameters[2].k(), 12);
  EXPECT_EQ(m.parameters[2].n(), 5);
  EXPECT_EQ(m.collectives[2].kind, CollectiveKind::AllGather);
  EXPECT_EQ(m.vocabulary, 13);
  EXPECT_EQ(m.bufferCount(), 7u);
}

TEST(Manifest, ReadsWhatIsRounded) {
  Json json = Json::parse(tinyManifest(2));
  Json &collective = json["collectives"][0];
  collective["kind"] = "quantized_all_reduce";
  collective["wire"] = {{"channels", 576}, {"bits", 4}, {"block", 64}, {"exact", {3, 500}}};
  WireFormat wire = parse(json).collectives[0].wire;
  EXPECT_EQ(wire.channels, 576);
  EXPECT_EQ(wire.bits, 4);
  EXPECT_EQ(wire.block, 64);
  EXPECT_EQ(wire.exact, (std::vector<int64_t>{3, 500}));
  auto refuses = [&](const char *key, const Json &value, const std::string &message) {
    Json damaged = json;
    damaged["collectives"][0]["wire"][key] = value;
    expectError(message, [&] { parse(damaged); });
  };
  refuses("channels", 0, "0 is not in [1");
  refuses("bits", 5, "bits: 5 is not 8, 4 or 3");
  refuses("block", 12, "block: 12 is no multiple of 8");
  refuses("block", 4096, "4096 is not in [8, 1024]");
  refuses("exact", {576}, "576 is not in [0, 575]");
  refuses("exact", {5, 5}, "exact: channels must be in ascending order");
  collective["dtype"] = "bf16";
  expectError("rounds elements of type bf16, not f32", [&] { parse(json); });
}

TEST(Manifest, ReadsBlocks) {
  Json json = Json::parse(tinyManifest(2));
  Json &parameter = json["parameters"][1];
  parameter["shape"] = {7, 96};
  parameter["transposed"] = true;
  parameter["blocks"] = {{"bits", 4}, {"size", 32}, {"scales", "f16"}, {"offset", "zeros"}};
  ParameterSpec read = parse(json).parameters[1];
  EXPECT_EQ(read.blocks, (BlockFormat{4, 32, DType::F16, BlockOffset::Zeros}));
  EXPECT_EQ(read.storedType(), DType::UI8);
  EXPECT_EQ(read.storedShape(), (Shape{7, 48 + 6 + 3}));
  EXPECT_EQ(read.storedBytes(), 7u * 57);
  auto refuses = [&](const char *pointer, const Json &value, const std::string &message) {
    Json damaged = json;
    damaged["parameters"][1][Json::json_pointer(pointer)] = value;
    expectError(message, [&] { parse(damaged); });
  };
  refuses("/blocks/bits", 5, "parameters[1].blocks: bits: 5 is not 4 or 8");
  refuses("/blocks/size", 48, "size: 48 is not 16, 32, 64, 128 or 256");
  refuses("/blocks/size", 64, "size: 64 does not divide 96");
  refuses("/blocks/scales", "i8", "scales: must be f16 or f32, not i8");
  refuses("/blocks/offset", "mean", "unknown offset 'mean'");
  refuses("/transposed", false, "only a linear, transposed parameter");
  refuses("/kind", "buffer", "only a linear, transposed parameter");
}

struct Damage {
  const char *name;
  std::string pointer; // JSON pointer of the entry to change
  Json value;
  const char *message;
};

std::ostream &operator<<(std::ostream &out, const Damage &damage) { return out << damage.name; }

class ManifestDamage : public testing::TestWithParam<Damage> {};

TEST_P(ManifestDamage, IsRefused) {
  Json json = Json::parse(tinyManifest(2));
  const Damage &damage = GetParam();
  if (damage.value.is_discarded())
    json.erase(damage.pointer.substr(1));
  else
    json[Json::json_pointer(damage.pointer)] = damage.value;
  expectError(damage.message, [&] { parse(json); });
}

TEST(Manifest, ReadsRotations) {
  Json json = Json::parse(tinyManifest(2));
  json["strategy"] = "rtp";
  json["batch"] = "batch";
  json["rotations"] = {{{"name", "a"}, {"spare", 1}}, {{"name", "b"}}};
  Manifest m = parse(json);
  ASSERT_EQ(m.rotations.size(), 2u);
  EXPECT_EQ(m.rotations[0].spare, 1u);
  EXPECT_FALSE(m.rotations[1].spare);
  json["rotations"][1]["name"] = "a";
  expectError("'a' appears twice", [&] { parse(json); });
  json["rotations"][0]["spare"] = -1;
  expectError("rotations[0].spare: -1 is not in", [&] { parse(json); });
}

TEST(Manifest, ReadsKernelsOfAGpu) {
  Json json = Json::parse(tinyManifest(2));
  json["target"]["device"] = "cuda";
  expectError("'gpu' is missing", [&] { parse(json); });
  json["gpu"] = {
      {"ptx", "kernels.ptx"}, {"later_ptx", {{"sm_90", "later.ptx"}}}, {"cubins", {{"sm_90", "kernels-sm_90.cubin"}}}};
  expectError(".launches: has 0 entries for 3 kernels", [&] { parse(json); });
  json["gpu"]["sums"] = 3;
  Json launch = {{"threads", 128}, {"rows_per_block", 4}, {"shared", 1024}, {"sum_buffer", 2}, {"sum_elements", 96}};
  json["launches"] = {launch, launch, {{"threads", 32}, {"blocks_per_row", 7}}};
  Manifest m = parse(json);
  EXPECT_EQ(m.gpu->ptx, "kernels.ptx");
  EXPECT_EQ(m.gpu->laterPtx.at("sm_90"), "later.ptx");
  EXPECT_EQ(m.gpu->cubins.at("sm_90"), "kernels-sm_90.cubin");
  ASSERT_EQ(m.launches.size(), 3u);
  EXPECT_EQ(m.launches[0].threads, 128);
  EXPECT_EQ(m.launches[0].rowsPerBlock, 4);
  EXPECT_EQ(m.launches[0].shared, 1024);
  EXPECT_EQ(m.launches[0].blocksPerRow, 1);
  EXPECT_EQ(m.launches[2].rowsPerBlock, 1);
  EXPECT_EQ(m.launches[2].blocksPerRow, 7);
  EXPECT_EQ(m.gpu->sums, 3);
  EXPECT_TRUE(m.gpu->digests.empty());
  json["kernel_files"] = {{"kernels.ptx", "0123456789abcdef"},
                          {"later.ptx", "0000000000000001"},
                          {"kernels-sm_90.cubin", "0000000000000002"}};
  EXPECT_EQ(parse(json).gpu->digests.at("later.ptx"), "0000000000000001");
  ASSERT_TRUE(m.launches[0].sum);
  EXPECT_EQ(m.launches[0].sum->buffer, 2);
  EXPECT_EQ(m.launches[0].sum->elements, 96);
  EXPECT_FALSE(m.launches[2].sum);
  auto refuses = [&](const char *pointer, const Json &value, const std::string &message) {
    Json damaged = json;
    damaged[Json::json_pointer(pointer)] = value;
    expectError(message, [&] { parse(damaged); });
  };
  refuses("/launches/0/threads", 2048, "2048 is not in [1, 1024]");
  refuses("/launches/1/rows_per_block", 0, "launches[1].rows_per_block: 0 is not in [1");
  refuses("/launches/2/blocks_per_row", 0, "launches[2].blocks_per_row: 0 is not in [1");
  refuses("/launches/0/sum_elements", 0, "launches[0].sum_elements: 0 is not in [1");
  refuses("/launches/0/blocks_per_row", 2, "launches[0].sum_buffer: rows of several blocks are not summed in a kernel");
  refuses("/gpu/ptx", "../kernels.ptx", "gpu.ptx: '../kernels.ptx' is not the name of a file");
  refuses("/gpu/later_ptx/sm_90", "..", "gpu.later_ptx.sm_90: '..' is not the name of a file");
  refuses("/kernel_files/later.ptx", "1", "kernel_files.later.ptx: '1' is no digest: 16 hexadecimal digits");
  refuses("/gpu/later_ptx/sm_90", "other.ptx", "kernel_files: has no digest of other.ptx");
  refuses("/gpu/cubins/sm_90", "/x", "gpu.cubins.sm_90: '/x' is not the name of a file");
}

const Json removed = Json(Json::value_t::discarded);

INSTANTIATE_TEST_SUITE_P(
    Entries, ManifestDamage,
    testing::Values(Damage{"newer", "/format", 12, "format 12 is newer"},
                    Damage{"strategy", "/strategy", "pp", ".strategy: 'pp' is not known"},
                    Damage{"noBatch", "/strategy", "rtp", "'batch' is missing"},
                    Damage{"rotation", "/parameters/1/rotation", 0, "there are no rotations"},
                    Damage{"noFormat", "/format", removed, "'format' is missing"},
                    Damage{"noRanks", "/tp", 0, "manifest.json.tp: 0 is not in [1, 1024]"},
                    Damage{"textForNumber", "/tp", "2", "manifest.json.tp: expected an integer"},
                    Damage{"hugeNumber", "/tp", 18446744073709551615u, "expected an integer"},
                    Damage{"codeElsewhere", "/code", "../code.so", "is not the name of a file"},
                    Damage{"codeAbsolute", "/code", "/lib/x.so", "is not the name of a file"},
                    Damage{"codeWithNul", "/code", std::string("a\0b", 3), "contains a NUL"},
                    Damage{"dimTwice", "/dims/1", "batch", "'batch' appears twice"},
                    Damage{"dimsNoArray", "/dims", "batch", "manifest.json.dims: expected an array"},
                    Damage{"unknownType", "/inputs/0/dtype", "i128", "inputs[0].dtype: unknown element type 'i128'"},
                    Damage{"unknownDim", "/inputs/0/shape/0", "time", "unknown dimension 'time'"},
                    Damage{"negativeDim", "/inputs/0/shape/0", -1, "inputs[0].shape[0]: -1 is not in"},
                    Damage{"manyDims", "/inputs/0/shape", Json::array({1, 1, 1, 1, 1, 1, 1, 1, 1}), "has 9 dimensions"},
                    Damage{"declaredType", "/inputs/0/declared", "f16",
                           "an array of type f16 cannot be i64 in the program"},
                    Damage{"inputTwice", "/inputs/1/name", "input_ids", "'input_ids' appears twice"},
                    Damage{"pastIsInput", "/caches/0/past", "input_ids", "'input_ids' appears twice"},
                    Damage{"presentIsOutput", "/caches/0/present", "logits", "'logits' appears twice"},
                    Damage{"cacheAxis", "/caches/0/axis", 1, "must be 'max_length'"},
                    Damage{"cacheAxisOutside", "/caches/0/axis", 4, "4 is not in [0, 3]"},
                    Damage{"noMaxLength", "/dims/3", "max", "unknown dimension 'max_length'"},
                    Damage{"shardDim", "/outputs/0/shard/dim", 3, "3 is not in [0, 2]"},
                    Damage{"shardUnknownSize", "/outputs/0/shape/2", "seq", "must have a known size"},
                    Damage{"shardRanks", "/outputs/0/shard/pieces", Json::array({Json::array()}),
                           "has pieces for 1 ranks, tp is 2"},
                    Damage{"shardHole", "/outputs/0/shard/pieces/1/0/1", 5, "no rank holds index 12 of 13"},
                    Damage{"shardOutside", "/outputs/0/shard/pieces/1/0/1", 7, "7 is not in [0, 6]"},
                    Damage{"shardTooWide", "/outputs/0/shape/2", 6, "more than the local size 6"},
                    Damage{"parameterKind", "/parameters/0/kind", "sparse", "unknown kind 'sparse'"},
                    Damage{"parameterSymbol", "/parameters/0/shape/0", "seq", "must be integers"},
                    Damage{"parameterHuge", "/parameters/0/shape/0", INT64_MAX, "too many"},
                    Damage{"linearRank", "/parameters/1/shape", Json::array({12}), "needs two dimensions"},
                    Damage{"linearType", "/parameters/1/dtype", "i8", "must be f32, bf16 or f16"},
                    Damage{"transposedNumber", "/parameters/1/transposed", 1, "expected true or false"},
                    Damage{"collectiveKind", "/collectives/0/kind", "gossip", "unknown kind 'gossip'"},
                    Damage{"collectiveWire", "/collectives/0/kind", "quantized_all_reduce", "'wire' is missing"},
                    Damage{"digest", "/weights", Json::array({"0123456789abcdef", "0123456789ABCDEF"}),
                           "weights[1]: '0123456789ABCDEF' is no digest: 16 hexadecimal digits"},
                    Damage{"digests", "/weights", Json::array({"0123456789abcdef"}), "has 1 digests for 2 ranks"},
                    Damage{"vocabulary", "/vocabulary", 0, "vocabulary: 0 is not in"}),
    [](const auto &info) { return info.param.name; });

TEST(Manifest, RefusesWhatIsNoJson) {
  for (std::string text : {std::string(), std::string("{"), std::string("[]"), std::string("null"),
                           tinyManifest(2).substr(0, 500), std::string(100000, '['), std::string("\xff\xfe{}")})
    EXPECT_THROW(Manifest::parse(text, "manifest.json"), Error) << text.substr(0, 20);
}

TEST(Manifest, SurvivesEverySingleByteChange) {
  std::string good = tinyManifest(2);
  for (size_t i = 0; i < good.size(); ++i)
    for (char c : {'\0', '"', '9', '-', ']'}) {
      std::string text = good;
      text[i] = c;
      try {
        Manifest::parse(text, "manifest.json");
      } catch (const Error &) {
      }
    }
}

} // namespace

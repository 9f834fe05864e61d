// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "TinyModel.h"
#include "caat/runtime/SafeTensors.h"
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <unistd.h>

using namespace caat::runtime;
using Json = nlohmann::json;

namespace caat::test {

static float weight(int which, int64_t i, int64_t j) {
  return static_cast<float>(
      std::sin(1.0 + which * 100.0 + static_cast<double>(i) * 3.7 + static_cast<double>(j) * 1.3));
}
static float embed(int64_t id, int64_t c) { return weight(0, id, c); }
static float mix(int64_t i, int64_t j) { return 0.2f * weight(1, i, j); }
static float head(int64_t id, int64_t c) { return weight(2, id, c); }

static Json pieces(int64_t total, int tp) {
  int64_t part = (total + tp - 1) / tp;
  Json result = Json::array();
  for (int64_t r = 0; r < tp; ++r) {
    int64_t begin = std::min(total, r * part), end = std::min(total, begin + part);
    result.push_back(Json::array({Json::array({begin, end - begin})}));
  }
  return result;
}

std::string tinyManifest(int tp, bool cache) {
  int64_t rows = (vocabulary + tp - 1) / tp;
  Json m = {{"format", 1}, {"caat", "0.1.0"}, {"tp", tp}, {"strategy", "tp"}, {"code", "code.so"}};
  m["target"] = {{"device", "cpu"}};
  m["dims"] = {"batch", "seq", "past", "max_length"};
  m["inputs"] = {{{"name", "input_ids"}, {"dtype", "i64"}, {"shape", {"batch", "seq"}}},
                 {{"name", "attention_mask"}, {"dtype", "i64"}, {"shape", {"batch", "past + seq"}}}};
  m["caches"] = {{{"past", "past.0"},
                  {"present", "present.0"},
                  {"dtype", "f32"},
                  {"shape", {"batch", 1, "max_length", hidden / tp}},
                  {"axis", 2},
                  {"past_length", "past"},
                  {"present_length", "past + seq"},
                  {"shard", {{"dim", 1}, {"global", tp}, {"pieces", pieces(tp, tp)}}}}};
  m["outputs"] = {{{"name", "logits"},
                   {"dtype", "f32"},
                   {"shape", {"batch", "seq", rows}},
                   {"shard", {{"dim", 2}, {"global", vocabulary}, {"pieces", pieces(vocabulary, tp)}}}}};
  m["parameters"] = {
      {{"name", "embed"}, {"dtype", "f32"}, {"shape", {rows, hidden}}, {"kind", "buffer"}},
      {{"name", "mix"}, {"dtype", "f32"}, {"shape", {hidden, hidden}}, {"kind", "linear"}, {"transposed", false}},
      {{"name", "head"}, {"dtype", "f32"}, {"shape", {rows, hidden}}, {"kind", "linear"}, {"transposed", true}}};
  m["kernels"] = {"tiny_embed", "tiny_add", "tiny_append"};
  m["messages"] = {"a sequence must not start with token 12", "the first token must not be masked"};
  Json count = "batch * seq * " + std::to_string(hidden);
  m["collectives"] = {{{"name", "embed"}, {"kind", "all_reduce"}, {"dtype", "f32"}, {"count", count}},
                      {{"name", "layers.0.mlp"}, {"kind", "all_reduce"}, {"dtype", "f32"}, {"count", count}},
                      {{"name", "heads"}, {"kind", "all_gather"}, {"dtype", "f32"}, {"count", count}}};
  m["halves"] = {{"tokens", {{"dim", "seq"}}}, {"batch", {{"dim", "batch"}}}};
  m["digest"] = "0123456789abcdef";
  m["vocabulary"] = vocabulary;
  m["max_length"] = maxLength;
  if (!cache) {
    m["dims"] = {"batch", "seq"};
    m["inputs"][1]["shape"] = {"batch", "seq"};
    m.erase("caches");
    m["halves"]["tokens"] = {{"refused", "there is no cache"}};
  }
  return m.dump(1);
}

void writeTinyArtifact(const std::string &directory, const std::string &code, int tp, bool cache) {
  std::filesystem::create_directories(directory);
  std::ofstream(directory + "/manifest.json") << tinyManifest(tp, cache);
  std::filesystem::copy_file(code, directory + "/code.so", std::filesystem::copy_options::overwrite_existing);
  int64_t rows = (vocabulary + tp - 1) / tp, local = hidden / tp;
  for (int r = 0; r < tp; ++r) {
    Tensor e(DType::F32, {rows, hidden}), m(DType::F32, {hidden, hidden}), h(DType::F32, {rows, hidden});
    for (int64_t i = 0; i < rows && r * rows + i < vocabulary; ++i)
      for (int64_t c = 0; c < hidden; ++c) {
        e.as<float>()[i * hidden + c] = embed(r * rows + i, c);
        h.as<float>()[i * hidden + c] = head(r * rows + i, c);
      }
    // Row-parallel: this rank multiplies its part of x's channels, the other rows are zero.
    for (int64_t i = r * local; i < (r + 1) * local; ++i)
      for (int64_t c = 0; c < hidden; ++c)
        m.as<float>()[i * hidden + c] = mix(i, c);
    writeSafeTensors(directory + "/weights-" + std::to_string(r) + ".safetensors",
                     {{"embed", e}, {"mix", m}, {"head", h}});
  }
}

void makeTinyArtifactForGpu(const std::string &directory) {
  std::string path = directory + "/manifest.json";
  Json m = Json::parse(std::ifstream(path));
  m["target"]["device"] = "cuda";
  m["gpu"] = {{"ptx", "kernels.ptx"}};
  std::ofstream ptx(directory + "/kernels.ptx");
  ptx << ".version 8.0\n.target sm_80\n.address_size 64\n";
  constexpr int dims = 5;
  for (auto [kernel, buffers] : {std::pair("tiny_embed", 3), {"tiny_add", 2}, {"tiny_append", 3}}) {
    m["launches"].push_back({{"threads", 32}, {"rows_per_block", 2}});
    ptx << "\n.visible .entry " << kernel << "(";
    for (int i = 0; i < buffers + dims + 1; ++i)
      ptx << (i ? ", " : "") << ".param .u64 p" << i;
    ptx << ")\n{\n\tret;\n}\n";
  }
  std::ofstream(path) << m.dump(1);
}

Tensor tinyLogits(const Tensor &ids, Tensor *cache) {
  int64_t batch = ids.shape[0], seq = ids.shape[1];
  Tensor logits(DType::F32, {batch, seq, vocabulary});
  if (cache)
    *cache = Tensor(DType::F32, {batch, seq, hidden});
  for (int64_t b = 0; b < batch; ++b) {
    std::vector<double> sums(hidden, 0.0);
    for (int64_t s = 0; s < seq; ++s) {
      int64_t id = ids.as<int64_t>()[b * seq + s];
      std::vector<double> x(hidden);
      for (int64_t c = 0; c < hidden; ++c) {
        x[c] = embed(id, c);
        for (int64_t i = 0; i < hidden; ++i)
          x[c] += static_cast<double>(embed(id, i)) * mix(i, c);
        if (cache)
          cache->as<float>()[(b * seq + s) * hidden + c] = static_cast<float>(x[c]);
        sums[c] += x[c];
        x[c] += sums[c];
      }
      for (int64_t v = 0; v < vocabulary; ++v) {
        double dot = 0;
        for (int64_t c = 0; c < hidden; ++c)
          dot += x[c] * head(v, c);
        logits.as<float>()[(b * seq + s) * vocabulary + v] = static_cast<float>(dot);
      }
    }
  }
  return logits;
}

std::string scratchDirectory(const std::string &name) {
  auto path = std::filesystem::temp_directory_path() / ("caat-" + std::to_string(getpid())) / name;
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path;
}

} // namespace caat::test

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sessions of the C interface.
#include "Expect.h"
#include "TinyModel.h"
#include "caat/runtime/caat.h"
#include <cstring>
#include <memory>

using namespace caat::runtime;
using namespace caat::test;

namespace {

class SessionTest : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    std::string kind = GetParam(), directory = scratchDirectory("session-" + kind);
    bool cache = kind.find("no-cache") == std::string::npos;
    writeTinyArtifact(directory, std::string(CAAT_TINY_CODE) + "-" + kind + ".so", kind[0] - '0', cache);
    caat_model *loaded = nullptr;
    ASSERT_EQ(caat_model_load(directory.c_str(), nullptr, &loaded), CAAT_OK) << caat_error_text();
    model.reset(loaded);
  }

  /// The logits of a step of `rows`, one a sequence; an empty array where it fails.
  Tensor step(const std::vector<std::vector<int64_t>> &rows) {
    std::vector<int64_t> tokens;
    for (const auto &row : rows)
      tokens.insert(tokens.end(), row.begin(), row.end());
    caat_result *result = nullptr;
    auto batch = static_cast<int64_t>(rows.size()), count = static_cast<int64_t>(rows[0].size());
    status = caat_model_step(model.get(), tokens.data(), batch, count, &result);
    std::fill(tokens.begin(), tokens.end(), -1); // the caller's again
    Tensor logits;
    if (!result)
      return logits;
    caat_tensor array;
    EXPECT_EQ(caat_result_count(result), 1u);
    EXPECT_EQ(caat_result_find(result, "logits", &array), CAAT_OK) << caat_error_text();
    EXPECT_EQ(array.dtype, CAAT_F32);
    logits = Tensor(DType::F32, {array.shape, array.shape + array.rank});
    std::memcpy(logits.data.get(), array.data, logits.bytes());
    caat_result_destroy(result);
    return logits;
  }

  /// Of the last token of whole sequences, on one device.
  static Tensor wanted(const std::vector<std::vector<int64_t>> &rows) {
    auto batch = static_cast<int64_t>(rows.size()), count = static_cast<int64_t>(rows[0].size());
    Tensor tokens(DType::I64, {batch, count}), last(DType::F32, {batch, vocabulary});
    for (int64_t b = 0; b < batch; ++b)
      std::copy_n(rows[static_cast<size_t>(b)].data(), count, tokens.as<int64_t>() + b * count);
    Tensor all = tinyLogits(tokens);
    for (int64_t b = 0; b < batch; ++b)
      std::copy_n(all.as<float>() + ((b + 1) * count - 1) * vocabulary, vocabulary, last.as<float>() + b * vocabulary);
    return last;
  }

  void expectFailure(caat_status expected, const char *text) {
    EXPECT_EQ(status, expected);
    EXPECT_NE(std::strstr(caat_error_text(), text), nullptr) << caat_error_text();
  }

  std::unique_ptr<caat_model, decltype(&caat_model_destroy)> model{nullptr, caat_model_destroy};
  caat_status status = CAAT_OK;
};

INSTANTIATE_TEST_SUITE_P(Artifacts, SessionTest, testing::Values("1", "2", "3", "4", "2-no-cache"));

TEST_P(SessionTest, StepsEqualWholeSequences) {
  ASSERT_EQ(caat_model_start(model.get(), 8), CAAT_OK);
  expectNear(step({{3, 1, 4}, {2, 7, 1}}), wanted({{3, 1, 4}, {2, 7, 1}}), 1e-4);
  expectNear(step({{1, 5}, {8, 2}}), wanted({{3, 1, 4, 1, 5}, {2, 7, 1, 8, 2}}), 1e-4);
  expectNear(step({{9}, {8}}), wanted({{3, 1, 4, 1, 5, 9}, {2, 7, 1, 8, 2, 8}}), 1e-4);
}

TEST_P(SessionTest, StartBeginsAnew) {
  ASSERT_EQ(caat_model_start(model.get(), 4), CAAT_OK);
  step({{3, 1}, {2, 7}});
  ASSERT_EQ(caat_model_start(model.get(), 3), CAAT_OK);
  expectNear(step({{4, 1, 5}}), wanted({{4, 1, 5}}), 1e-4);
}

TEST_P(SessionTest, FailedStepsLeaveItAsItWas) {
  ASSERT_EQ(caat_model_start(model.get(), 4), CAAT_OK);
  step({{12, 1}});
  expectFailure(CAAT_ERROR_RUN, "must not start with token 12");
  step({{3, 1}});
  step({{99}});
  expectFailure(CAAT_ERROR_INPUT, "token 99 at position 0");
  step({{4}, {4}});
  expectFailure(CAAT_ERROR_INPUT, "a batch of 2 after one of 1");
  step({{4, 1, 5}});
  expectFailure(CAAT_ERROR_INPUT, "a sequence of 5 tokens, but room for 4");
  expectNear(step({{4, 1}}), wanted({{3, 1, 4, 1}}), 1e-4);
}

TEST_P(SessionTest, WantsABeginning) {
  step({{3}});
  expectFailure(CAAT_ERROR_INPUT, "there is no session");
  ASSERT_EQ(caat_model_start(model.get(), 4), CAAT_OK);
  int64_t ids[2] = {3, 1}, mask[2] = {1, 1}, shape[2] = {1, 2};
  caat_tensor inputs[2] = {{"input_ids", CAAT_I64, 2, shape, ids}, {"attention_mask", CAAT_I64, 2, shape, mask}};
  caat_result *result = nullptr;
  ASSERT_EQ(caat_model_run(model.get(), inputs, 2, &result), CAAT_OK) << caat_error_text();
  caat_result_destroy(result);
  step({{3}});
  expectFailure(CAAT_ERROR_INPUT, "there is no session");
}

TEST_P(SessionTest, RefusesWhatIsMissing) {
  int64_t token = 3;
  auto *result = reinterpret_cast<caat_result *>(&token);
  EXPECT_EQ(caat_model_start(nullptr, 4), CAAT_ERROR_INPUT);
  EXPECT_EQ(caat_model_start(model.get(), 0), CAAT_ERROR_INPUT);
  ASSERT_EQ(caat_model_start(model.get(), 4), CAAT_OK);
  EXPECT_EQ(caat_model_step(nullptr, &token, 1, 1, &result), CAAT_ERROR_INPUT);
  EXPECT_EQ(result, nullptr);
  EXPECT_EQ(caat_model_step(model.get(), nullptr, 1, 1, &result), CAAT_ERROR_INPUT);
  EXPECT_EQ(caat_model_step(model.get(), &token, 0, 1, &result), CAAT_ERROR_INPUT);
  EXPECT_EQ(caat_model_step(model.get(), &token, 1, -1, &result), CAAT_ERROR_INPUT);
  EXPECT_EQ(caat_model_step(model.get(), &token, INT64_MAX, INT64_MAX, &result), CAAT_ERROR_INPUT);
  EXPECT_EQ(caat_model_step(model.get(), &token, 1, 1, nullptr), CAAT_ERROR_INPUT);
}

} // namespace

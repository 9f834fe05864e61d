/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The C interface, used from C: loads the artifact given as argument, runs it and checks what comes back. With numbers
 * of GPUs behind it, only loads it for those, and prints the error where that fails. */
#include "caat/runtime/caat.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(CONDITION)                                                                                               \
  do {                                                                                                                 \
    if (!(CONDITION)) {                                                                                                \
      fprintf(stderr, "%s:%d: %s; last error: %s\n", __FILE__, __LINE__, #CONDITION, caat_error_text());               \
      return 1;                                                                                                        \
    }                                                                                                                  \
  } while (0)

/* A struct of a later version. */
struct later_options {
  caat_options known;
  int64_t added[2];
};

static int check_options(const char *artifact) {
  caat_model *model = NULL;
  caat_options options = CAAT_OPTIONS_INIT;
  CHECK(caat_model_load(artifact, &options, &model) == CAAT_OK);
  caat_model_destroy(model);

  options.threads_per_rank = -1;
  CHECK(caat_model_load(artifact, &options, &model) == CAAT_ERROR_INPUT);
  CHECK(strstr(caat_error_text(), "threads per rank: -1 is not in [1, 1024]"));
  /* One that ends before a field does not have it, and one that ends within it neither. */
  options.struct_size = offsetof(caat_options, threads_per_rank) + 3;
  CHECK(caat_model_load(artifact, &options, &model) == CAAT_OK);
  caat_model_destroy(model);
  options.timeout_ms = INT64_MAX;
  CHECK(caat_model_load(artifact, &options, &model) == CAAT_ERROR_INPUT);
  CHECK(strstr(caat_error_text(), "timeout: 9223372036854775807 ms"));
  options.struct_size = sizeof options.struct_size;
  CHECK(caat_model_load(artifact, &options, &model) == CAAT_OK);
  caat_model_destroy(model);

  caat_options unset = {0};
  CHECK(caat_model_load(artifact, &unset, &model) == CAAT_ERROR_INPUT);
  CHECK(strstr(caat_error_text(), "struct_size is 0; begin with caat_options options = CAAT_OPTIONS_INIT"));
  unset.struct_size = (size_t)-1;
  CHECK(caat_model_load(artifact, &unset, &model) == CAAT_ERROR_INPUT);

  struct later_options later = {CAAT_OPTIONS_INIT, {0, 0}};
  later.known.struct_size = sizeof later;
  CHECK(caat_model_load(artifact, &later.known, &model) == CAAT_OK);
  caat_model_destroy(model);
  later.added[1] = 1;
  CHECK(caat_model_load(artifact, &later.known, &model) == CAAT_ERROR_INPUT);
  CHECK(model == NULL && strstr(caat_error_text(), "it is older than the caller's header"));

  caat_options on_gpu = CAAT_OPTIONS_INIT;
  const int32_t devices[2] = {0, -1};
  on_gpu.device_count = 1;
  CHECK(caat_model_load(artifact, &on_gpu, &model) == CAAT_ERROR_INPUT);
  CHECK(strstr(caat_error_text(), "devices is NULL"));
  on_gpu.devices = devices;
  CHECK(caat_model_load(artifact, &on_gpu, &model) == CAAT_ERROR_INPUT);
  CHECK(strstr(caat_error_text(), "is compiled for the CPU"));
  on_gpu.device_count = 2;
  CHECK(caat_model_load(artifact, &on_gpu, &model) == CAAT_ERROR_INPUT);
  CHECK(strstr(caat_error_text(), "devices[1] is -1"));
  on_gpu.device_count = -1;
  CHECK(caat_model_load(artifact, &on_gpu, &model) == CAAT_ERROR_INPUT);
  return 0;
}

static int load_on(const char *artifact, int count, char **numbers) {
  int32_t devices[16];
  caat_options options = CAAT_OPTIONS_INIT;
  caat_model *model = NULL;
  CHECK(count <= 16);
  for (int i = 0; i < count; ++i)
    devices[i] = atoi(numbers[i]);
  options.devices = devices;
  options.device_count = count;
  if (caat_model_load(artifact, &options, &model) != CAAT_OK) {
    printf("error: %s\n", caat_error_text());
    return 1;
  }
  caat_model_destroy(model);
  puts("loaded");
  return 0;
}

int main(int argc, char **argv) {
  CHECK(argc >= 2);
  if (argc > 2)
    return load_on(argv[1], argc - 2, argv + 2);
  CHECK(strcmp(caat_error_text(), "") == 0);

  caat_model *model = (caat_model *)1;
  CHECK(caat_model_load("/does/not/exist", NULL, &model) == CAAT_ERROR_ARTIFACT);
  CHECK(model == NULL && strstr(caat_error_text(), "is not an artifact"));
  CHECK(caat_model_load(NULL, NULL, &model) == CAAT_ERROR_INPUT);
  CHECK(caat_model_load(argv[1], NULL, NULL) == CAAT_ERROR_INPUT);

  if (check_options(argv[1]))
    return 1;
  caat_options options = CAAT_OPTIONS_INIT;
  options.threads_per_rank = 1;
  options.timeout_ms = 5000;
  CHECK(caat_model_load(argv[1], &options, &model) == CAAT_OK);

  int64_t ids[3] = {1, 2, 3}, mask[3] = {1, 1, 1}, shape[2] = {1, 3};
  caat_tensor inputs[2] = {{"input_ids", CAAT_I64, 2, shape, ids}, {"attention_mask", CAAT_I64, 2, shape, mask}};
  caat_result *result = NULL;
  CHECK(caat_model_run(model, inputs, 2, &result) == CAAT_OK);
  CHECK(caat_result_count(result) == 2);
  caat_tensor logits, first;
  CHECK(caat_result_find(result, "logits", &logits) == CAAT_OK);
  CHECK(caat_result_get(result, 0, &first) == CAAT_OK);
  CHECK(strcmp(first.name, "logits") == 0 && first.data == logits.data);
  CHECK(logits.dtype == CAAT_F32 && logits.rank == 3);
  CHECK(logits.shape[0] == 1 && logits.shape[1] == 3 && logits.shape[2] == 13);
  CHECK(caat_result_get(result, 2, &first) == CAAT_ERROR_INPUT);
  CHECK(caat_result_find(result, "scores", &first) == CAAT_ERROR_INPUT);

  caat_result *failed = result;
  ids[0] = 99;
  CHECK(caat_model_run(model, inputs, 2, &failed) == CAAT_ERROR_INPUT);
  CHECK(failed == NULL && strstr(caat_error_text(), "token 99 at position 0"));
  ids[0] = 12;
  CHECK(caat_model_run(model, inputs, 2, &failed) == CAAT_ERROR_RUN);
  CHECK(strstr(caat_error_text(), "must not start with token 12"));
  CHECK(caat_model_run(model, inputs, 1, &failed) == CAAT_ERROR_INPUT);
  inputs[1].dtype = 77;
  CHECK(caat_model_run(model, inputs, 2, &failed) == CAAT_ERROR_INPUT);
  inputs[1] = inputs[0];
  CHECK(caat_model_run(model, inputs, 2, &failed) == CAAT_ERROR_INPUT && strstr(caat_error_text(), "twice"));
  CHECK(caat_model_run(NULL, inputs, 2, &failed) == CAAT_ERROR_INPUT);

  caat_model_destroy(model);
  CHECK(((const float *)logits.data)[0] != 0.0f); /* results outlive the model */
  caat_result_destroy(result);
  caat_model_destroy(NULL);
  caat_result_destroy(NULL);
  puts("the C interface works");
  return 0;
}

/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The C interface, used from C: loads the artifact given as argument, runs it and checks what comes back. */
#include "caat/runtime/caat.h"
#include <stdio.h>
#include <string.h>

#define CHECK(CONDITION)                                                                                               \
  do {                                                                                                                 \
    if (!(CONDITION)) {                                                                                                \
      fprintf(stderr, "%s:%d: %s; last error: %s\n", __FILE__, __LINE__, #CONDITION, caat_error_text());               \
      return 1;                                                                                                        \
    }                                                                                                                  \
  } while (0)

int main(int argc, char **argv) {
  CHECK(argc == 2);
  CHECK(strcmp(caat_error_text(), "") == 0);

  caat_model *model = (caat_model *)1;
  CHECK(caat_model_load("/does/not/exist", NULL, &model) == CAAT_ERROR_ARTIFACT);
  CHECK(model == NULL && strstr(caat_error_text(), "is not an artifact"));
  CHECK(caat_model_load(NULL, NULL, &model) == CAAT_ERROR_INPUT);
  CHECK(caat_model_load(argv[1], NULL, NULL) == CAAT_ERROR_INPUT);

  caat_options options = {.threads_per_rank = 1, .timeout_ms = 5000};
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

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Writes the tiny model's artifact, for tests that are no C++ programs. Usage: caat-test-artifact DIR TP [cuda]
#include "TinyModel.h"
#include <cstdlib>
#include <iostream>

int main(int argc, char **argv) {
  bool isForGpu = argc == 4 && std::string_view(argv[3]) == "cuda";
  if (argc != 3 && !isForGpu) {
    std::cerr << "usage: caat-test-artifact DIR TP [cuda]\n";
    return 2;
  }
  std::string tp = argv[2];
  caat::test::writeTinyArtifact(argv[1], std::string(CAAT_TINY_CODE) + "-" + tp + ".so", std::atoi(argv[2]));
  if (isForGpu)
    caat::test::makeTinyArtifactForGpu(argv[1]);
  return 0;
}

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Makes a C++ header of PTX. With PTX80 and PTX90, for two generations: their texts, kernelsPtx
# and kernelsPtx90, and the names of their kernels, which are the same. With MODULES, a list
# of files: NAME, an array of OwnModule.
if(PTX80)
  file(READ ${PTX80} text80)
  file(READ ${PTX90} text90)
  string(REGEX MATCHALL "\\.entry [a-z0-9_]+" entries "${text80}")
  list(TRANSFORM entries REPLACE "\\.entry ([a-z0-9_]+)" "\"\\1\"")
  list(JOIN entries ", " names)
  file(WRITE ${HEADER} "inline constexpr const char *kernelNames[] = {${names}};\ninline constexpr char kernelsPtx[] = R\"ptx(${text80})ptx\";\ninline constexpr char kernelsPtx90[] = R\"ptx(${text90})ptx\";\n")
else()
  file(WRITE ${HEADER} "inline constexpr caat::runtime::cuda::OwnModule ${NAME}[] = {\n")
  string(REPLACE "," ";" modules "${MODULES}")
  foreach(module ${modules})
    file(READ ${module} text)
    file(APPEND ${HEADER} "{R\"ptx(${text})ptx\"},\n")
  endforeach()
  file(APPEND ${HEADER} "};\n")
endif()

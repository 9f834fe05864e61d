# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# MLIR and LLVM as shared libraries, precompiled headers, and the functions that make dialects, pass lists and libraries.

find_package(MLIR 22.1 REQUIRED CONFIG)
list(APPEND CMAKE_MODULE_PATH "${MLIR_CMAKE_DIR}" "${LLVM_CMAKE_DIR}")
include(TableGen)
include(AddLLVM)
include(AddMLIR)

set(CAAT_MLIR_INCLUDES ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
include_directories(${CMAKE_SOURCE_DIR}/include ${CMAKE_BINARY_DIR}/include ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
include_directories(SYSTEM ${CAAT_MLIR_INCLUDES})
set(MLIR_TABLEGEN_FLAGS -I${CMAKE_SOURCE_DIR} -I${CMAKE_SOURCE_DIR}/include)

# The headers that every compiler library includes, compiled once. Without time stamps in it, so that ccache finds what
# uses it again.
add_library(CaatPCH STATIC ${CMAKE_SOURCE_DIR}/cmake/Empty.cpp)
target_precompile_headers(CaatPCH PRIVATE ${CMAKE_SOURCE_DIR}/cmake/Precompiled.h)
target_compile_options(CaatPCH PRIVATE -Wall -Wextra -Wno-unused-parameter $<$<BOOL:${CAAT_WERROR}>:-Werror>
                                       -fno-exceptions -fpch-instantiate-templates "SHELL:-Xclang -fno-pch-timestamp")
if(CAAT_SANITIZE)
  target_compile_options(CaatPCH PRIVATE -fsanitize=${CAAT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
endif()

# caat_library(NAME SOURCES... [LINK libs...] [DEPENDS tablegen targets...])
function(caat_library name)
  cmake_parse_arguments(ARG "" "" "LINK;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PUBLIC ${ARG_LINK} MLIR LLVM)
  target_compile_options(${name} PRIVATE -fno-exceptions -fpch-instantiate-templates "SHELL:-Xclang -fno-pch-timestamp")
  caat_compile_options(${name})
  target_precompile_headers(${name} REUSE_FROM CaatPCH)
  foreach(dependency ${ARG_DEPENDS})
    if(TARGET ${dependency})   # a stage may have no Passes.td
      add_dependencies(${name} ${dependency})
    endif()
  endforeach()
endfunction()

# caat_passes(STAGE td-file target): Passes.h.inc beside its td file in the build tree.
function(caat_passes stage td target)
  get_filename_component(base ${td} NAME_WE)
  set(LLVM_TARGET_DEFINITIONS ${td})
  mlir_tablegen(${base}.h.inc -gen-pass-decls -name=${stage})
  add_public_tablegen_target(${target})
endfunction()

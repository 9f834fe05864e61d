# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Warnings and sanitizers for caat's own targets.

function(caat_compile_options target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wno-unused-parameter $<$<BOOL:${CAAT_WERROR}>:-Werror>)
  if(CAAT_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${CAAT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(${target} PUBLIC -fsanitize=${CAAT_SANITIZE})
  endif()
endfunction()

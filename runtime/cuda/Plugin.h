// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a plugin exports. Both functions belong to the runtime of the same build.
#ifndef CAAT_RUNTIME_CUDA_PLUGIN_H
#define CAAT_RUNTIME_CUDA_PLUGIN_H

#include "caat/runtime/Device.h"

#define CAAT_PLUGIN_EXPORT __attribute__((visibility("default")))

/// The version and the headers of the caat that it belongs to.
extern "C" CAAT_PLUGIN_EXPORT const char *caat_plugin_interface();
/// The caller owns it. Throws Error.
extern "C" CAAT_PLUGIN_EXPORT caat::runtime::Backend *caat_make_backend(const caat::runtime::Program &program,
                                                                        const caat::runtime::BackendOptions &options);

#endif

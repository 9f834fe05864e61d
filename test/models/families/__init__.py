# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Families that export.py knows, a module for each kind of model."""

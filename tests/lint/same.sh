#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# same.sh FILE PROGRAM: the file is what the program prints.
set -euo pipefail
diff -u "$1" <("$2") && echo "$1 is what the code says"

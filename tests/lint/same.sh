#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# same.sh FILE PROGRAM [HEADING]: the file, from the heading on, is what the program prints.
set -euo pipefail
diff -u <(awk -v from="${3:-}" 'from == "" || $0 == from {on = 1} on' "$1") <("$2")
echo "$1 is what the code says"

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The cores are pure: the symbols that they take from outside are on this list or it fails. A core
# that calls time(), random(), malloc() after creation or printf() to the world does not pass.
set -euo pipefail
allowed='^(mem_|str_|err_|rng_|selector_|window_|map_|heap_|list_|name_is_valid|memcpy|memset|memcmp|memmove|strlen|strnlen|strcmp|strncmp|strchr|strrchr|strstr|strspn|strcspn|strncpy|qsort|bsearch|snprintf|vsnprintf|__snprintf_chk|__vsnprintf_chk|__memcpy_chk|__memset_chk|__memmove_chk|__assert_fail|__stack_chk_fail|free|abort|ZSTD_|fprintf|__fprintf_chk|fputs|fputc|fwrite|__asan_|__ubsan_|__sanitizer|__start_asan|__stop_asan|_GLOBAL_OFFSET_TABLE_|log$|log1p$|log2$|exp$|exp2$|sqrt$|pow$|fabs$|ceil$|floor$|lgamma_r$|fmin$|fmax$|llround$|isnan|strcpy|strcat|__strcpy_chk|__ctype_b_loc|__ctype_tolower_loc|bins_|build_|sketch_|record_|baseline_check$|memchr|nextafter$|bucket_|uplink_)'
bad=0
# what one of the libraries given calls of another one was looked at there
own=$(nm --defined-only "$@" 2>/dev/null | awk 'NF == 3 {print $3}' | sort -u)
for library in "$@"; do
	for symbol in $(nm -u "$library" | awk '$1 == "U" {print $2}' | sort -u); do
		grep -qxF -- "$symbol" <<<"$own" && continue
		grep -qE -- "$allowed" <<<"$symbol" && continue
		echo "$(basename "$library"): a pure core may not call $symbol"
		bad=1
	done
done
[ $bad = 0 ] && echo "cores are pure"
exit $bad

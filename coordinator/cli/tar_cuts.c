/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk from header to header, one read each. Headers hold times and owners that change from build
 * to build; the contents between them do not, so cutting there lets equal files be equal chunks
 * wherever they lie. Format: POSIX.1-2017, pax, "ustar Interchange Format".
 */
#include "coordinator/cli/tar_cuts.h"
#include "base/mem.h"
#include "coordinator/cli/file.h"

enum { BLOCK = 512, SIZE_AT = 124, SIZE_LENGTH = 12, SUM_AT = 148, SUM_LENGTH = 8, TYPE_AT = 156 };

/* Octal, or base 256 with the highest bit set (GNU). */
static uint64_t number_at(const uint8_t *at, size_t length)
{
	uint64_t value = 0;

	if (at[0] & 0x80) {
		for (size_t i = length - 8; i < length; i++)
			value = value << 8 | at[i];
		return value;
	}
	for (size_t i = 0; i < length && (at[i] == ' ' || (at[i] >= '0' && at[i] <= '7')); i++)
		value = at[i] == ' ' ? value : value << 3 | (uint64_t)(at[i] - '0');
	return value;
}

static bool is_header(const uint8_t *block)
{
	uint64_t sum = SUM_LENGTH * ' ';

	for (size_t i = 0; i < BLOCK; i++)
		sum += i >= SUM_AT && i < SUM_AT + SUM_LENGTH ? 0 : block[i];
	return sum == number_at(block + SUM_AT, SUM_LENGTH);
}

int tar_cuts(int fd, uint64_t size, uint64_t least, struct chunk_cut **ret_cuts, size_t *ret_count,
             struct err *err)
{
	struct chunk_cut *cuts = NULL;
	size_t count = 0, cap = 0;
	uint64_t at = 0;
	uint8_t block[BLOCK];

	while (at + BLOCK < size) {
		uint64_t length, end;
		int r = file_read_at(fd, block, BLOCK, at, err);

		if (r < 0) {
			free(cuts);
			return r;
		}
		at += BLOCK;
		length = number_at(block + SIZE_AT, SIZE_LENGTH);
		if (!is_header(block) || length > size - at)
			break;
		end = at + (length + BLOCK - 1) / BLOCK * BLOCK;
		if ((block[TYPE_AT] == '0' || block[TYPE_AT] == 0) && length >= least) {
			MEM_GROW(cuts, &cap, count + 1);
			cuts[count++] = (struct chunk_cut){.at = at};
			cuts[count++] = (struct chunk_cut){.at = end < size ? end : size};
		}
		at = end;
	}
	*ret_cuts = cuts;
	*ret_count = count;
	return 0;
}

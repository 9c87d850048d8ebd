/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of a file, one after the other, that are whole or not there: the rest of a line that does
 * not fit is never taken for a line of its own. In the form that libinih wants its readers.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

struct lines {
	FILE *file; /* borrowed */
	int number; /* of the line that was read last, from 1 */
	bool too_long; /* that line did not fit: nothing is read any more */
};

/* As fgets(): the next line with its \n into dst, at most size - 2 characters of it. NULL at the
 * end, after an error of the file, and at a line that is too long. lines: a struct lines. */
char *lines_read(char *dst, int size, void *lines);

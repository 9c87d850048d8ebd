/* SPDX-License-Identifier: Apache-2.0 */
/* What encoder and decoder of the codings share. */
#pragma once

#include "protocol/coding/coding.h"
#include "protocol/coding/rare.h"

#include <zstd.h>

enum { CODING_STREAM_HEAD = 8, CODING_IS_FLOAT = 0x80, CODING_WIDTH = 0x0f };

/* Scratch buffers, by what lies in them. */
enum coding_scratch { SCRATCH_WORDS, SCRATCH_PLANES, SCRATCH_VALUES, SCRATCH_GAPS,
		      SCRATCH_OTHER, SCRATCH_SAMPLE, SCRATCH_COUNT };

struct coding {
	ZSTD_CCtx *encoder; /* made when they are needed */
	ZSTD_DCtx *decoder;
	struct rare *rare;
	struct bytes scratch[SCRATCH_COUNT];
};

/* At least size bytes; what was there is lost. */
uint8_t *coding_scratch(struct coding *coding, enum coding_scratch which, size_t size);

/* Numbers are cut into planes by the unit. What is left at a chunk's end is written as it is. */
static inline size_t coding_unit(const struct element *element)
{
	return element->stride ? element->stride : element->width;
}

bool coding_element_is_valid(const struct element *element);

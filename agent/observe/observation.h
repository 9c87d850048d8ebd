/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a model server says about its requests: text, one observation a line, a datagram holds one
 * or more lines (covey-observe(7)). Pure; reads whatever a server sends, believes nothing, allocates
 * nothing.
 *
 *	latency_us=1830 status=200 class=7 score=0.93 x.ink=0.21 x.camera=front
 *	begin                             a request begins; its `end` line tells the rest
 *	end status=500
 *	label=wrong                       feedback, whenever it is known
 */
#pragma once

#include "covey/evidence.h"

enum {
	OBSERVE_DATAGRAM_MAX = 8192,
	OBSERVE_TIMES_MAX = 1000000, /* n= */
};

enum observed_outcome { OBSERVED_OK, OBSERVED_ERROR, OBSERVED_TIMEOUT, OBSERVED_INVALID,
			OBSERVED_OUTCOME_COUNT };

struct observed_value { /* x.NAME=VALUE, class=, score=; points into the datagram */
	const char *name, *text;
	uint16_t name_size, text_size; /* not longer than LIMIT_FEATURE */
	bool is_number;
	double number; /* NAN when the text is none */
};

struct observation {
	bool begin, end; /* of a request that is told in two lines */
	bool request;	 /* a request ended; else only features, label, lost */
	uint64_t times;	 /* the line stands for so many: 1 .. OBSERVE_TIMES_MAX */
	bool has_latency;
	uint64_t latency_us;
	enum observed_outcome outcome;
	bool has_label, right;
	uint64_t lost;	  /* observations that the server could not send */
	uint32_t strange; /* fields that could not be read or are not known: left out */
	size_t values_count;
	struct observed_value values[LIMIT_FEATURES];
};

/* Reads the next line of what lies between *at and end, and moves *at behind it. False: there is
 * none. An empty line is passed over. */
bool observation_next(const char **at, const char *end, struct observation *ret_observation);

/* Decimal number, nan or inf, all of it; false: it is none. At most a few ulp off. */
bool observation_number(const char *text, size_t size, double *ret_number);

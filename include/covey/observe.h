/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For model servers in C and C++: tells the node what happened to a request. Link with
 * `pkg-config --static --libs covey-observe`. Needs nothing else of Covey; covey-observe(7) has the
 * text that goes over the socket, for every other language.
 *
 *	struct covey_observer *observer = covey_observer_open();	once
 *
 *	struct covey_observation o = COVEY_OBSERVATION;			for each request
 *	covey_observation_latency_us(&o, 1830);
 *	covey_observation_status(&o, 200);
 *	covey_observation_class(&o, "7");
 *	covey_observation_score(&o, 0.93);
 *	covey_observation_number(&o, "ink", 0.21);
 *	covey_observe(observer, &o);
 *
 * Nothing here waits, allocates after the opening, or fails a request. When the node is slower than
 * the server for a moment, observations wait in at most 8 MiB for the next call and go together;
 * when that is full, or the node does not listen, they are lost and counted. All functions may be
 * called from any thread; a struct covey_observation belongs to one at a time.
 */
#ifndef COVEY_OBSERVE_H
#define COVEY_OBSERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { COVEY_OBSERVATION_MAX = 8192 }; /* what a node reads of a datagram */

struct covey_observer; /* the socket named by COVEY_OBSERVE */

/* Never NULL but when memory is out. Without COVEY_OBSERVE, outside of Covey, an observer that
 * drops everything. Free with covey_observer_close(). */
struct covey_observer *covey_observer_open(void);
void covey_observer_close(struct covey_observer *observer);
/* Observations that could not be sent so far. The node is told as well. */
uint64_t covey_observer_lost(const struct covey_observer *observer);

struct covey_observation { /* text under construction; not to be looked at */
	size_t size, line;
	bool cut;
	char text[COVEY_OBSERVATION_MAX];
};
/* Only the first members matter: the text is not cleared. */
#define COVEY_OBSERVATION {0, 0, false, {0}}
void covey_observation_clear(struct covey_observation *o);

/* One request in two steps: tell that it begins, before it can crash the server, and its end with
 * everything else. A request that is told in one step is neither. */
void covey_observation_begin(struct covey_observation *o);
void covey_observation_end(struct covey_observation *o);

void covey_observation_latency_us(struct covey_observation *o, uint64_t us);
/* HTTP: 5xx is an error, 408 and 504 are time-outs, all others are served. */
void covey_observation_status(struct covey_observation *o, unsigned status);
/* "ok", "error", "timeout" or "invalid", where there is no HTTP or the status tells too little. */
void covey_observation_outcome(struct covey_observation *o, const char *outcome);

/* What the model says. A score that is not finite is invalid output. */
void covey_observation_class(struct covey_observation *o, const char *name);
void covey_observation_score(struct covey_observation *o, double score);
/* What it was given. Names and texts have 1 to 63 bytes; blanks in them become _. */
void covey_observation_number(struct covey_observation *o, const char *name, double value);
void covey_observation_text(struct covey_observation *o, const char *name, const char *value);

/* Feedback, whenever it is known: the answer was right or wrong. No request of its own. */
void covey_observation_label(struct covey_observation *o, bool right);
/* The observation stands for this many equal ones, 1 to 1,000,000. */
void covey_observation_times(struct covey_observation *o, uint64_t times);

/* Many observations in one datagram, for servers that have them together anyway, a batch: ends one and begins the next. False: there is not room for another of this size; send first. */
bool covey_observation_next(struct covey_observation *o);

/* Sends and clears; with nothing in it, sends what waits. 0, or a negative errno: it is lost and counted. -EMSGSIZE: it was too long. */
int covey_observe(struct covey_observer *observer, struct covey_observation *o);

#ifdef __cplusplus
}
#endif
#endif

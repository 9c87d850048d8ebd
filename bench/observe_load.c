/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model server that says much: observations at a steady rate through covey/observe.h, then what
 * it could not send. usage: observe-load RATE SECONDS FEATURES LINES (COVEY_OBSERVE names the
 * socket; LINES observations a datagram)
 */
#include "covey/observe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { NAMES_MAX = 256, NAME_SIZE = 16, TICK_NS = 1000000, DRAIN_TICKS = 1000 };

static void add_observation(struct covey_observation *o, unsigned long number, int features,
			    const char names[][NAME_SIZE])
{
	covey_observation_latency_us(o, 500 + number % 4000);
	covey_observation_status(o, number % 1000 ? 200 : 500);
	covey_observation_class(o, number % 2 ? "even" : "odd");
	covey_observation_score(o, (double)(number % 997) / 997);
	for (int i = 0; i < features; i++)
		covey_observation_number(o, names[i], (double)((number + (unsigned)i) % 1009) / 1009);
}

static void wait_until(struct timespec *at)
{
	at->tv_nsec += TICK_NS;
	if (at->tv_nsec >= 1000000000) {
		at->tv_nsec -= 1000000000;
		at->tv_sec++;
	}
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, at, NULL) == EINTR)
		;
}

int main(int argc, char **argv)
{
	static char names[NAMES_MAX][NAME_SIZE];
	static struct covey_observation o;
	unsigned long rate, number = 0, due = 0, total;
	struct covey_observer *observer = covey_observer_open();
	struct timespec at;
	int features, lines, filled = 0;

	if (argc != 5)
		return 2;
	rate = strtoul(argv[1], NULL, 10);
	total = rate * strtoul(argv[2], NULL, 10);
	features = atoi(argv[3]) < NAMES_MAX ? atoi(argv[3]) : NAMES_MAX;
	lines = atoi(argv[4]);
	for (int i = 0; i < features; i++)
		snprintf(names[i], sizeof(names[i]), "f%03d", i);
	clock_gettime(CLOCK_MONOTONIC, &at);
	while (number < total) {
		due += rate / 1000;
		while (number < due && number < total) {
			add_observation(&o, number++, features, names);
			if (++filled < lines && covey_observation_next(&o))
				continue;
			(void)covey_observe(observer, &o);
			filled = 0;
		}
		wait_until(&at);
	}
	for (int i = 0; i < DRAIN_TICKS; i++) { /* what waits goes as well, if it can */
		(void)covey_observe(observer, &o);
		wait_until(&at);
	}
	printf("%lu %llu\n", number, (unsigned long long)covey_observer_lost(observer));
	covey_observer_close(observer);
	return 0;
}

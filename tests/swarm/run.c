/* SPDX-License-Identifier: Apache-2.0 */
/* One run: builds the fleet, plays the events, compares the end with what the links allow. */
#include "tests/swarm/swarm.h"
#include "base/mem.h"

#include <math.h>
#include <time.h>

enum { PATIENCE = 6 }; /* a run that takes so many times the bound has failed */

/* ---- what is possible ---- */

static double bytes_per_s(double mbit)
{
	return mbit * 1e6 / 8;
}

static bool has_fault(const struct swarm_case *c, uint32_t node, enum fault_kind kind)
{
	for (size_t i = 0; i < SWARM_MAX_FAULTS && c->faults[i].count; i++)
		if (c->faults[i].kind == kind && node >= c->faults[i].first &&
		    node < c->faults[i].first + c->faults[i].count)
			return true;
	return false;
}

static bool is_lost(const struct swarm_case *c, uint32_t node)
{
	for (enum fault_kind kind = FAULT_KILL; kind <= FAULT_CLOSE; kind++)
		if (kind != FAULT_ORIGIN && has_fault(c, node, kind))
			return true;
	return false;
}

static double limited(double mbit, double limit)
{
	return bytes_per_s(limit > 0 && limit < mbit ? limit : mbit);
}

/* It takes, but does not give. */
static bool is_closed(const struct swarm_case *c, uint32_t node)
{
	return has_fault(c, node, FAULT_CLOSE);
}

/* What the nodes without a fault need and have, with the origin for all of the time. */
static double fleet_bound(const struct swarm_case *c, double *ret_sum, double *ret_nodes)
{
	double size = (double)c->size, seed = bytes_per_s(c->seed_mbit), sum = 0, nodes = 0, bound;
	double down = limited(c->down_mbit, c->limit_down_mbit), chunks = ceil(size / c->chunk);

	for (uint32_t i = 1; i <= c->nodes; i++) {
		if (i <= c->slow || (is_lost(c, i) && !is_closed(c, i)))
			continue;
		nodes++;
		sum += is_closed(c, i) ? 0 : limited(c->up_mbit, c->limit_up_mbit);
	}
	bound = fmax(size / seed, fmax(size / down, nodes * size / (seed + sum)));
	if (c->up_mbit >= c->seed_mbit && c->limit_up_mbit <= 0)
		bound = fmax(bound, size / seed * (1 + floor(log2(nodes)) / chunks));
	if (c->site_mbit > 0)
		bound = fmax(bound, size / bytes_per_s(c->site_mbit));
	*ret_sum = sum;
	*ret_nodes = nodes;
	return bound;
}

/*
 * T = max{F/u_seed, F/d_min, N F/(u_seed + sum u_i)} (Kumar, Ross: "Peer-assisted file
 * distribution: the minimum distribution time", HOTWEB 2006), and with M equal chunks and equal
 * links F/u (1 + floor(log2 N)/M). When the origin dies, what it sent until then counts.
 */
double swarm_bound(const struct swarm_case *c)
{
	double sum, nodes, bound = fleet_bound(c, &sum, &nodes), origin;

	for (size_t i = 0; i < SWARM_MAX_FAULTS && c->faults[i].count; i++) {
		if (c->faults[i].kind != FAULT_ORIGIN)
			continue;
		origin = bound * c->faults[i].at_percent / 100 * bytes_per_s(c->seed_mbit);
		return fmax(bound, (nodes * (double)c->size - origin) / sum);
	}
	return bound;
}

/* ---- building ---- */

static uint64_t ns_per_mib(double mbit)
{
	return (uint64_t)((1 << 20) / bytes_per_s(mbit) * 1e9);
}

static void make_node(struct swarm *s, uint32_t i)
{
	const struct swarm_case *c = s->about;
	struct swarm_node *n = &s->nodes[i];
	double slow = i && i <= c->slow ? c->slow_divisor : 1;
	uint64_t up = (uint64_t)bytes_per_s(c->limit_up_mbit);

	*n = (struct swarm_node){.first = SWARM_NONE, .timer_at = UINT64_MAX};
	memset(n->wires, 0xff, sizeof(n->wires));
	n->ns_per_mib_up = ns_per_mib((i ? c->up_mbit : c->seed_mbit) / slow);
	n->ns_per_mib_down = ns_per_mib(c->down_mbit / slow);
	n->watch.good = mem_array(s->chunks / 64 + 1, sizeof(n->watch.good[0]));
	n->watch.missing = s->chunks;
	n->watch.up_at = n->watch.down_at = s->now;
	if (i == 0) {
		memset(n->watch.good, 0xff, s->chunks / 8 + 1);
		return;
	}
	n->site = c->sites ? 1 + i % c->sites : 0;
	n->excused = slow > 1;
	n->fetch = fetch_create(s->sizes, s->chunks);
	n->serve = serve_create();
	n->watch.asked = mem_alloc(s->chunks);
	if (s->bug != BUG_RATE_UP)
		serve_set_limits(n->serve, true, up, swarm_ms(s));
	bucket_set(&n->bucket, (uint64_t)bytes_per_s(c->limit_down_mbit), 1000, swarm_ms(s));
}

static void plan_faults(struct swarm *s)
{
	double sum, nodes, bound = fleet_bound(s->about, &sum, &nodes);

	for (uint32_t i = 0; i < SWARM_MAX_FAULTS && s->about->faults[i].count; i++) {
		const struct fault *f = &s->about->faults[i];
		uint64_t at = s->began + (uint64_t)(bound * f->at_percent * 1e7);

		for (uint32_t k = 0; k < f->count; k++)
			links_at(s, at, AT_FAULT, i, f->first + k, 0, 0);
	}
}

static void build(struct swarm *s)
{
	const struct swarm_case *c = s->about;

	s->chunks = (uint32_t)((c->size + c->chunk - 1) / c->chunk);
	s->sizes = mem_array(s->chunks, sizeof(s->sizes[0]));
	for (uint32_t i = 0; i < s->chunks; i++)
		s->sizes[i] =
			i + 1 < s->chunks ? c->chunk : (uint32_t)(c->size - (uint64_t)i * c->chunk);
	s->nodes = mem_array(c->nodes + 1, sizeof(s->nodes[0]));
	s->bits = mem_alloc(s->chunks / 8 + 1);
	s->given = mem_array((size_t)(c->sites + 1) * s->chunks, sizeof(s->given[0]));
	s->ns_per_mib_site = c->sites ? ns_per_mib(c->site_mbit) : 0;
	s->seeding = seeding_create(c->nodes + 1, c->sites + 1, rng_next(&s->rng));
	seeding_open(s->seeding, 0, s->sizes, s->chunks);
	s->graph = neighbours_create(c->nodes + 1, rng_next(&s->rng));
	for (uint32_t i = 0; i <= c->nodes; i++)
		make_node(s, i);
	for (uint32_t i = 1; i <= c->nodes; i++) {
		s->unfinished += !s->nodes[i].excused;
		if (!has_fault(c, i, FAULT_JOIN))
			peer_start(s, i);
	}
	plan_faults(s);
	peer_rewire(s);
}

static void tear_down(struct swarm *s)
{
	for (uint32_t i = 0; i <= s->about->nodes; i++) {
		fetch_free(s->nodes[i].fetch);
		serve_free(s->nodes[i].serve);
		free(s->nodes[i].watch.asked);
		free(s->nodes[i].watch.good);
	}
	seeding_free(s->seeding);
	neighbours_free(s->graph);
	free(s->nodes);
	free(s->wires);
	free(s->sizes);
	free(s->given);
	free(s->bits);
	free(s->heap);
	free(s->line);
}

/* ---- the end ---- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(struct swarm *s, struct swarm_result *r)
{
	AUTO_FREE double *times = mem_array(s->about->nodes + 1, sizeof(*times));
	double size = (double)s->about->size, in = 0, duplicate = 0;
	size_t count = 0;

	for (uint32_t i = 1; i <= s->about->nodes; i++) {
		const struct swarm_node *n = &s->nodes[i];

		in += (double)n->watch.bytes_in;
		duplicate += (double)n->watch.bytes_duplicate;
		if (n->finish && !n->excused)
			times[count++] = (double)(n->finish - s->began) / 1e9;
	}
	qsort(times, count, sizeof(*times), by_value);
	r->bound = swarm_bound(s->about);
	r->first = count ? times[0] : 0;
	r->median = count ? times[count / 2] : 0;
	r->last = count ? times[count - 1] : 0;
	r->share = count ? r->bound / r->last : 0;
	r->origin = (double)seeding_sent(s->seeding) / size;
	r->duplicate = in > 0 ? duplicate / in : 0;
	for (size_t i = 1; i <= s->about->sites; i++)
		r->site = fmax(r->site, (double)s->sites[i].bytes / size);
	r->unfinished = s->unfinished;
	r->violations = s->violations;
	r->events = s->events;
	memcpy(r->blamed, s->blamed, sizeof(r->blamed));
	memcpy(r->violation, s->violation, sizeof(r->violation));
}

void swarm_run(const struct swarm_case *about, uint64_t seed, enum bug bug,
	       struct swarm_result *ret_result)
{
	struct swarm s = {.about = about, .bug = bug, .rng = {seed}};
	struct swarm_event event;
	clock_t began = clock();

	s.now = s.began = SWARM_START;
	s.limit = s.now + (uint64_t)(PATIENCE * swarm_bound(about) * 1e9) + 60000 * SWARM_MS;
	build(&s);
	for (uint32_t i = 1; i <= about->nodes; i++)
		peer_step(&s, i);
	while (s.unfinished && s.now < s.limit && links_next(&s, &event))
		peer_hear(&s, &event);
	*ret_result = (struct swarm_result){0};
	measure(&s, ret_result);
	ret_result->seconds_cpu = (double)(clock() - began) / CLOCKS_PER_SEC;
	tear_down(&s);
}

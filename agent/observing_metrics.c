/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at a server's /metrics, where its release says that it has them: a few times in a period,
 * and what rose since the last look is counted as if the server had said it. The first look at a
 * server that was started under our eyes counts from zero; one that ran before we came is a
 * beginning only.
 */
#include "agent/shell.h"

#include "base/mem.h"

enum { SCRAPE_MIN_MS = 1000, SCRAPE_MAX_MS = 15000, SCRAPE_TIMEOUT_MS = 5000 };

static uint64_t interval_of(const struct watch *watch)
{
	uint64_t period = tally_started(watch->tally)->order.period_ms;

	if (period == 0)
		period = OBSERVE_PERIOD_MS;
	return period / 4 < SCRAPE_MIN_MS ? SCRAPE_MIN_MS : shell_min(period / 4, SCRAPE_MAX_MS);
}

void observing_scrape(struct agent *agent, const struct slot_work *slot, struct watch *watch,
		      uint64_t now)
{
	const struct release_facts *facts;
	struct agent_probe probe;

	if (watch->scrape_at_ms > now || slot->probe_port == 0)
		return;
	facts = shell_facts(agent, &watch->release);
	if (!facts || !facts->observe.metrics) {
		watch->scrape_at_ms = facts ? UINT64_MAX : now + SCRAPE_MAX_MS;
		return;
	}
	if (watch->scrape_id != 0) /* no answer within its time-out and more */
		agent->world->cancel(agent->world->context, watch->scrape_id);
	watch->scrape_at_ms = now + interval_of(watch);
	watch->scrape_id = ++agent->last_id;
	probe = (struct agent_probe){
		.id = watch->scrape_id,
		.kind = HEALTH_HTTP,
		.address = slot->address[0] != '\0' ? slot->address : "127.0.0.1",
		.port = slot->probe_port,
		.http_path = facts->observe.metrics,
		.timeout_ms = shell_min(SCRAPE_TIMEOUT_MS, interval_of(watch)),
	};
	agent->world->scrape(agent->world->context, &probe);
}

static struct watch *find(const struct agent *agent, uint64_t id)
{
	for (size_t i = 0; id != 0 && i < agent->works_count; i++)
		for (enum colour c = 0; c < COLOUR_COUNT; c++) {
			struct watch *watch = agent->works[i]->slots[c].watch;

			if (watch && watch->scrape_id == id)
				return watch;
		}
	return NULL;
}

bool observing_scraped(struct agent *agent, uint64_t id, const char *data, size_t size)
{
	struct watch *watch = find(agent, id);
	const struct release_facts *facts = watch ? shell_facts(agent, &watch->release) : NULL;
	AUTO_FREE struct metrics *now = NULL;

	if (!watch)
		return false;
	watch->scrape_id = 0;
	if (!data || !facts || !watch->tally)
		return false;
	now = mem_alloc(sizeof(*now));
	metrics_read(data, size, &facts->observe, now);
	if (!watch->metrics && !watch->adopted)
		watch->metrics = mem_alloc(sizeof(*watch->metrics));
	if (watch->metrics) {
		observing_begin_if_clean(agent, watch);
		metrics_count(watch->metrics, now, &facts->observe, watch->tally,
			      agent_now(agent));
	}
	free(watch->metrics);
	watch->metrics = TAKE_PTR(now);
	return true;
}

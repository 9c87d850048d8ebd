/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of an observation: a server's datagram is counted at once in the tally of the slot whose
 * socket it came by, whatever it says about itself; when the period ends the tally becomes a record;
 * the outbox keeps that until the coordinator has it. Periods end on multiples of their length on
 * the wall clock, so that nodes' records speak of the same time, and a period in which nothing was
 * said makes no record and wakes nobody.
 */
#include "agent/shell.h"

#include "agent/core/backoff.h"
#include "base/mem.h"
#include "base/str.h"
#include "evidence/build.h"
#include "protocol/codec_tables.h"

enum {
	READ_MAX = 64,	     /* datagrams in one go: the link and the clocks come in between */
	DROP_MAX = 256,	     /* ... that are only counted */
	READ_COST = 256,     /* of a datagram, in bytes of text */
	READ_BURST_MS = 250,
	PAUSE_MS = 20,
	OPEN_AGAIN_MS = 1000,
	SEND_SPREAD_MS = 5000,
	RESEND_MIN_MS = 8000,
	RESEND_MAX_MS = 60000,
	STORE_LAST = 4096, /* datagrams that are read from a slot that ends */
};
static const double READ_BYTES_MS = 131072; /* all slots together */

int observing_open(struct agent *agent, struct err *err)
{
	agent->observing.send_ms = UINT64_MAX;
	return outbox_open(agent->journal, agent->boot_epoch, &agent->observing.box, err);
}

void observing_free(struct agent *agent)
{
	if (agent->observing.box)
		outbox_free(agent->observing.box);
	free(agent->observing.datagram);
}

/* ---- records ---- */

static uint64_t draw(const struct agent *agent, uint64_t below)
{
	return below > 0 ? agent->world->random(agent->world->context) % below : 0;
}

static uint64_t period_of(const struct observe_order *order)
{
	if (order->period_ms == 0)
		return OBSERVE_PERIOD_MS;
	return order->period_ms < LIMIT_OBSERVE_PERIOD_MIN_MS ? LIMIT_OBSERVE_PERIOD_MIN_MS
							      : order->period_ms;
}

static void begin(struct agent *agent, struct watch *watch, struct tally_start start)
{
	uint64_t now = agent_now(agent), period = period_of(&start.order);

	start.now_ms = now;
	start.start_unix_ms = agent->world->unix_ms(agent->world->context);
	start.age_ms = now - watch->started_ms;
	start.baseline = watch->baseline;
	watch->end_ms = now + period - start.start_unix_ms % period;
	tally_begin(watch->tally, &start);
}

void observing_begin_if_clean(struct agent *agent, struct watch *watch)
{
	if (!tally_is_dirty(watch->tally))
		begin(agent, watch, *tally_started(watch->tally));
}

/* The record under way, if it says anything, goes to the outbox. */
static void end(struct agent *agent, struct watch *watch, bool at_once)
{
	struct observing *o = &agent->observing;
	uint64_t now = agent_now(agent);
	struct observation_record record;
	uint64_t spread;

	if (!tally_is_dirty(watch->tally))
		return;
	spread = period_of(&tally_started(watch->tally)->order) / 4;
	spread = at_once ? 0 : draw(agent, shell_min(spread, SEND_SPREAD_MS));
	tally_close(watch->tally, now, &record);
	outbox_add(o->box, &record);
	if (o->sends == 0 && now + spread < o->send_ms)
		o->send_ms = now + spread;
}

/* ---- one slot ---- */

/* The one that is ordered; until that is here, the release's own. The record under way ends when it
 * is another one than before. */
static void take_baseline(struct agent *agent, const struct deploy *deploy, struct watch *watch)
{
	struct baseline baseline = {0};
	struct digest id = observing_choose(agent, deploy, watch, &baseline);

	if (watch->tally && digest_equal(&id, &watch->baseline)) {
		build_free(&baseline);
		return;
	}
	if (watch->tally) {
		end(agent, watch, false);
		tally_free(watch->tally);
	}
	watch->tally = tally_create(digest_is_zero(&id) ? NULL : &baseline);
	watch->baseline = id;
}

static void open_socket(struct agent *agent, const char *deployment, enum colour colour,
			struct watch *watch)
{
	uint64_t handle = ++agent->last_id, now = agent_now(agent);
	int r;

	if (watch->handle != 0 || now < watch->open_at_ms)
		return;
	r = agent->world->observe_open(agent->world->context, deployment, colour, handle);
	if (r == 0)
		watch->handle = handle;
	else
		watch->open_at_ms = now + OPEN_AGAIN_MS;
}

static struct watch *watch_create(struct agent *agent, const struct deploy *deploy,
				  enum colour colour, const struct digest *release)
{
	struct watch *watch = mem_alloc(sizeof(*watch));
	uint64_t now = agent_now(agent), started = deploy->slots[colour].started_ms;

	watch->release = *release;
	watch->started_ms = started > 0 && started <= now ? started : now;
	watch->tokens_ms = now;
	watch->adopted = !agent->observing.resumed;
	agent->observing.watches++;
	if (!agent->observing.datagram)
		agent->observing.datagram = mem_alloc(OBSERVE_DATAGRAM_MAX);
	return watch;
}

static void watch_free(struct agent *agent, struct watch *watch)
{
	if (watch->handle != 0)
		agent->world->observe_close(agent->world->context, watch->handle);
	if (watch->tally)
		tally_free(watch->tally);
	if (watch->learn)
		learn_free(watch->learn);
	if (watch->scrape_id != 0)
		agent->world->cancel(agent->world->context, watch->scrape_id);
	free(watch->metrics);
	free(watch->proposal.data);
	free(watch);
	if (--agent->observing.watches == 0)
		free(TAKE_PTR(agent->observing.datagram));
}

void observing_forget(struct agent *agent, struct work *work)
{
	for (enum colour c = 0; c < COLOUR_COUNT; c++)
		if (work->slots[c].watch)
			watch_free(agent, TAKE_PTR(work->slots[c].watch));
}

/* ---- reading ---- */

static void take_datagram(struct agent *agent, struct watch *watch, ssize_t size, uint64_t now)
{
	observing_begin_if_clean(agent, watch);
	if (size < 0)
		tally_rubbish(watch->tally, now);
	else
		tally_datagram(watch->tally, agent->observing.datagram, (size_t)size, now,
			       watch->learn);
}

/* False: nothing waits. */
static bool read_one(struct agent *agent, struct watch *watch, bool drop, uint64_t now)
{
	ssize_t size = agent->world->observe_read(agent->world->context, watch->handle,
						  agent->observing.datagram, OBSERVE_DATAGRAM_MAX);

	if (size < 0 && size != -EMSGSIZE)
		return false;
	watch->tokens -= READ_COST + (double)(size < 0 ? OBSERVE_DATAGRAM_MAX : size);
	if (drop)
		tally_dropped(watch->tally, 1);
	else
		take_datagram(agent, watch, size, now);
	return true;
}

static void refill(const struct agent *agent, struct watch *watch, uint64_t now)
{
	double rate = READ_BYTES_MS / (double)agent->observing.watches;
	double most = rate * READ_BURST_MS;

	watch->tokens += rate * (double)(now - watch->tokens_ms);
	watch->tokens = watch->tokens > most ? most : watch->tokens;
	watch->tokens_ms = now;
}

static struct watch *find_watch(const struct agent *agent, uint64_t handle)
{
	for (size_t i = 0; i < agent->works_count; i++)
		for (enum colour c = 0; c < COLOUR_COUNT; c++) {
			struct watch *watch = agent->works[i]->slots[c].watch;

			if (watch && watch->handle == handle)
				return watch;
		}
	return NULL;
}

bool observing_read(struct agent *agent, uint64_t handle, uint64_t *ret_pause_ms)
{
	struct watch *watch = handle == 0 ? NULL : find_watch(agent, handle);
	uint64_t now = agent_now(agent);
	bool was_dirty, was_done;

	if (!watch || !watch->tally)
		return false;
	was_dirty = tally_is_dirty(watch->tally);
	was_done = watch->learn && learn_is_done(watch->learn);
	refill(agent, watch, now);
	for (int i = 0; i < READ_MAX && watch->tokens > 0; i++)
		if (!read_one(agent, watch, false, now))
			break;
	if (watch->tokens <= 0) {
		for (int i = 0; i < DROP_MAX; i++)
			if (!read_one(agent, watch, true, now))
				break;
		*ret_pause_ms = PAUSE_MS;
	}
	if (watch->learn && learn_is_done(watch->learn) && !was_done)
		watch->end_ms = now; /* the turn that ends the period proposes it */
	return !was_dirty || watch->end_ms <= now;
}

static void read_rest(struct agent *agent, struct watch *watch)
{
	uint64_t now = agent_now(agent);

	for (int i = 0; watch->handle != 0 && i < STORE_LAST; i++)
		if (!read_one(agent, watch, false, now))
			break;
}

/* ---- what happens to a slot ---- */

void observing_exited(struct agent *agent, const char *deployment, enum colour colour,
		      const struct digest *release)
{
	const struct deploy *deploy = node_core_find(agent->core, deployment);
	struct watch *watch = deploy ? shell_work(agent, deployment)->slots[colour].watch : NULL;

	if (!watch || !digest_equal(&watch->release, release) ||
	    deploy->record.slots[colour].want != DEPLOY_WANT_RUN)
		return;
	read_rest(agent, watch);
	observing_begin_if_clean(agent, watch);
	tally_crashed(watch->tally, agent_now(agent));
	if (watch->learn)
		learn_restart(watch->learn);
}

void observing_smoked(struct agent *agent, struct work *work, enum colour colour, bool ok)
{
	struct watch *watch = work->slots[colour].watch;
	const struct release_facts *facts = watch ? shell_facts(agent, &watch->release) : NULL;

	if (!facts || facts->smokes == 0)
		return;
	observing_begin_if_clean(agent, watch);
	tally_smoke(watch->tally, facts->smokes, ok ? 0 : 1);
	if (!ok)
		end(agent, watch, true);
}

static void finish(struct agent *agent, struct slot_work *slot)
{
	struct watch *watch = TAKE_PTR(slot->watch);

	read_rest(agent, watch);
	if (watch->tally)
		end(agent, watch, true);
	watch_free(agent, watch);
}

static bool is_current(const struct watch *watch, const struct tally_start *start)
{
	const struct tally_start *now = tally_started(watch->tally);

	return now->serving == start->serving &&
	       codec_equal(&codec_observe_order, &now->order, &start->order);
}

static void update_slot(struct agent *agent, const struct deploy *deploy, struct slot_work *slot,
			enum colour colour, uint64_t now)
{
	const struct deploy_record *record = &deploy->record;
	const struct digest *release = &record->slots[colour].release.digest;
	struct tally_start start = {.deployment = record->name,
				    .colour = colour,
				    .release = *release,
				    .order = record->assignment.observe,
				    .serving = record->serves && record->serving == colour};
	const struct release_facts *facts;
	bool runs = deploy->slots[colour].fact == DEPLOY_SLOT_RUNNING, fresh = false;

	if (slot->watch && (!runs || !digest_equal(&slot->watch->release, release)))
		finish(agent, slot);
	if (!runs)
		return;
	facts = shell_facts(agent, release);
	if (facts && facts->observe.has_range) {
		start.has_range = true;
		start.score_min = facts->observe.score_min;
		start.score_max = facts->observe.score_max;
	}
	if (!slot->watch)
		slot->watch = watch_create(agent, deploy, colour, release);
	open_socket(agent, record->name, colour, slot->watch);
	if (!slot->watch->tally ||
	    !digest_equal(&slot->watch->wanted, &start.order.baseline)) {
		take_baseline(agent, deploy, slot->watch);
		fresh = true;
	}
	if (fresh || !is_current(slot->watch, &start) ||
	    (tally_is_dirty(slot->watch->tally) && now >= slot->watch->end_ms)) {
		end(agent, slot->watch, false);
		begin(agent, slot->watch, start);
	}
	observing_scrape(agent, slot, slot->watch, now);
	observing_learn(agent, deploy, slot->watch, colour);
}

/* ---- sending ---- */

/* What waited for an answer in vain survives us from here on. */
static void store(struct agent *agent)
{
	struct err err = {0};
	int r = outbox_store(agent->observing.box, &err);

	if (r < 0)
		shell_log(agent, LOG_LEVEL_WARNING, "observations stay in memory: %s",
			  err_text(&err, r));
}

static void send_records(struct agent *agent, uint64_t now)
{
	struct observing *o = &agent->observing;
	struct msg_observed message = {0};
	struct err err = {0};
	int r;

	if (o->sends > 0)
		store(agent);
	r = outbox_take(o->box, &message, &err);
	o->sends++;
	o->send_ms = now + backoff_ms(RESEND_MIN_MS, RESEND_MAX_MS, o->sends,
				      agent->world->random(agent->world->context));
	if (r < 0) {
		shell_log(agent, LOG_LEVEL_WARNING, "observations are not sent: %s",
			  err_text(&err, r));
		return;
	}
	observing_propose(agent, &message);
	/* Lost or not: it comes again until an answer covers it. */
	(void)!reporting_send(agent, MESSAGE_OBSERVED, &message);
	codec_free(&codec_msg_observed, &message);
}

void observing_acknowledged(struct agent *agent, const struct msg_observed_ack *ack)
{
	struct observing *o = &agent->observing;

	if (!outbox_acknowledge(o->box, ack->boot_epoch, ack->sequence))
		return;
	o->sends = 0;
	o->send_ms = outbox_count(o->box) > 0 ? agent_now(agent) : UINT64_MAX;
}

void observing_link(struct agent *agent, bool up)
{
	struct observing *o = &agent->observing;

	o->sends = 0;
	o->send_ms = outbox_count(o->box) > 0 ? agent_now(agent) + draw(agent, SEND_SPREAD_MS)
					      : UINT64_MAX;
	if (!up)
		store(agent);
}

void observing_stop(struct agent *agent)
{
	for (size_t i = 0; i < agent->works_count; i++)
		for (enum colour c = 0; c < COLOUR_COUNT; c++) {
			struct watch *watch = agent->works[i]->slots[c].watch;

			if (!watch || !watch->tally)
				continue;
			read_rest(agent, watch);
			end(agent, watch, true);
		}
	store(agent);
}

/* ---- after every turn ---- */

static bool may_send(const struct agent *agent)
{
	return agent->link_up && !agent->leaving && outbox_count(agent->observing.box) > 0;
}

void observing_update(struct agent *agent, uint64_t now)
{
	struct observing *o = &agent->observing;

	for (size_t i = 0; i < agent->works_count; i++) {
		struct work *work = agent->works[i];
		const struct deploy *deploy = node_core_find(agent->core, work->deployment);

		for (enum colour c = 0; deploy && c < COLOUR_COUNT; c++)
			update_slot(agent, deploy, &work->slots[c], c, now);
	}
	o->resumed = o->resumed || agent->resumed;
	if (!agent->link_up && outbox_is_young(o->box))
		store(agent);
	if (may_send(agent) && now >= o->send_ms)
		send_records(agent, now);
}

uint64_t observing_deadline(const struct agent *agent)
{
	uint64_t at = may_send(agent) ? agent->observing.send_ms : UINT64_MAX;

	for (size_t i = 0; i < agent->works_count; i++)
		for (enum colour c = 0; c < COLOUR_COUNT; c++) {
			const struct watch *watch = agent->works[i]->slots[c].watch;

			if (watch && watch->handle == 0)
				at = shell_min(at, watch->open_at_ms);
			if (watch && agent->works[i]->slots[c].probe_port != 0)
				at = shell_min(at, watch->scrape_at_ms);
			if (watch && watch->tally && tally_is_dirty(watch->tally))
				at = shell_min(at, watch->end_ms);
		}
	return at;
}

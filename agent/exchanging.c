/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Neighbours. Who they are is the coordinator's word (NEIGHBOURS, always the whole list), and
 * stays in force while the coordinator is away. A neighbour keeps its number as long as it is in
 * the list: by that number it is a source of the fetch scheduler and, less one, a slot of the
 * serving side.
 *
 * A neighbour that sends bytes which are not what was asked for, or lies about what it has, is
 * dropped and named to the coordinator.
 */
#include "agent/shell.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"

enum { MINUTE_MS = 60000 };

struct peer_state *exchanging_peer(const struct agent *agent, uint32_t number)
{
	struct exchange *exchange = agent->peering.exchange;

	if (!exchange || number == 0 || number > LIMIT_NEIGHBOURS ||
	    !exchange->peers[number - 1].used)
		return NULL;
	return &exchange->peers[number - 1];
}

/* ---- sources of a fetch ---- */

bool exchanging_may_give(const struct agent *agent, const struct peer_state *peer,
			 const struct digest *release, size_t *ret_share)
{
	return peer->used && serving_find(agent, release, ret_share) &&
	       peer->shares >> *ret_share & 1;
}

void exchanging_apply_news(struct fetch_job *job, uint32_t number, const struct peer_news *news)
{
	if (news->bits && news->chunks == chunk_list_count(job->list))
		(void)fetch_have_bits(job->fetch, number, news->bits, (news->chunks + 7) / 8);
}

/* Makes a neighbour a source of the job's fetch, or takes it out. */
static void set_source(struct agent *agent, struct fetch_job *job, uint32_t number)
{
	const struct peer_state *peer = &agent->peering.exchange->peers[number - 1];
	size_t share;

	job->at_ms = 0;
	if (!exchanging_may_give(agent, peer, &job->release, &share)) {
		fetch_remove_source(job->fetch, number);
		return;
	}
	if (fetch_add_source(job->fetch, number, FETCH_PEER) == 0) {
		if (peer->of.far)
			fetch_set_role(job->fetch, number, FETCH_RESERVE);
		exchanging_apply_news(job, number, &peer->news[share]);
	}
	if (peer->up && peer->fault != PEER_SENT_BAD && peer->fault != PEER_LIED)
		fetch_source_up(job->fetch, number);
	else
		fetch_source_down(job->fetch, number);
}

static void set_sources(struct agent *agent, struct fetch_job *job)
{
	size_t share;

	if (!job->whole)
		return;
	for (uint32_t n = 1; agent->peering.exchange && n <= LIMIT_NEIGHBOURS; n++)
		set_source(agent, job, n);
	fetch_set_all(job->fetch, agent->peering.told.all);
	seeds_use(agent, job,
		  agent->world->tell_origin && serving_find(agent, &job->release, &share));
}

void exchanging_started(struct agent *agent, struct fetch_job *job)
{
	struct exchange *exchange = agent->peering.exchange;
	size_t share;

	set_sources(agent, job);
	if (exchange)
		serving_load(agent);
	if (!serving_find(agent, &job->release, &share))
		return;
	exchange->shares[share].fresh_count = 0;
	for (size_t i = 0; i < LIMIT_NEIGHBOURS; i++) /* hear anew what we have */
		exchange->peers[i].offered &= ~(UINT64_C(1) << share);
}

void exchanging_complete(struct agent *agent, struct fetch_job *job)
{
	size_t at;
	struct shared *share = serving_find(agent, &job->release, &at);

	if (!share)
		return;
	share->complete = true;
	talking_flush(agent, job);
}

void exchanging_spoiled(struct agent *agent, const struct digest *release)
{
	size_t at;
	struct shared *share = serving_find(agent, release, &at);

	if (share)
		share->complete = false;
}

/* ---- complaints ---- */

static void complain(struct agent *agent, uint32_t number, enum peer_fault fault, const char *text)
{
	struct peer_state *peer = &agent->peering.exchange->peers[number - 1];

	peer->fault = fault;
	STR_CUT(peer->complaint, text);
	agent->peering.report_due = true;
	shell_log(agent, LOG_LEVEL_WARNING, "node %s: %s", peer->of.name, text);
}

/* It stays out until the coordinator leaves it out of the list. */
void exchanging_drop(struct agent *agent, uint32_t number, enum peer_fault fault,
		     const char *text)
{
	const struct peer_ops *ops = &agent->world->peers;

	complain(agent, number, fault, text);
	serving_left(agent, number);
	agent->peering.exchange->peers[number - 1].up = false;
	for (struct fetch_job *job = agent->jobs; job; job = job->next)
		if (job->whole)
			fetch_source_down(job->fetch, number);
	ops->drop(ops->context, number);
}

void exchanging_blame(struct agent *agent, struct fetch_job *job, const struct fetch_blame *blame)
{
	const struct peer_state *peer = exchanging_peer(agent, blame->source);

	if (!peer)
		return; /* the origin: the fetch says what comes of that */
	switch (blame->fault) {
	case FETCH_BAD:
		exchanging_drop(agent, blame->source, PEER_SENT_BAD,
		     "it sent bytes that are not the chunk that was asked for");
		break;
	case FETCH_LIAR:
		exchanging_drop(agent, blame->source, PEER_LIED,
		     "it says that it has chunks which it then does not give");
		break;
	case FETCH_STALLED:
		shell_log(agent, LOG_LEVEL_INFO, "node %s does not answer: others are asked",
			  peer->of.name);
		break;
	}
}

/* ---- connections ---- */

static void free_news(struct peer_state *peer)
{
	for (size_t i = 0; i < SHELL_SHARES; i++) {
		free(peer->news[i].bits);
		peer->news[i] = (struct peer_news){0};
	}
}

static void go_up(struct agent *agent, uint32_t number)
{
	struct peer_state *peer = exchanging_peer(agent, number);

	if (!peer)
		return;
	peer->up = true;
	peer->offered = 0;
	peer->taken = 0;
	peer->owes = false;
	if (peer->complaint[0])
		agent->peering.report_due = true;
	peer->complaint[0] = '\0';
	peer->fault = PEER_UNREACHABLE;
	free_news(peer);
	serving_joined(agent, number);
	for (struct fetch_job *job = agent->jobs; job; job = job->next)
		if (job->whole)
			set_source(agent, job, number);
}

static void go_down(struct agent *agent, uint32_t number, enum peer_fault fault, const char *text)
{
	struct peer_state *peer = exchanging_peer(agent, number);

	if (!peer || peer->fault == PEER_SENT_BAD || peer->fault == PEER_LIED)
		return;
	if (peer->up)
		serving_left(agent, number);
	else
		complain(agent, number, fault, text);
	peer->up = false;
	for (struct fetch_job *job = agent->jobs; job; job = job->next)
		if (job->whole)
			set_source(agent, job, number);
}

/* ---- the list ---- */

static uint32_t number_of(const struct exchange *exchange, const struct node_id *id)
{
	for (uint32_t n = 1; n <= LIMIT_NEIGHBOURS; n++)
		if (exchange->peers[n - 1].used &&
		    node_id_equal(&exchange->peers[n - 1].of.id, id))
			return n;
	return 0;
}

static bool is_listed(const struct msg_neighbours *neighbours, const struct node_id *id)
{
	for (size_t i = 0; i < neighbours->neighbours_count; i++)
		if (node_id_equal(&neighbours->neighbours[i].id, id))
			return true;
	return false;
}

static void remove_peer(struct agent *agent, uint32_t number)
{
	struct peer_state *peer = &agent->peering.exchange->peers[number - 1];

	serving_left(agent, number);
	agent->peering.report_due |= peer->complaint[0] != '\0';
	for (struct fetch_job *job = agent->jobs; job; job = job->next)
		if (job->whole)
			fetch_remove_source(job->fetch, number);
	free_news(peer);
	codec_free(&codec_msg_neighbour, &peer->of);
	*peer = (struct peer_state){0};
}

static void add_peer(struct agent *agent, const struct msg_neighbour *neighbour)
{
	struct exchange *exchange = agent->peering.exchange;
	uint32_t number = number_of(exchange, &neighbour->id);

	for (uint32_t n = 1; number == 0 && n <= LIMIT_NEIGHBOURS; n++)
		if (!exchange->peers[n - 1].used)
			number = n;
	if (number == 0)
		return; /* the codec allows no more than there are */
	codec_free(&codec_msg_neighbour, &exchange->peers[number - 1].of);
	codec_copy(&codec_msg_neighbour, &exchange->peers[number - 1].of, neighbour);
	exchange->peers[number - 1].used = true;
}

/* The sockets as they are to be. */
static void set_links(struct agent *agent)
{
	const struct peer_ops *ops = &agent->world->peers;
	const struct exchange *exchange = agent->peering.exchange;
	struct peer_place places[LIMIT_NEIGHBOURS];
	struct peer_links links = {.identity = agent->peering.told.identity, .places = places};

	for (uint32_t n = 1; exchange && n <= LIMIT_NEIGHBOURS; n++)
		if (exchange->peers[n - 1].used)
			places[links.count++] =
				(struct peer_place){n, &exchange->peers[n - 1].of};
	ops->set(ops->context, &links);
}

static void close_exchange(struct agent *agent)
{
	struct exchange *exchange = agent->peering.exchange;

	if (!exchange)
		return;
	for (uint32_t n = 1; n <= LIMIT_NEIGHBOURS; n++)
		if (exchange->peers[n - 1].used)
			remove_peer(agent, n);
	for (size_t i = 0; i < SHELL_SHARES; i++)
		if (exchange->shares[i].list)
			chunk_list_free(exchange->shares[i].list);
	serve_free(exchange->serve);
	free(TAKE_PTR(agent->peering.exchange));
}

static void open_exchange(struct agent *agent)
{
	const struct agent_peering *options = &agent->peering.options;

	if (agent->peering.exchange)
		return;
	agent->peering.exchange = mem_alloc(sizeof(*agent->peering.exchange));
	agent->peering.exchange->serve = serve_create();
	serve_set_limits(agent->peering.exchange->serve, !options->metered, options->upload_rate,
			 agent_now(agent));
}

/* The coordinator's word, as far as the administrator lets it be. */
static void apply(struct agent *agent)
{
	const struct msg_neighbours *told = &agent->peering.told;

	if (told->neighbours_count == 0 || !agent->peering.open) {
		if (!agent->peering.exchange)
			return;
		close_exchange(agent);
	} else {
		open_exchange(agent);
		for (uint32_t n = 1; n <= LIMIT_NEIGHBOURS; n++)
			if (exchanging_peer(agent, n) &&
			    !is_listed(told, &agent->peering.exchange->peers[n - 1].of.id))
				remove_peer(agent, n);
		for (size_t i = 0; i < told->neighbours_count; i++)
			add_peer(agent, &told->neighbours[i]);
		serving_shares(agent);
		serve_set_all(agent->peering.exchange->serve, told->all);
	}
	set_links(agent);
	for (struct fetch_job *job = agent->jobs; job; job = job->next)
		set_sources(agent, job);
}

void exchanging_neighbours(struct agent *agent, const struct msg_neighbours *neighbours)
{
	if (!agent->world->peers.set || !agent->peering.options.on)
		return;
	codec_free(&codec_msg_neighbours, &agent->peering.told);
	codec_copy(&codec_msg_neighbours, &agent->peering.told, neighbours);
	apply(agent);
}

/* ---- steps ---- */

static void look_at_window(struct agent *agent, uint64_t now_ms)
{
	struct peering *peering = &agent->peering;
	uint64_t unix_ms = agent->world->unix_ms(agent->world->context);
	bool open;

	if (now_ms < peering->window_ms)
		return;
	peering->window_ms = now_ms + MINUTE_MS - unix_ms % MINUTE_MS;
	open = perform_window(peering->options.window, peering->options.timezone, unix_ms);
	if (open == peering->open)
		return;
	peering->open = open;
	peering->report_due = true;
	apply(agent);
}

void exchanging_step(struct agent *agent, uint64_t now_ms)
{
	look_at_window(agent, now_ms);
	if (agent->peering.exchange) {
		talking_step(agent, now_ms);
		serving_step(agent, now_ms);
	}
	if (agent->peering.report_due)
		reporting_peers(agent);
}

uint64_t exchanging_deadline(const struct agent *agent)
{
	uint64_t at = agent->peering.window_ms;

	if (!agent->peering.exchange)
		return at;
	return shell_min(at, shell_min(talking_deadline(agent), serving_deadline(agent)));
}

void exchanging_start(struct agent *agent, const struct agent_peering *options)
{
	agent->peering.options = *options;
	agent->peering.open = true;
	agent->peering.window_ms = options->on && options->window[0] ? 0 : UINT64_MAX;
}

void exchanging_free(struct agent *agent)
{
	close_exchange(agent);
	codec_free(&codec_msg_neighbours, &agent->peering.told);
}

/* ---- what happens outside ---- */

void agent_on_peer_up(struct agent *agent, uint32_t peer)
{
	go_up(agent, peer);
	shell_exchange_turn(agent);
}

void agent_on_peer_down(struct agent *agent, uint32_t peer, enum peer_fault fault,
			const char *text)
{
	go_down(agent, peer, fault, text);
	shell_exchange_turn(agent);
}

void agent_on_peer_message(struct agent *agent, uint32_t peer, enum peer_way way, const void *data,
			   size_t size)
{
	talking_heard(agent, peer, way, data, size);
	shell_exchange_turn(agent);
}

void agent_on_peers_listen(struct agent *agent, const char *problem)
{
	if (!str_equal(agent->peering.problem, problem))
		agent->peering.report_due = true;
	if (problem[0])
		shell_log(agent, LOG_LEVEL_WARNING, "other nodes cannot connect here: %s", problem);
	STR_CUT(agent->peering.problem, problem);
	shell_exchange_turn(agent);
}

/* ---- for people ---- */

static void view_peer(const struct peer_state *peer, struct peering_neighbour *view)
{
	STR_CUT(view->name, peer->of.name);
	node_id_text(view->node, &peer->of.id);
	STR_CUT(view->endpoint, peer->of.endpoint);
	STR_CUT(view->text, peer->complaint);
	view->up = peer->up;
	view->far = peer->of.far;
	view->got = peer->got;
	view->given = peer->given;
}

void agent_peering(const struct agent *agent, struct peering_view *ret_view)
{
	const struct exchange *exchange = agent->peering.exchange;
	struct peering_view view = {
		.on = agent->peering.options.on,
		.open = agent->peering.open,
		.neighbours = mem_array(LIMIT_NEIGHBOURS, sizeof(struct peering_neighbour))};
	struct serve_stats stats = {0};

	STR_CUT(view.text, agent->peering.problem);
	for (const struct fetch_job *job = agent->jobs; job; job = job->next) {
		view.from_origin += job->from_origin;
		view.from_peers += job->from_peers;
		view.rate_down += job->rate;
	}
	if (exchange)
		serve_stats(exchange->serve, &stats);
	view.rate_up = stats.rate;
	for (size_t i = 0; exchange && i < LIMIT_NEIGHBOURS; i++)
		if (exchange->peers[i].used)
			view_peer(&exchange->peers[i],
				  &view.neighbours[view.neighbours_count++]);
	*ret_view = view;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who exchanges with whom. A release is in exchange while some node that takes part fetches it;
 * then all that fetch or hold it and can be reached stand in a graph
 * (coordinator/core/neighbours.h), and each is told its neighbours. Two that both hold it already
 * have nothing to give each other: their link is left out. When nobody fetches any more, everybody
 * is told an empty list and closes its sockets.
 *
 * All of this is in memory only, and follows from what nodes report: after a restart they report
 * again, and until then they go on with the lists that they have.
 */
#include "coordinator/exchange.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"

enum {
	EVERY_MS = 100,		 /* lists are made anew at most this often, ... */
	NODES_PER_MS = 20,	 /* ... less often in a large fleet */
	START_MS = 3000,	 /* after a start nodes come back before anybody is told anything */
	SLOTS_SPARE = 64,
	IDENTITY_MAX = 64 << 10,
};
static const uint64_t identity_life_ms = UINT64_C(7) * 24 * 3600 * 1000;

/* ---- nodes ---- */

struct shell_node *exchange_node(const struct coordinator *c, uint32_t slot)
{
	return slot < c->slots_count ? c->slots[slot] : NULL;
}

void exchange_add(struct coordinator *c, struct shell_node *node)
{
	uint32_t slot = 0;

	while (slot < c->slots_count && c->slots[slot])
		slot++;
	if (slot == c->slots_count) {
		MEM_GROW(c->slots, &c->slots_cap, c->slots_count);
		c->slots_count++;
	}
	c->slots[slot] = node;
	node->slot = slot;
	exchange_changed(c);
}

static void leave_all(struct coordinator *c, uint32_t slot)
{
	struct exchange *x = c->exchange;

	if (!x || slot >= x->slots)
		return;
	for (size_t i = 0; i < SEEDING_RELEASES; i++) {
		struct release_exchange *release = &x->releases[i];

		if (!release->used || !release->member[slot])
			continue;
		neighbours_leave(release->graph, slot);
		release->member[slot] = release->needs[slot] = false;
	}
	seeds_left(c, slot);
}

void exchange_remove(struct coordinator *c, struct shell_node *node)
{
	leave_all(c, node->slot);
	c->slots[node->slot] = NULL;
	codec_free(&codec_msg_peer_report, &node->peering);
	exchange_changed(c);
}

static const char *label_of(const struct shell_node *node, const char *key)
{
	for (size_t i = 0; i < node->record.labels_count; i++)
		if (str_equal(node->record.labels[i].key, key))
			return node->record.labels[i].value;
	return "";
}

bool exchange_is_thin(const struct shell_node *node)
{
	return str_equal(label_of(node, "link"), "thin");
}

const char *exchange_site(const struct shell_node *node)
{
	return label_of(node, "site");
}

static uint32_t site_number(const struct shell_node *node)
{
	const char *site = exchange_site(node);
	struct digest digest;
	uint32_t number;

	digest_of(&digest, site, strlen(site));
	memcpy(&number, digest.bytes, sizeof(number));
	return number;
}

static bool takes_part(const struct shell_node *node)
{
	return node->has_peering && !node->peering.off && node->linked && !node->silent &&
	       !node->record.revoked && !node->record.pending;
}

/* ---- who has what ---- */

static bool has_release(const struct deployment_report *report, const struct digest *release)
{
	if (digest_equal(&report->release, release) ||
	    (report->staged && digest_equal(&report->target, release)))
		return true;
	for (size_t i = 0; i < COLOUR_COUNT; i++)
		if (digest_equal(&report->slots[i].release, release))
			return true;
	return false;
}

static bool holds(const struct shell_node *node, const struct digest *release)
{
	for (size_t i = 0; i < node->status.deployments_count; i++)
		if (has_release(&node->status.deployments[i], release))
			return true;
	return false;
}

static bool fetches(const struct shell_node *node, const struct assignment *assignment,
		    const struct digest *release)
{
	const struct deployment_report *report = agents_report(node, assignment->deployment);

	if (!report)
		return true;
	if (has_release(report, release))
		return false;
	if (digest_equal(&report->target, release))
		return report->state == NODE_STATE_FETCHING || report->state == NODE_STATE_PENDING;
	return !digest_equal(&report->last.release, release) ||
	       report->last.kind == OUTCOME_COMPLETED;
}

static bool is_wanted(const struct assignment *assignment, const struct digest *release)
{
	return digest_equal(&assignment->next, release) && assignment->goal >= GOAL_FETCH;
}

/* Calls fn for each release that the node may exchange now. */
static void each_release(struct coordinator *c, struct shell_node *node,
			 void fn(struct coordinator *c, struct shell_node *node,
				 const struct digest *release, bool fetching))
{
	for (size_t i = 0; i < node->desired.assignments_count; i++) {
		const struct assignment *a = &node->desired.assignments[i];
		const struct store_delta *set;

		if (!digest_is_zero(&a->base))
			fn(c, node, &a->base, fetches(node, a, &a->base) && !a->revert &&
						      digest_is_zero(&a->next));
		if (!is_wanted(a, &a->next))
			continue;
		fn(c, node, &a->next, fetches(node, a, &a->next));
		set = deltas_for(c, node, &a->next);
		if (set)
			fn(c, node, &set->set, fetches(node, a, &a->next));
	}
}

/* ---- releases ---- */

struct release_exchange *exchange_find(const struct coordinator *c, const struct digest *release,
				       uint32_t *ret_at)
{
	for (uint32_t i = 0; c->exchange && i < SEEDING_RELEASES; i++) {
		struct release_exchange *x = &c->exchange->releases[i];

		if (!x->used || !digest_equal(&x->release, release))
			continue;
		*ret_at = i;
		return x;
	}
	return NULL;
}

static void close_release(struct coordinator *c, uint32_t at)
{
	struct release_exchange *x = &c->exchange->releases[at];

	seeds_close(c, at);
	neighbours_free(x->graph);
	if (x->list)
		chunk_list_free(x->list);
	free(x->member);
	free(x->needs);
	*x = (struct release_exchange){0};
}

static struct chunk_list *load_list(struct coordinator *c, const struct digest *digest)
{
	struct release release;
	struct envelope envelope;
	AUTO_FREE struct chunk_ref *refs = NULL;
	size_t count = 0;
	struct err err = {0};
	int r;

	if (deltas_objects(c, digest, &refs, &count))
		return chunk_list_create(refs, count);
	free(TAKE_PTR(refs));
	r = artifacts_open(c, digest, &release, &envelope, &err);

	if (r < 0)
		return NULL;
	for (size_t i = 0; r == 0 && i < release.blobs_count && count <= LIMIT_PEER_CHUNKS; i++) {
		struct chunk_index index = {0};

		r = artifacts_index(c, &release.blobs[i].index, &index, &err);
		refs = mem_resize(refs, count + index.chunks_count + 1, sizeof(*refs));
		for (size_t k = 0; k < index.chunks_count; k++)
			refs[count++] = index.chunks[k];
		codec_free(&codec_chunk_index, &index);
	}
	codec_free(&codec_envelope, &envelope);
	release_free(&release);
	return r == 0 && count > 0 ? chunk_list_create(refs, count) : NULL;
}

static void open_exchange(struct coordinator *c)
{
	if (c->exchange)
		return;
	c->exchange = mem_alloc(sizeof(*c->exchange));
	c->exchange->slots = (uint32_t)c->slots_count + (uint32_t)c->slots_count / 4 + SLOTS_SPARE;
	seeds_start(c);
}

static void open_release(struct coordinator *c, const struct digest *digest)
{
	struct release_exchange *x;
	uint32_t at = 0;
	uint64_t seed;

	open_exchange(c);
	while (at < SEEDING_RELEASES && c->exchange->releases[at].used)
		at++;
	if (at == SEEDING_RELEASES)
		return; /* the origin gives the others */
	x = &c->exchange->releases[at];
	memcpy(&seed, digest->bytes, sizeof(seed));
	*x = (struct release_exchange){
		.used = true,
		.release = *digest,
		.list = load_list(c, digest),
		.graph = neighbours_create(c->exchange->slots, seed),
		.member = mem_array(c->exchange->slots, sizeof(bool)),
		.needs = mem_array(c->exchange->slots, sizeof(bool)),
	};
	if (x->list && chunk_list_count(x->list) <= LIMIT_PEER_CHUNKS) {
		seeds_open(c, at);
		return;
	}
	if (x->list)
		chunk_list_free(x->list);
	x->list = NULL;
}

/* ---- members ---- */

static void need(struct coordinator *c, struct shell_node *node, const struct digest *release,
		 bool fetching)
{
	uint32_t at;

	if (fetching && !exchange_find(c, release, &at))
		open_release(c, release);
}

static void join(struct coordinator *c, struct shell_node *node, const struct digest *release,
		 bool fetching)
{
	uint32_t at;
	struct release_exchange *x = exchange_find(c, release, &at);
	const struct neighbours_node about = {.site = site_number(node),
					      .thin = exchange_is_thin(node),
					      .closed = node->peering.port == 0};

	if (!x || !x->list)
		return;
	node->exchanging |= UINT64_C(1) << at;
	x->needs[node->slot] |= fetching;
	node->fetching |= fetching ? UINT64_C(1) << at : 0;
	if (!x->member[node->slot] && neighbours_join(x->graph, node->slot, &about) == 0)
		x->member[node->slot] = true;
	if (holds(node, release))
		seeds_held(c, node, at);
}

static bool is_needed(const struct coordinator *c, uint32_t at)
{
	for (uint32_t slot = 0; slot < c->slots_count; slot++)
		if (c->slots[slot] && c->slots[slot]->fetching >> at & 1)
			return true;
	return false;
}

/* Brings the graphs to what the nodes want and report now. */
static void update_members(struct coordinator *c)
{
	if (c->exchange && c->slots_count > c->exchange->slots)
		exchange_free_all(c); /* the fleet has outgrown it: all begins anew */
	for (uint32_t slot = 0; slot < c->slots_count; slot++) {
		struct shell_node *node = c->slots[slot];

		if (!node)
			continue;
		node->exchanging = node->fetching = 0;
		if (takes_part(node) && node->desired_made)
			each_release(c, node, need);
	}
	for (uint32_t slot = 0; c->exchange && slot < c->slots_count; slot++)
		if (c->slots[slot] && takes_part(c->slots[slot]) && c->slots[slot]->desired_made)
			each_release(c, c->slots[slot], join);
	for (uint32_t at = 0; c->exchange && at < SEEDING_RELEASES; at++) {
		struct release_exchange *x = &c->exchange->releases[at];

		if (x->used && !is_needed(c, at))
			close_release(c, at);
		for (uint32_t slot = 0; x->used && slot < c->exchange->slots; slot++) {
			const struct shell_node *node = exchange_node(c, slot);

			if (!x->member[slot] || (node && node->exchanging >> at & 1))
				continue;
			neighbours_leave(x->graph, slot);
			x->member[slot] = x->needs[slot] = false;
		}
	}
}

/* ---- lists ---- */

void exchange_endpoint(const struct shell_node *node, char dst[LIMIT_ENDPOINT + 1])
{
	const char *address = node->peering.address[0] ? node->peering.address : node->seen_at;
	bool v6 = strchr(address, ':') != NULL;

	dst[0] = '\0';
	if (node->peering.port != 0 && address[0])
		snprintf(dst, LIMIT_ENDPOINT + 1, "tcp://%s%s%s:%u", v6 ? "[" : "", address,
			 v6 ? "]" : "", node->peering.port);
}

static struct msg_neighbour *need_neighbour(struct msg_neighbours *list,
					    const struct shell_node *other,
					    const struct neighbour *link)
{
	struct msg_neighbour *neighbour;

	for (size_t i = 0; i < list->neighbours_count; i++)
		if (node_id_equal(&list->neighbours[i].id, &other->record.id))
			return &list->neighbours[i];
	if (list->neighbours_count == LIMIT_NEIGHBOURS)
		return NULL;
	neighbour = &list->neighbours[list->neighbours_count++];
	neighbour->id = other->record.id;
	STR_CUT(neighbour->name, other->record.name);
	neighbour->link_key = other->record.link_key;
	neighbour->dial = link->dial;
	neighbour->far = link->far;
	if (link->dial)
		exchange_endpoint(other, neighbour->endpoint);
	return neighbour;
}

static void add_release(struct msg_neighbour *neighbour, const struct digest *release)
{
	size_t count = neighbour->releases_count;

	if (count == 2 * LIMIT_DEPLOYMENTS_PER_NODE)
		return;
	neighbour->releases = mem_resize(neighbour->releases, count + 1,
					 sizeof(*neighbour->releases));
	neighbour->releases[neighbour->releases_count++].digest = *release;
}

static void collect(struct coordinator *c, const struct shell_node *node,
		    struct msg_neighbours *list)
{
	list->all = true;
	for (size_t i = 0; c->exchange && i < SEEDING_RELEASES; i++) {
		const struct release_exchange *x = &c->exchange->releases[i];
		struct neighbour links[NEIGHBOURS_MAX];
		size_t count;

		if (!x->used || node->slot >= c->exchange->slots || !x->member[node->slot])
			continue;
		count = neighbours_of(x->graph, node->slot, links);
		list->all = list->all && !neighbours_is_sparse(x->graph);
		for (size_t k = 0; k < count; k++) {
			const struct shell_node *other = exchange_node(c, links[k].node);
			struct msg_neighbour *neighbour;

			if (!other || (!x->needs[node->slot] && !x->needs[other->slot]))
				continue;
			neighbour = need_neighbour(list, other, &links[k]);
			if (neighbour)
				add_release(neighbour, &x->release);
		}
	}
}

static struct digest list_digest(const struct msg_neighbours *list)
{
	struct bytes data = {0};
	struct digest digest = {0};

	if (list->neighbours_count > 0 &&
	    codec_encode(&codec_msg_neighbours, list, LIMIT_DESIRED_MESSAGE, &data, NULL) == 0)
		digest_of(&digest, data.data, data.size);
	free(data.data);
	return digest;
}

static void tell(struct coordinator *c, struct shell_node *node)
{
	struct msg_neighbours list = {0};
	struct digest digest;
	struct err err = {0};
	int r = 0;

	if (!c->exchange && !node->neighbours_due && digest_is_zero(&node->neighbours_told))
		return;
	list.neighbours = mem_array(LIMIT_NEIGHBOURS, sizeof(*list.neighbours));
	collect(c, node, &list);
	digest = list_digest(&list);
	if (!digest_equal(&digest, &node->neighbours_told) || node->neighbours_due) {
		if (list.neighbours_count > 0)
			r = enrol_identity(c, node, identity_life_ms, &list.identity, &err);
		if (r < 0) {
			log_error("neighbours of %s: %s", node->record.name, err_text(&err, r));
		} else {
			agents_send(c, &node->record.id, MESSAGE_NEIGHBOURS, &list);
			node->neighbours_told = digest;
			node->neighbours_due = false;
		}
	}
	codec_free(&codec_msg_neighbours, &list);
}

void exchange_changed(struct coordinator *c)
{
	uint64_t due = c->exchange_made_ms + EVERY_MS + c->slots_count / NODES_PER_MS;

	if (due < c->started_ms + START_MS)
		due = c->started_ms + START_MS;
	if (c->exchange_due_ms > due)
		c->exchange_due_ms = due;
}

void exchange_update(struct coordinator *c, uint64_t now_ms)
{
	if (now_ms < c->exchange_due_ms || c->dirty)
		return;
	c->exchange_due_ms = UINT64_MAX;
	c->exchange_made_ms = now_ms;
	update_members(c);
	for (uint32_t slot = 0; slot < c->slots_count; slot++)
		if (c->slots[slot] && c->slots[slot]->linked && c->slots[slot]->has_peering)
			tell(c, c->slots[slot]);
}

/* ---- reports ---- */

static const struct peer_complaint *find_complaint(const struct msg_peer_report *report,
						   const struct node_id *node)
{
	for (size_t i = 0; i < report->complaints_count; i++)
		if (node_id_equal(&report->complaints[i].node, node))
			return &report->complaints[i];
	return NULL;
}

/* Its place among the newest: the same complaint again, or the oldest. */
static struct shell_trouble *trouble_of(struct shell_node *node, const struct node_id *by,
					enum peer_fault fault)
{
	struct shell_trouble *oldest;

	if (!node->troubles)
		node->troubles = mem_array(SHELL_TROUBLES, sizeof(*node->troubles));
	oldest = &node->troubles[0];
	for (size_t i = 0; i < SHELL_TROUBLES; i++) {
		struct shell_trouble *trouble = &node->troubles[i];

		if (trouble->at_ms && trouble->fault == fault && node_id_equal(&trouble->by, by))
			return trouble;
		if (trouble->at_ms < oldest->at_ms)
			oldest = trouble;
	}
	return oldest;
}

static void take_complaint(struct coordinator *c, const struct shell_node *node,
			   const struct peer_complaint *complaint)
{
	struct shell_node *other = agents_find(c, &complaint->node);
	struct shell_trouble *trouble;
	bool final = complaint->fault == PEER_SENT_BAD || complaint->fault == PEER_LIED;

	if (!other)
		return;
	trouble = trouble_of(other, &node->record.id, complaint->fault);
	*trouble = (struct shell_trouble){
		.by = node->record.id, .fault = complaint->fault, .at_ms = shell_now(c)};
	STR_CUT(trouble->text, complaint->text);
	if (final)
		events_add(c, "peer", NULL, NULL, other->record.name, "%s says: %s",
			   node->record.name, complaint->text);
	for (size_t i = 0; c->exchange && i < SEEDING_RELEASES; i++) {
		struct release_exchange *x = &c->exchange->releases[i];

		if (x->used && node->slot < c->exchange->slots &&
		    other->slot < c->exchange->slots && x->member[node->slot] &&
		    x->member[other->slot])
			(void)neighbours_failed(x->graph, node->slot, other->slot, final);
	}
}

void exchange_report(struct coordinator *c, struct shell_node *node,
		     const struct msg_peer_report *report)
{
	struct msg_peer_report before = node->peering;
	bool moved = before.port != report->port || before.off != report->off ||
		     !str_equal(before.address, report->address);

	codec_copy(&codec_msg_peer_report, &node->peering, report);
	if (!node->has_peering || moved) /* it stands elsewhere in the graphs now */
		leave_all(c, node->slot);
	node->has_peering = true;
	for (size_t i = 0; i < report->complaints_count; i++) {
		const struct peer_complaint *now = &report->complaints[i];
		const struct peer_complaint *then = find_complaint(&before, &now->node);

		if (!then || then->fault != now->fault)
			take_complaint(c, node, now);
	}
	codec_free(&codec_msg_peer_report, &before);
	exchange_changed(c);
}

/* A node that begins a new link may have begun anew: it is told its list in any case. */
void exchange_linked(struct coordinator *c, struct shell_node *node, const char *from)
{
	if (!str_equal(node->seen_at, from))
		leave_all(c, node->slot);
	STR_CUT(node->seen_at, from);
	node->neighbours_due = true;
	exchange_changed(c);
}

void exchange_free_all(struct coordinator *c)
{
	if (!c->exchange)
		return;
	for (uint32_t i = 0; i < SEEDING_RELEASES; i++)
		if (c->exchange->releases[i].used)
			close_release(c, i);
	seeds_stop(c);
	free(TAKE_PTR(c->exchange));
}

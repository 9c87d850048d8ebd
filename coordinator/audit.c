/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit log: one entry for each operator's action, with its outcome. Each entry's hash covers
 * the entry and the hash before it, so that nothing can be taken out or changed without the rest
 * no longer fitting; the store refuses updates and deletions as well.
 */
#include "coordinator/shell.h"

#include "base/str.h"
#include "protocol/digest.h"

static void add_text(struct digest_state *state, const char *text)
{
	digest_add(state, text, strlen(text) + 1);
}

static void add_u64(struct digest_state *state, uint64_t value)
{
	uint8_t bytes[8];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(value >> (8 * i));
	digest_add(state, bytes, sizeof(bytes));
}

static void entry_hash(const struct digest *before, const struct store_audit *entry,
		       struct digest *ret_hash)
{
	struct digest_state state;

	digest_init(&state);
	digest_add(&state, before->bytes, DIGEST_SIZE);
	add_u64(&state, entry->sequence);
	add_u64(&state, entry->at_ms);
	add_text(&state, entry->who);
	add_text(&state, entry->from);
	add_text(&state, entry->verb);
	add_text(&state, entry->what);
	add_text(&state, entry->outcome);
	digest_end(&state, ret_hash);
}

struct chain {
	struct store_audit last;
	bool broken;
};

static int check_entry(void *arg, const struct store_audit *entry)
{
	struct chain *chain = arg;
	struct digest hash;

	entry_hash(&chain->last.hash, entry, &hash);
	if (entry->sequence != chain->last.sequence + 1 || !digest_equal(&hash, &entry->hash)) {
		chain->last.sequence++;
		chain->broken = true;
		return 1;
	}
	chain->last = *entry;
	return 0;
}

int audit_load(struct coordinator *c, struct err *err)
{
	struct chain chain = {0};
	int r = c->store->ops->audit_each(c->store, 0, check_entry, &chain, err);

	if (r < 0)
		return r;
	if (chain.broken)
		return err_set(err, -EUCLEAN,
			       "the audit log does not fit together at entry %llu: somebody changed "
			       "the database; restore a backup",
			       (unsigned long long)chain.last.sequence);
	c->audit_head = chain.last;
	return 0;
}

int audit_append(struct coordinator *c, const char *who, const char *from, const char *verb,
		 const char *what, const char *outcome, struct err *err)
{
	struct store_audit *entry = &c->audit_next;

	*entry = (struct store_audit){.sequence = c->audit_head.sequence + 1,
				      .at_ms = shell_now(c)};
	STR_CUT(entry->who, who);
	STR_CUT(entry->from, from);
	STR_CUT(entry->verb, verb);
	STR_CUT(entry->what, what);
	STR_CUT(entry->outcome, outcome);
	entry_hash(&c->audit_head.hash, entry, &entry->hash);
	return c->store->ops->audit_append(c->store, entry, err);
}

void audit_committed(struct coordinator *c)
{
	c->audit_head = c->audit_next;
}

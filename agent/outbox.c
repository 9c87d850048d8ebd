/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An index in memory, in the order of names; each entry's record is in memory, in the journal or in
 * both. What was sent once is never changed any more: the coordinator may have it, and knows it by
 * its name. Adding up two records keeps the newer name, so whatever lies between them in the order
 * is not disturbed: none of them was sent either.
 */
#include "agent/outbox.h"

#include "base/mem.h"
#include "base/str.h"
#include "evidence/record.h"
#include "protocol/codec_tables.h"

enum { MESSAGE_BYTES = LIMIT_AGENT_MESSAGE / 2 };

struct entry {
	struct journal_observation name;
	struct observation_record *record; /* NULL: in the journal alone */
	bool stored, sent_stored; /* in the journal; and as sent */
	uint64_t kind; /* equal for records that may be added up; checked before they are */
	uint32_t periods;
};

struct outbox {
	struct journal *journal;
	uint64_t boot_epoch, sequence;
	uint64_t lost; /* to be told by the next record */
	struct entry entries[OUTBOX_MAX];
	size_t count;
};

/* ---- records ---- */

static uint64_t hash(uint64_t hash, const void *data, size_t size) /* FNV-1a, 64 bit */
{
	for (const uint8_t *at = data, *end = at + size; at < end; at++)
		hash = (hash ^ *at) * 1099511628211u;
	return hash;
}

static uint64_t kind_of(const struct observation_record *record)
{
	uint64_t h = hash(14695981039346656037u, record->deployment, strlen(record->deployment));

	h = hash(h, &record->colour, sizeof(record->colour));
	h = hash(h, &record->release, sizeof(record->release));
	h = hash(h, &record->rollout, sizeof(record->rollout));
	return hash(h, &record->baseline, sizeof(record->baseline));
}

static void record_free(struct observation_record *record)
{
	if (record)
		codec_free(&codec_observation_record, record);
	free(record);
}

static void describe(struct entry *entry, const struct observation_record *record)
{
	entry->name.boot_epoch = record->boot_epoch;
	entry->name.sequence = record->sequence;
	entry->kind = kind_of(record);
	entry->periods = record->periods;
}

static int decode(void *context, const struct journal_observation *name, const void *data,
		  size_t size, struct err *err)
{
	return codec_decode(&codec_observation_record, data, size, context, err);
}

/* A copy of an entry's record, from wherever it is. */
static int read_record(struct outbox *box, const struct entry *entry,
		       struct observation_record *ret_record, struct err *err)
{
	if (entry->record) {
		codec_copy(&codec_observation_record, ret_record, entry->record);
		return 0;
	}
	return journal_load_observation(box->journal, entry->name.boot_epoch, entry->name.sequence,
					decode, ret_record, err);
}

static int write_record(struct outbox *box, const struct journal_observation *name,
			const struct observation_record *record, struct err *err)
{
	struct bytes bytes = {0};
	int r = codec_encode(&codec_observation_record, record, LIMIT_AGENT_MESSAGE, &bytes, err);

	if (r == 0)
		r = journal_save_observation(box->journal, name, bytes.data, bytes.size, err);
	free(bytes.data);
	return r;
}

/* ---- life ---- */

static int load_entry(void *context, const struct journal_observation *name, const void *data,
		      size_t size, struct err *err)
{
	struct outbox *box = context;
	struct entry *entry = &box->entries[box->count];
	struct observation_record record;

	if (box->count == OUTBOX_MAX ||
	    codec_decode(&codec_observation_record, data, size, &record, NULL) < 0) {
		box->lost++;
		return 0; /* goes with the next acknowledgement */
	}
	*entry = (struct entry){.stored = true, .sent_stored = name->sent};
	describe(entry, &record);
	entry->name = *name;
	box->count++;
	codec_free(&codec_observation_record, &record);
	return 0;
}

int outbox_open(struct journal *journal, uint64_t boot_epoch, struct outbox **ret_outbox,
		struct err *err)
{
	struct outbox *box = mem_alloc(sizeof(*box));
	int r;

	box->journal = journal;
	box->boot_epoch = boot_epoch;
	r = journal_each_observation(journal, load_entry, box, err);
	if (box->count > 0 && box->entries[box->count - 1].name.boot_epoch >= boot_epoch)
		box->boot_epoch = box->entries[box->count - 1].name.boot_epoch + 1;
	if (r < 0) {
		outbox_free(box);
		return r;
	}
	*ret_outbox = box;
	return 0;
}

void outbox_free(struct outbox *box)
{
	for (size_t i = 0; i < box->count; i++)
		record_free(box->entries[i].record);
	free(box);
}

/* ---- making room ---- */

static void remove_entry(struct outbox *box, size_t at)
{
	record_free(box->entries[at].record);
	box->count--;
	memmove(&box->entries[at], &box->entries[at + 1],
		(box->count - at) * sizeof(box->entries[0]));
}

/* The next entry behind `at` that may be added to it, or SIZE_MAX. */
static size_t partner(const struct outbox *box, size_t at)
{
	for (size_t i = at + 1; i < box->count; i++)
		if (!box->entries[i].name.sent && box->entries[i].kind == box->entries[at].kind)
			return i;
	return SIZE_MAX;
}

static bool find_pair(const struct outbox *box, size_t *ret_first, size_t *ret_second)
{
	uint64_t best = UINT64_MAX;

	for (size_t i = 0; i < box->count; i++) {
		size_t with = box->entries[i].name.sent ? SIZE_MAX : partner(box, i);

		if (with == SIZE_MAX || (uint64_t)box->entries[i].periods +
						 box->entries[with].periods >= best)
			continue;
		best = (uint64_t)box->entries[i].periods + box->entries[with].periods;
		*ret_first = i;
		*ret_second = with;
	}
	return best != UINT64_MAX;
}

static int store_sum(struct outbox *box, const struct entry *first, const struct entry *second,
		     const struct observation_record *sum, struct err *err)
{
	int r = journal_begin(box->journal, err);

	if (r < 0)
		return r;
	r = write_record(box, &second->name, sum, err);
	if (r == 0)
		r = journal_drop_observation(box->journal, first->name.boot_epoch,
					     first->name.sequence, err);
	if (r < 0) {
		journal_abandon(box->journal);
		return r;
	}
	return journal_commit(box->journal, err);
}

static int add_up(struct outbox *box, struct entry *first, struct entry *second)
{
	struct observation_record sum = {0}, newer = {0};
	int r = read_record(box, first, &sum, NULL);

	if (r == 0)
		r = read_record(box, second, &newer, NULL);
	if (r == 0 && !record_same(&sum, &newer))
		r = -EINVAL;
	if (r == 0) {
		record_add(&sum, &newer);
		if (first->stored || second->stored)
			r = store_sum(box, first, second, &sum, NULL);
	}
	if (r == 0) {
		second->periods = sum.periods;
		if (first->stored || second->stored) {
			second->stored = true;
			record_free(TAKE_PTR(second->record));
		} else {
			codec_free(&codec_observation_record, second->record);
			*second->record = sum;
			sum = (struct observation_record){0};
		}
	} else {
		second->kind += 1; /* these two are not tried again */
	}
	codec_free(&codec_observation_record, &sum);
	codec_free(&codec_observation_record, &newer);
	return r;
}

static void drop_oldest(struct outbox *box)
{
	struct entry *oldest = &box->entries[0];

	if (oldest->stored) /* if not now, then with the next acknowledgement */
		(void)!journal_drop_observation(box->journal, oldest->name.boot_epoch,
						oldest->name.sequence, NULL);
	box->lost += oldest->periods;
	remove_entry(box, 0);
}

static void make_room(struct outbox *box)
{
	size_t first = 0, second = 0;

	while (box->count == OUTBOX_MAX && find_pair(box, &first, &second))
		if (add_up(box, &box->entries[first], &box->entries[second]) == 0)
			remove_entry(box, first);
	if (box->count == OUTBOX_MAX)
		drop_oldest(box);
}

/* ---- in and out ---- */

void outbox_add(struct outbox *box, struct observation_record *record)
{
	struct observation_record *own = mem_alloc(sizeof(*own));
	struct entry *entry;

	make_room(box);
	*own = *record;
	memset(record, 0, sizeof(*record));
	own->boot_epoch = box->boot_epoch;
	own->sequence = ++box->sequence;
	own->lost += box->lost;
	box->lost = 0;
	entry = &box->entries[box->count++];
	*entry = (struct entry){.record = own};
	describe(entry, own);
}

bool outbox_is_young(const struct outbox *box)
{
	for (size_t i = 0; i < box->count; i++)
		if (!box->entries[i].stored ||
		    box->entries[i].name.sent != box->entries[i].sent_stored)
			return true;
	return false;
}

static int store_entries(struct outbox *box, size_t count, struct err *err)
{
	int r = journal_begin(box->journal, err);

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < count; i++) {
		struct entry *entry = &box->entries[i];

		if (!entry->stored)
			r = write_record(box, &entry->name, entry->record, err);
		else if (entry->name.sent && !entry->sent_stored)
			r = journal_mark_observations(box->journal, entry->name.boot_epoch,
						      entry->name.sequence, err);
	}
	if (r < 0) {
		journal_abandon(box->journal);
		return r;
	}
	return journal_commit(box->journal, err);
}

static int store_first(struct outbox *box, size_t count, struct err *err)
{
	int r = store_entries(box, count, err);

	for (size_t i = 0; r == 0 && i < count; i++) {
		struct entry *entry = &box->entries[i];

		entry->stored = true;
		entry->sent_stored = entry->name.sent;
		record_free(TAKE_PTR(entry->record));
	}
	return r;
}

int outbox_store(struct outbox *box, struct err *err)
{
	return outbox_is_young(box) ? store_first(box, box->count, err) : 0;
}

static size_t encoded_size(const struct observation_record *record)
{
	struct bytes bytes = {0};

	if (codec_encode(&codec_observation_record, record, LIMIT_AGENT_MESSAGE, &bytes, NULL) < 0)
		return 0;
	free(bytes.data);
	return bytes.size;
}

/* True when an entry that waits in the journal has to be marked there before it is sent: after a
 * crash it must not be changed any more. */
static bool needs_mark(const struct outbox *box, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (box->entries[i].stored && !box->entries[i].sent_stored)
			return true;
	return false;
}

static int fill(struct outbox *box, struct msg_observed *message, struct err *err)
{
	size_t size = 0;

	while (message->records_count < box->count && message->records_count < LIMIT_RECORDS) {
		struct observation_record *record = &message->records[message->records_count];
		int r = read_record(box, &box->entries[message->records_count], record, err);

		if (r == -ENOENT || r == -EBADMSG || r == -EMSGSIZE) { /* the journal lost it */
			box->lost += box->entries[message->records_count].periods;
			remove_entry(box, message->records_count);
			continue;
		}
		if (r < 0)
			return r;
		size += encoded_size(record);
		if (size > MESSAGE_BYTES && message->records_count > 0) {
			codec_free(&codec_observation_record, record);
			return 0;
		}
		message->records_count++;
	}
	return 0;
}

int outbox_take(struct outbox *box, struct msg_observed *ret_message, struct err *err)
{
	struct msg_observed message = {
		.records = mem_array(LIMIT_RECORDS, sizeof(struct observation_record))};
	int r = fill(box, &message, err);

	for (size_t i = 0; r == 0 && i < message.records_count; i++)
		box->entries[i].name.sent = true;
	if (r == 0 && needs_mark(box, message.records_count))
		r = store_first(box, message.records_count, err);
	if (r < 0) {
		codec_free(&codec_msg_observed, &message);
		return r;
	}
	*ret_message = message;
	return 0;
}

/* The coordinator has heard of starts of this node that its journal does not know of: that was lost,
 * and counting begins again above them. Nothing of what is here was taken. */
static void rename_all(struct outbox *box, uint64_t boot_epoch)
{
	size_t count = box->count;

	box->boot_epoch = boot_epoch;
	box->sequence = 0;
	box->count = 0;
	for (size_t i = 0; i < count; i++) {
		struct entry old = box->entries[i]; /* its place may be taken by the new one */
		struct observation_record record = {0};

		if (read_record(box, &old, &record, NULL) == 0)
			outbox_add(box, &record);
		if (old.stored)
			(void)!journal_drop_observation(box->journal, old.name.boot_epoch,
							old.name.sequence, NULL);
		record_free(old.record);
	}
}

bool outbox_acknowledge(struct outbox *box, uint64_t boot_epoch, uint64_t sequence)
{
	bool any = false, stored = false;

	if (boot_epoch > box->boot_epoch && boot_epoch < INT64_MAX) {
		rename_all(box, boot_epoch + 1);
		return true;
	}

	while (box->count > 0) {
		const struct journal_observation *name = &box->entries[0].name;

		if (name->boot_epoch > boot_epoch ||
		    (name->boot_epoch == boot_epoch && name->sequence > sequence))
			break;
		stored = stored || box->entries[0].stored;
		any = true;
		remove_entry(box, 0);
	}
	if (stored) /* if it fails they are sent once more after a restart, and known by name */
		(void)!journal_drop_observations(box->journal, boot_epoch, sequence, NULL);
	return any;
}

size_t outbox_count(const struct outbox *box)
{
	return box->count;
}

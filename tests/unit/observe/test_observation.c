/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a server: what it means, what the library of observe.h writes, and that no bytes
 * whatsoever do harm. With arguments: each is a file whose bytes are read (for fuzzers).
 */
#include "agent/observe/tally.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "covey/observe.h"
#include "evidence/build.h"
#include "evidence/record.h"
#include "protocol/codec_tables.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

/* ---- numbers ---- */

static double number(const char *text)
{
	double value = 77;

	return observation_number(text, strlen(text), &value) ? value : 1e300;
}

static void test_numbers(void **state)
{
	static const char *const same[] = {"0", "1", "-1", "+2.5", "0.1", "123456.789", "1e3",
					   "2.5e-3", "1E+5", "0.000001", "9007199254740993", ".5",
					   "5.", "1e22", "1e-22", "123456789012345678901234567890",
					   "0.30000000000000004", "3.14159265358979", "1e-300",
					   "-7e250", "0e999"};
	static const char *const none[] = {"", "-", ".", "e5", "1e", "1e+", "0x10", "1,5", "1 ",
					   "12abc", "--1", "1.2.3", "nano", "in"};

	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		double want = strtod(same[i], NULL), got = number(same[i]);

		if (!(fabs(got - want) <= 1e-15 * fabs(want) * 4))
			fail_msg("%s is %.17g, not %.17g", same[i], want, got);
	}
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		if (!(number(none[i]) > 1e299))
			fail_msg("`%s` is no number", none[i]);
	assert_true(isnan(number("nan")) && isnan(number("NaN")));
	assert_true(number("inf") == INFINITY && number("-Infinity") == -INFINITY);
	assert_true(number("1e400") == INFINITY && number("1e-400") == 0);
}

static void test_numbers_as_printed(void **state)
{
	struct rng rng = {.state = 5};
	char text[64];

	for (int i = 0; i < 100000; i++) {
		double want = (rng_unit(&rng) - 0.5) * pow(10, (double)rng_below(&rng, 40) - 20);

		snprintf(text, sizeof(text), "%.*g", 1 + (int)rng_below(&rng, 15), want);
		want = strtod(text, NULL);
		if (!(fabs(number(text) - want) <= 1e-15 * fabs(want)))
			fail_msg("%s: %.17g", text, number(text));
	}
}

/* ---- lines ---- */

static struct observation one(const char *text)
{
	const char *at = text;
	struct observation o;

	assert_true(observation_next(&at, text + strlen(text), &o));
	return o;
}

static void test_a_request(void **state)
{
	struct observation o = one("latency_us=1830 status=200 class=7  score=0.93\tx.ink=0.21 "
				   "x.camera=front n=12\r\n");

	assert_true(o.request && o.has_latency && !o.begin && !o.end && !o.has_label);
	assert_int_equal(o.latency_us, 1830);
	assert_int_equal(o.outcome, OBSERVED_OK);
	assert_int_equal(o.times, 12);
	assert_int_equal(o.strange, 0);
	assert_int_equal(o.values_count, 4);
	assert_memory_equal(o.values[0].name, "class", 5);
	assert_memory_equal(o.values[3].name, "camera", o.values[3].name_size);
	assert_memory_equal(o.values[3].text, "front", o.values[3].text_size);
	assert_true(isnan(o.values[3].number) && !o.values[3].is_number);
	assert_true(o.values[2].number == 0.21);
}

static void test_outcomes(void **state)
{
	assert_int_equal(one("status=404").outcome, OBSERVED_OK);
	assert_int_equal(one("status=500").outcome, OBSERVED_ERROR);
	assert_int_equal(one("status=504").outcome, OBSERVED_TIMEOUT);
	assert_int_equal(one("outcome=timeout").outcome, OBSERVED_TIMEOUT);
	assert_int_equal(one("status=200 outcome=error").outcome, OBSERVED_ERROR);
	assert_int_equal(one("status=200 score=-inf").outcome, OBSERVED_INVALID);
	assert_int_equal(one("score=fine status=200").outcome, OBSERVED_INVALID);
	assert_false(one("x.ink=3").request);
	assert_false(one("label=wrong").request);
	assert_true(one("end").request);
	assert_false(one("begin status=200").request);
}

static void test_units(void **state)
{
	assert_int_equal(one("latency_ms=1.5").latency_us, 1500);
	assert_int_equal(one("latency_s=0.0000015").latency_us, 2);
	assert_int_equal(one("latency_us=1e3").latency_us, 1000);
}

static void test_what_cannot_be_read_costs_its_field(void **state)
{
	static const char *const strange[] = {
		"status=200 latency_us=-1", "status=200 latency_ms=nan", "status=200 latency_s=1e15",
		"status=200 status=99",	    "status=200 status=2000",	 "status=200 outcome=great",
		"status=200 label=maybe",   "status=200 n=0",		 "status=200 n=1000001",
		"status=200 x.=1",	    "status=200 bogus=1",	 "status=200 word",
		"status=200 =",		    "status=200 lost=-1",	 "status=200 \x80\xff",
	};

	for (size_t i = 0; i < ARRAY_SIZE(strange); i++) {
		struct observation o = one(strange[i]);

		if (o.strange != 1 || !o.request || o.outcome != OBSERVED_OK || o.times != 1 ||
		    o.has_latency || o.values_count != 0)
			fail_msg("%s", strange[i]);
	}
	assert_int_equal(one("nothing of it").strange, 3);
}

static void test_lines_end_where_they_end(void **state)
{
	const char text[] = "\n\n status=200\n\n\r\nstatus=500";
	const char *at = text, *end = text + sizeof(text) - 1;
	struct observation o;

	assert_true(observation_next(&at, end, &o));
	assert_int_equal(o.outcome, OBSERVED_OK);
	assert_true(observation_next(&at, end, &o));
	assert_int_equal(o.outcome, OBSERVED_ERROR);
	assert_false(observation_next(&at, end, &o));
	at = text;
	assert_false(observation_next(&at, text, &o));
}

static void test_too_many_features(void **state)
{
	AUTO_STR struct str text = {0};
	const char *at;
	struct observation o;

	for (int i = 0; i < LIMIT_FEATURES + 10; i++)
		str_addf(&text, "x.f%d=%d ", i, i);
	at = text.data;
	assert_true(observation_next(&at, at + text.size, &o));
	assert_int_equal(o.values_count, LIMIT_FEATURES);
	assert_int_equal(o.strange, 10);
}

/* ---- counting whatever comes ---- */

static struct tally *make_tally(void)
{
	double values[] = {1, 2, 3, 4, 5};
	struct build_value words[] = {{"front", 3}, {"rear", 2}};
	struct baseline baseline = {.observations = 5, .features_count = 2};
	struct tally *tally;

	baseline.features = mem_array(2, sizeof(*baseline.features));
	assert_int_equal(build_numeric("ink", values, 5, 4, &baseline.features[0], NULL), 0);
	assert_int_equal(build_categorical("camera", words, 2, &baseline.features[1], NULL), 0);
	build_finish(&baseline);
	tally = tally_create(&baseline);
	tally_begin(tally, &(struct tally_start){.deployment = "ocr", .has_range = true,
						 .score_max = 1,
						 .order = {.thresholds = {{100}}}});
	return tally;
}

static void check_sums(const struct observation_record *record)
{
	const struct observed_counts *c = &record->counts;

	assert_true(c->ok + record_bad(c) <= c->attempted);
	assert_true(c->incidents <= c->minutes && c->minutes <= c->attempted + 1);
	assert_true(record->exceedances[0].exceeded <= c->latencies);
	for (size_t i = 1; i < record->buckets_count; i++)
		assert_true(record->buckets[i].index > record->buckets[i - 1].index);
}

/* One tally for each input, so that every sum holds within it. */
static void feed(const char *data, size_t size)
{
	struct tally *tally = make_tally();
	struct learn *learn = learn_create();
	struct observation_record record;
	struct bytes bytes;

	tally_datagram(tally, data, size, 1000, learn);
	tally_crashed(tally, 2000);
	tally_close(tally, 3000, &record);
	check_sums(&record);
	assert_int_equal(codec_encode(&codec_observation_record, &record, LIMIT_AGENT_MESSAGE,
				      &bytes, NULL),
			 0);
	free(bytes.data);
	codec_free(&codec_observation_record, &record);
	learn_free(learn);
	tally_free(tally);
}

static void test_any_bytes(void **state)
{
	static const char *const parts[] = {
		"status=", "200", "500", " ", "\n", "latency_us=", "x.", "ink=", "x.camera=front",
		"score=", "nan", "-1e9", "=", "begin", "end", "n=", "1000000", "label=wrong", "\0",
		"99999999999999999999", "class=", "lost=3", "\xff", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
	struct rng rng = {.state = 9};

	for (int i = 0; i < 20000; i++) {
		AUTO_STR struct str text = {0};
		AUTO_FREE char *exact = NULL;

		for (uint64_t n = rng_below(&rng, 40); n > 0; n--)
			str_add(&text, parts[rng_below(&rng, ARRAY_SIZE(parts))]);
		for (uint64_t n = rng_below(&rng, 4); n > 0 && text.size > 0; n--)
			text.data[rng_below(&rng, text.size)] = (char)rng_next(&rng);
		exact = mem_copy(str_get(&text), text.size); /* its end is the memory's end */
		feed(exact, text.size);
	}
}

static void test_score_out_of_range(void **state)
{
	struct tally *tally = make_tally();
	static const char text[] = "score=0.5\nscore=1.5\nscore=-0.1 status=500\nx.score=2";
	struct observation_record record;

	tally_datagram(tally, text, strlen(text), 1, NULL);
	tally_close(tally, 2, &record);
	assert_int_equal(record.counts.ok, 1);
	assert_int_equal(record.counts.invalid, 1);
	assert_int_equal(record.counts.errors, 1);
	codec_free(&codec_observation_record, &record);
	tally_free(tally);
}

static void test_minutes_and_incidents(void **state)
{
	struct tally *tally = make_tally();
	struct observation_record record;

	for (uint64_t now = 0; now < 600000; now += 10000) /* each 3rd minute has bad ones */
		tally_datagram(tally, now / 60000 % 3 ? "status=200" : "status=500", 10, now, NULL);
	tally_close(tally, 600000, &record);
	assert_int_equal(record.counts.minutes, 10);
	assert_int_equal(record.counts.incidents, 4);
	assert_int_equal(record.counts.errors, 24);
	codec_free(&codec_observation_record, &record);
	tally_free(tally);
}

/* ---- the library ---- */

struct listener {
	char path[64];
	int fd;
};

static void listen_here(struct listener *l)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(l->path, sizeof(l->path), "/tmp/covey-observe-test-%d", (int)getpid());
	unlink(l->path);
	str_cut(address.sun_path, sizeof(address.sun_path), l->path);
	l->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(l->fd, (struct sockaddr *)&address, sizeof(address)), 0);
	setenv("COVEY_OBSERVE", l->path, 1);
}

static size_t hear(const struct listener *l, char *text, size_t size)
{
	ssize_t got = recv(l->fd, text, size - 1, 0);

	assert_true(got > 0);
	text[got] = '\0';
	return (size_t)got;
}

/* Takes all that waits; adds its requests to *heard, returns what was told as lost. */
static uint64_t hear_all(const struct listener *l, uint64_t *heard)
{
	char text[COVEY_OBSERVATION_MAX];
	uint64_t lost = 0;
	ssize_t size;

	while ((size = recv(l->fd, text, sizeof(text), 0)) > 0) {
		const char *at = text;
		struct observation o;

		while (observation_next(&at, text + size, &o)) {
			assert_int_equal(o.strange, 0);
			*heard += o.request;
			lost += o.lost;
		}
	}
	return lost;
}

static void test_library_says_what_the_node_reads(void **state)
{
	struct covey_observation o = COVEY_OBSERVATION;
	struct covey_observer *observer;
	struct listener listener;
	char text[COVEY_OBSERVATION_MAX + 1];
	struct observation read;

	listen_here(&listener);
	observer = covey_observer_open();
	covey_observation_end(&o);
	covey_observation_latency_us(&o, 1830);
	covey_observation_status(&o, 503);
	covey_observation_class(&o, "lower case");
	covey_observation_score(&o, 0.25);
	covey_observation_number(&o, "ink=", 1e-7);
	covey_observation_text(&o, "camera", "front\nstatus=200");
	covey_observation_times(&o, 3);
	assert_true(covey_observation_next(&o));
	covey_observation_label(&o, false);
	assert_int_equal(covey_observe(observer, &o), 0);
	hear(&listener, text, sizeof(text));
	read = one(text);
	assert_int_equal(read.strange, 0);
	assert_true(read.request && read.end);
	assert_int_equal(read.latency_us, 1830);
	assert_int_equal(read.outcome, OBSERVED_ERROR);
	assert_int_equal(read.times, 3);
	assert_memory_equal(read.values[0].text, "lower_case", 10);
	assert_memory_equal(read.values[2].name, "ink_", 4);
	assert_true(read.values[2].number == 1e-7);
	assert_memory_equal(read.values[3].text, "front_status_200", 16);
	assert_true(one(strchr(text, '\n')).has_label);
	covey_observer_close(observer);
	close(listener.fd);
	unlink(listener.path);
}

static void test_library_never_waits_and_tells_what_it_lost(void **state)
{
	struct covey_observation o = COVEY_OBSERVATION;
	struct covey_observer *observer;
	struct listener listener;
	uint64_t sent = 0, lost, heard = 0, told;

	listen_here(&listener);
	observer = covey_observer_open();
	for (int i = 0; i < 1000000; i++) {
		covey_observation_status(&o, 200);
		sent += covey_observe(observer, &o) == 0;
	}
	lost = covey_observer_lost(observer);
	assert_int_equal(sent + lost, 1000000);
	assert_true(lost > 0);
	told = hear_all(&listener, &heard);
	covey_observation_status(&o, 200); /* brings along what waited */
	assert_int_equal(covey_observe(observer, &o), 0);
	for (uint64_t more = 1; more > 0;) {
		more = heard;
		told += hear_all(&listener, &heard);
		more = heard - more;
		assert_int_equal(covey_observe(observer, &o), 0);
	}
	assert_int_equal(heard, sent + 1);
	assert_int_equal(told, lost);
	close(listener.fd);
	unlink(listener.path);
	covey_observation_status(&o, 200);
	assert_true(covey_observe(observer, &o) < 0);
	assert_int_equal(covey_observer_lost(observer), lost + 1);
	covey_observer_close(observer);
}

/* A node that is busy for 90 ms, at 50,000 requests a second with 100 features. */
static void test_library_bridges_a_pause(void **state)
{
	struct covey_observation o = COVEY_OBSERVATION;
	struct covey_observer *observer;
	struct listener listener;
	uint64_t heard = 0, before;

	listen_here(&listener);
	observer = covey_observer_open();
	for (int i = 0; i < 4500; i++) {
		covey_observation_status(&o, 200);
		for (int k = 0; k < 100; k++)
			covey_observation_number(&o, "f100", 0.1234567);
		assert_int_equal(covey_observe(observer, &o), 0);
	}
	do {
		before = heard;
		assert_int_equal(hear_all(&listener, &heard), 0);
		assert_int_equal(covey_observe(observer, &o), 0);
	} while (heard > before);
	assert_int_equal(heard, 4500);
	assert_int_equal(covey_observer_lost(observer), 0);
	covey_observer_close(observer);
	close(listener.fd);
	unlink(listener.path);
}

static void test_library_fills_datagrams(void **state)
{
	struct covey_observation o = COVEY_OBSERVATION;
	struct covey_observer *observer;
	struct listener listener;
	char text[COVEY_OBSERVATION_MAX + 1];
	const char *at = text;
	struct observation read;
	size_t lines = 1, size, back = 0;

	listen_here(&listener);
	observer = covey_observer_open();
	covey_observation_status(&o, 200);
	for (; covey_observation_next(&o); lines++)
		covey_observation_status(&o, 200);
	assert_int_equal(covey_observe(observer, &o), 0);
	size = hear(&listener, text, sizeof(text));
	assert_true(size > COVEY_OBSERVATION_MAX - 100 && size <= COVEY_OBSERVATION_MAX);
	while (observation_next(&at, text + size, &read))
		back += read.strange == 0;
	assert_int_equal(back, lines);
	for (int i = 0; i < 2000; i++)
		covey_observation_number(&o, "ink", i);
	assert_int_equal(covey_observe(observer, &o), -EMSGSIZE);
	covey_observer_close(observer);
	close(listener.fd);
	unlink(listener.path);
}

static void test_library_outside_of_covey(void **state)
{
	struct covey_observation o = COVEY_OBSERVATION;
	struct covey_observer *observer;

	unsetenv("COVEY_OBSERVE");
	observer = covey_observer_open();
	covey_observation_status(&o, 200);
	assert_int_equal(covey_observe(observer, &o), 0);
	assert_int_equal(covey_observer_lost(observer), 0);
	covey_observer_close(observer);
}

static void feed_file(const char *path)
{
	AUTO_FCLOSE FILE *file = fopen(path, "re");
	char data[OBSERVE_DATAGRAM_MAX];

	assert_non_null(file);
	feed(data, fread(data, 1, sizeof(data), file));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_numbers_as_printed),
		cmocka_unit_test(test_a_request),
		cmocka_unit_test(test_outcomes),
		cmocka_unit_test(test_units),
		cmocka_unit_test(test_what_cannot_be_read_costs_its_field),
		cmocka_unit_test(test_lines_end_where_they_end),
		cmocka_unit_test(test_too_many_features),
		cmocka_unit_test(test_any_bytes),
		cmocka_unit_test(test_score_out_of_range),
		cmocka_unit_test(test_minutes_and_incidents),
		cmocka_unit_test(test_library_says_what_the_node_reads),
		cmocka_unit_test(test_library_never_waits_and_tells_what_it_lost),
		cmocka_unit_test(test_library_bridges_a_pause),
	    cmocka_unit_test(test_library_fills_datagrams),
		cmocka_unit_test(test_library_outside_of_covey),
	};

	for (int i = 1; i < argc; i++)
		feed_file(argv[i]);
	return argc > 1 ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
}

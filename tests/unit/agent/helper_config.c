/* SPDX-License-Identifier: Apache-2.0 */
/* agent.conf: what is accepted, what is refused and with which line. */
#include "agent/config.h"

#include "base/mem.h"
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

static char dir[] = "/tmp/covey-config-XXXXXX";
static char *path, *drop_in;
static struct agent_config config;

static int setup(void **state)
{
	AUTO_FREE char *folder = NULL;

	(void)state;
	assert_non_null(mkdtemp(dir));
	path = mem_format("%s/agent.conf", dir);
	folder = mem_format("%s/agent.conf.d", dir);
	drop_in = mem_format("%s/agent.conf.d/10-site.conf", dir);
	return mkdir(folder, 0700);
}

static int teardown(void **state)
{
	AUTO_FREE char *folder = mem_format("%s/agent.conf.d", dir);

	(void)state;
	unlink(path);
	unlink(drop_in);
	rmdir(folder);
	rmdir(dir);
	free(path);
	free(drop_in);
	return 0;
}

static void put(const char *file, const char *text)
{
	FILE *out = fopen(file, "we");

	assert_non_null(out);
	fputs(text, out);
	fclose(out);
}

static void refused(const char *text, const char *sentence)
{
	struct agent_config before = config;
	struct err err = {0};

	put(path, text);
	assert_int_equal(config_load(path, &config, &err), -EINVAL);
	if (!strstr(err.text, sentence))
		fail_msg("`%s` is not in: %s", sentence, err.text);
	assert_memory_equal(&before, &config, sizeof(config));
}

static void an_empty_file_means_the_defaults(void **state)
{
	struct agent_config defaults;
	struct err err = {0};

	(void)state;
	put(path, "");
	assert_int_equal(config_load(path, &config, &err), 0);
	config_defaults(&defaults);
	assert_memory_equal(&config, &defaults, sizeof(config));
	assert_string_equal(config.state_dir, "/var/lib/covey/agent");
	assert_int_equal(config.helper.subnet, 0x0ad50000);
	assert_int_equal(config.helper.subnet_prefix, 16);
	assert_int_equal(config.helper.port_low, 21000);
	assert_int_equal(config.disk_reserve_percent, 10);
	assert_true(config.peers.on);
	assert_int_equal(config.peers.port, 7410);
	assert_int_equal(strlen(config.helper.instance), 8);
	assert_int_equal(config_load("/no/such/file", &config, &err), -ENOENT);
}

static void every_key_is_read(void **state)
{
	struct err err = {0};

	(void)state;
	put(path, "; a comment\n[agent]\nname = edge-1\nstate_dir=/srv/a\nrun_dir = /run/x\n"
	          "trust_dir=/srv/t\nuser=joe\nlabels= site=lyon, ring=1\nlabels=gpu=\n"
	          "[helper]\nstate_dir=/srv/h\nsocket=/run/x/h.sock\ngroup=g\nruntime=/opt/crun\n"
	          "conmon=conmon\nsubnet=192.168.64.0/20\nhost_ports=30000-30001\n"
	          "allow_devices=/dev/dri/renderD128,/dev/nvidia0\ncgroup_parent=/x\ninstance=n1\n"
	          "user_namespaces=off\n"
	          "[disk]\nquota=5GiB\nreserve=20%\n[fetch]\nrate=10MiB\n"
	          "[peers]\npeer=off\npeer_address=fd00::7\npeer_port=7500\nupload_rate=2MiB\n"
	          "metered=yes\nwindow=Mon-Fri 20:00-08:00\ntimezone=Europe/Paris\n");
	assert_int_equal(config_load(path, &config, &err), 0);
	assert_string_equal(config.name, "edge-1");
	assert_int_equal(config.labels_count, 3);
	assert_string_equal(config.labels[1].key, "ring");
	assert_string_equal(config.labels[2].value, "");
	assert_string_equal(config.helper.runtime, "/opt/crun");
	assert_false(config.helper.user_namespaces);
	assert_int_equal(config.helper.subnet, 0xc0a84000);
	assert_int_equal(config.helper.subnet_prefix, 20);
	assert_int_equal(config.helper.port_high, 30001);
	assert_int_equal(config.helper.allow_devices_count, 2);
	assert_string_equal(config.helper.allow_devices[1], "/dev/nvidia0");
	assert_string_equal(config.helper.instance, "n1");
	assert_int_equal(config.disk_quota_bytes, 5ull << 30);
	assert_int_equal(config.disk_reserve_percent, 20);
	assert_int_equal(config.fetch_rate, 10 << 20);
	assert_false(config.peers.on);
	assert_string_equal(config.peers.address, "fd00::7");
	assert_int_equal(config.peers.port, 7500);
	assert_int_equal(config.peers.upload_rate, 2 << 20);
	assert_true(config.peers.metered);
	assert_string_equal(config.peers.window, "Mon-Fri 20:00-08:00");
	assert_string_equal(config.peers.timezone, "Europe/Paris");
}

static void drop_ins_come_later_and_win(void **state)
{
	struct err err = {0};

	(void)state;
	put(path, "[agent]\nname=a\nlabels=site=lyon\n");
	put(drop_in, "[agent]\nname=b\nlabels=ring=1\n");
	assert_int_equal(config_load(path, &config, &err), 0);
	assert_string_equal(config.name, "b");
	assert_int_equal(config.labels_count, 2);
	put(drop_in, "[agent]\nlabels=\nlabels=ring=2\n");
	assert_int_equal(config_load(path, &config, &err), 0);
	assert_int_equal(config.labels_count, 1);
	assert_string_equal(config.labels[0].value, "2");
	put(drop_in, "[agent]\nname=b\nnonsense=1\n");
	assert_int_equal(config_load(path, &config, &err), -EINVAL);
	assert_non_null(strstr(err.text, "10-site.conf: line 3: unknown key `nonsense`"));
	unlink(drop_in);
}

static void instances_differ_with_the_directory(void **state)
{
	struct agent_config one, two;
	struct err err = {0};

	(void)state;
	put(path, "[helper]\nstate_dir=/srv/n1\n");
	assert_int_equal(config_load(path, &one, &err), 0);
	put(path, "[helper]\nstate_dir=/srv/n2\n");
	assert_int_equal(config_load(path, &two, &err), 0);
	assert_string_not_equal(one.helper.instance, two.helper.instance);
}

static void mistakes_are_told_with_their_line(void **state)
{
	AUTO_STR struct str text = {0};

	(void)state;
	refused("[agent]\nname=a\n\nnmae=b\n", "line 4: unknown key `nmae` in [agent]");
	refused("[agnet]\nname=a\n", "line 2: unknown section [agnet]");
	refused("[agent]\nname\n", "line 2: neither [section] nor key=value");
	refused("[agent]\nname=Big\n", "line 2: name: `Big` is not a name");
	refused("[agent]\nname=-a\n", "line 2: name: `-a` is not a name: begin with");
	refused("[agent]\nstate_dir=/var/..\n", "not a plain path");
	refused("[agent]\nstate_dir=/var/./x\n", "not a plain path");
	refused("[agent]\nstate_dir=/var//x\n", "not a plain path");
	refused("[helper]\nallow_devices=/dev/..\n", "not a path below /dev");
	refused("[agent]\nstate_dir=relative\n", "line 2: state_dir: `relative` is not");
	refused("[agent]\nrun_dir=/a/../b\n", "line 2: run_dir");
	refused("[agent]\nrun_dir=/a:b\n", "line 2: run_dir");
	refused("[agent]\nlabels=site=lyon,site=paris\n", "stands there twice");
	refused("[agent]\nlabels=site\n", "is not key=value");
	refused("[helper]\nsubnet=10.213.0.1/16\n", "bits beyond its prefix");
	refused("[helper]\nsubnet=10.0.0.0/30\n", "/8 to /28");
	refused("[helper]\nsubnet=127.0.0.0/8\n", "not a subnet for hosts");
	refused("[helper]\nhost_ports=80-90\n", "1024 to 65535");
	refused("[helper]\nallow_devices=/etc/passwd\n", "not a path below /dev");
	refused("[helper]\nallow_devices=/dev/../etc/passwd\n", "not a path below /dev");
	refused("[helper]\ninstance=A-b\n", "a-z and 0-9");
	refused("[helper]\nruntime=./runc\n", "runtime");
	refused("[disk]\nreserve=95%\n", "0% to 90%");
	refused("[disk]\nquota=much\n", "not a size");
	refused("[fetch]\nrate=\n", "line 2: rate");
	refused("[peers]\npeer=maybe\n", "line 2: peer: `maybe` is neither on nor off");
	refused("[peers]\npeer_address=node7\n", "not an IPv4 or IPv6 address");
	refused("[peers]\npeer_port=80\n", "not a port from 1024 to 65535, or 0");
	refused("[peers]\nwindow=25:00-26:00\n", "line 2: window");
	str_add(&text, "[agent]\nlabels=a=1\nlabels=");
	for (int i = 0; i < 100; i++)
		str_addf(&text, "k%d=v,", i);
	refused(text.data, "line 3: the line is longer than");
}

static void users_are_names_or_numbers(void **state)
{
	uint32_t id;

	(void)state;
	assert_int_equal(config_user_id("root", &id, NULL), 0);
	assert_int_equal(id, 0);
	assert_int_equal(config_user_id("1234", &id, NULL), 0);
	assert_int_equal(id, 1234);
	assert_int_equal(config_user_id("no-such-user", &id, NULL), -ENOENT);
	assert_int_equal(config_group_id("root", &id, NULL), 0);
	assert_int_equal(config_group_id("no-such-group", &id, NULL), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_empty_file_means_the_defaults),
	    cmocka_unit_test(every_key_is_read),
	    cmocka_unit_test(drop_ins_come_later_and_win),
	    cmocka_unit_test(instances_differ_with_the_directory),
	    cmocka_unit_test(mistakes_are_told_with_their_line),
	    cmocka_unit_test(users_are_names_or_numbers),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deployments as they stand: the declaration of the last rollout that completed, and its release.
 * What a rollout under way wants is the rollout's own; so one that goes back leaves nothing behind.
 */
#include "coordinator/rollouts.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/codec_tables.h"

struct shell_deployment *deployments_find(const struct coordinator *c, const char *name)
{
	for (size_t i = 0; i < c->deployments_count; i++) {
		if (str_equal(c->deployments[i]->record.name, name))
			return c->deployments[i];
	}
	return NULL;
}

void deployments_insert(struct coordinator *c, const struct store_deployment *record,
			const struct deployment_spec *spec)
{
	struct shell_deployment *deployment = mem_alloc(sizeof(*deployment));
	size_t at = c->deployments_count;

	deployment->record = *record;
	deployment->record.spec = (struct bytes){0};
	codec_copy(&codec_deployment_spec, &deployment->spec, spec);
	MEM_GROW(c->deployments, &c->deployments_cap, c->deployments_count);
	while (at > 0 && strcmp(c->deployments[at - 1]->record.name, record->name) > 0) {
		c->deployments[at] = c->deployments[at - 1];
		at--;
	}
	c->deployments[at] = deployment;
	c->deployments_count++;
}

static void deployment_free(struct shell_deployment *deployment)
{
	deployment_spec_free(&deployment->spec);
	free(deployment);
}

void deployments_remove(struct coordinator *c, const char *name)
{
	for (size_t i = 0; i < c->deployments_count; i++) {
		if (!str_equal(c->deployments[i]->record.name, name))
			continue;
		deployment_free(c->deployments[i]);
		c->deployments_count--;
		memmove(&c->deployments[i], &c->deployments[i + 1],
			(c->deployments_count - i) * sizeof(*c->deployments));
		return;
	}
}

void deployments_free_all(struct coordinator *c)
{
	for (size_t i = 0; i < c->deployments_count; i++)
		deployment_free(c->deployments[i]);
	free(c->deployments);
}

static int load(void *arg, const struct store_deployment *record)
{
	struct deployment_spec spec;
	int r = codec_decode(&codec_deployment_spec, record->spec.data, record->spec.size, &spec,
			     NULL);

	if (r < 0)
		return -EUCLEAN;
	deployments_insert(arg, record, &spec);
	deployment_spec_free(&spec);
	return 0;
}

int deployments_load(struct coordinator *c, struct err *err)
{
	int r = c->store->ops->deployment_each(c->store, load, c, err);

	return r == -EUCLEAN ? err_set(err, r, "a deployment's record is damaged") : r;
}

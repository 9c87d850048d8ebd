/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent asks the machine that it runs on. */
#pragma once

#include "base/err.h"
#include "covey/report.h"

/* The kernel's id of this boot; "" where it says none. */
void machine_boot_id(char ret_text[40]);
/* Everything but the runtime and the disk. */
void machine_inventory(struct inventory *ret_inventory);
/* Less than 5 % of the memory is available. */
bool machine_memory_is_short(void);
/* Path of a program that is installed with this one: beside it, or in Covey's libexec folder. */
int machine_sibling(const char *name, char *dst, size_t size, struct err *err) COVEY_MUST_CHECK;

/* SPDX-License-Identifier: Apache-2.0 */
/* Scope-bound release of resources: the reason why Covey has no `goto`. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define COVEY_CLEANUP(fn) __attribute__((cleanup(fn)))
#define COVEY_MUST_CHECK __attribute__((warn_unused_result))

/* Defines NAME_p(T *p) for `COVEY_CLEANUP(NAME_p) T x = NULL;` from a T (*)-taking NAME(). */
#define COVEY_DEFINE_CLEANUP(type, func)                                                           \
	static inline void func##_p(type *p)                                                       \
	{                                                                                          \
		if (*p)                                                                            \
			func(*p);                                                                  \
	}

static inline void covey_free_p(void *p)
{
	free(*(void **)p);
}

static inline void covey_close_p(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void covey_fclose_p(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define AUTO_FREE COVEY_CLEANUP(covey_free_p)
#define AUTO_CLOSE COVEY_CLEANUP(covey_close_p)
#define AUTO_FCLOSE COVEY_CLEANUP(covey_fclose_p)

/* Hands a pointer on: returns it and forgets it here. */
#define TAKE_PTR(p)                                                                                \
	({                                                                                         \
		__typeof__(p) *take_at = &(p);                                                     \
		__typeof__(p) take_value = *take_at;                                               \
		*take_at = NULL;                                                                   \
		take_value;                                                                        \
	})

#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int *take_at = &(fd);                                                              \
		int take_value = *take_at;                                                         \
		*take_at = -1;                                                                     \
		take_value;                                                                        \
	})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* SPDX-License-Identifier: Apache-2.0 */
/* The digit classifier: weights from a safetensors file, and the arithmetic that uses them. */
#ifndef DIGITS_MODEL_H
#define DIGITS_MODEL_H

#include <stddef.h>

enum {
    MODEL_PIXELS = 64,          /* 8 x 8, values 0..16 */
    MODEL_CLASSES = 10,
    MODEL_HIDDEN_MAX = 256,
    MODEL_FILE_MAX = 1 << 20,   /* the real files are some 10 KB; more is a mistake */
};

/* hidden == 0: softmax regression, only w1 and b1 are there. */
struct model {
    size_t hidden;
    float *w1, *b1, *w2, *b2;   /* weights are row-major, [inputs][outputs] */
};

/* Returns 0, or -1 after writing a sentence to `why`. */
int model_load(const char *path, struct model *ret_model, char *why, size_t why_size);
void model_free(struct model *model);

/* Returns the most likely digit; its probability goes to `ret_score`. */
int model_classify(const struct model *model, const float pixels[MODEL_PIXELS], float *ret_score);

#endif

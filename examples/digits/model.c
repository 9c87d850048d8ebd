/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A safetensors file is eight bytes of header length (little endian), a JSON header that names each
 * tensor's type, shape and place, and the numbers. The tensors decide what kind of model it is:
 * w1 and b1 alone are a softmax regression, w2 and b2 on top make w1 and b1 a hidden ReLU layer. So
 * one server binary, and one image, serves every version; only the model file changes.
 *
 * Everything in the file is checked before use. Wrong but finite weights are loaded without
 * complaint: a server cannot know, and finding that out is what smoke tests are for.
 */
#include "model.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are used as they lie");

struct file {
    unsigned char *bytes;
    size_t size;
    json_t *header;
    const unsigned char *data;  /* what the header's offsets count from */
    size_t data_size;
};

static void file_drop(struct file *file)
{
    free(file->bytes);
    json_decref(file->header);
}

static void stream_drop(FILE **stream)
{
    if (*stream)
        (void)fclose(*stream);
}

static int read_whole(const char *path, struct file *file, char *why, size_t why_size)
{
    __attribute__((cleanup(stream_drop))) FILE *stream = fopen(path, "rbe");
    if (!stream) {
        snprintf(why, why_size, "%s: %s", path, strerror(errno));
        return -1;
    }
    file->bytes = malloc(MODEL_FILE_MAX + 1);
    if (!file->bytes) {
        snprintf(why, why_size, "%s: out of memory", path);
        return -1;
    }
    file->size = fread(file->bytes, 1, MODEL_FILE_MAX + 1, stream);
    if (ferror(stream) || file->size > MODEL_FILE_MAX) {
        snprintf(why, why_size, "%s: cannot be read, or larger than %d bytes", path,
                 (int)MODEL_FILE_MAX);
        return -1;
    }
    return 0;
}

static int parse_header(struct file *file, char *why, size_t why_size)
{
    uint64_t length = 0;

    if (file->size >= sizeof length)
        memcpy(&length, file->bytes, sizeof length);
    if (length == 0 || length > file->size - sizeof length) {
        snprintf(why, why_size, "not a safetensors file: it ends inside its header");
        return -1;
    }
    json_error_t error;
    const char *text = (const char *)file->bytes + sizeof length;
    file->header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(file->header)) {
        snprintf(why, why_size, "not a safetensors file: its header is not a JSON object");
        return -1;
    }
    file->data = file->bytes + sizeof length + length;
    file->data_size = file->size - sizeof length - (size_t)length;
    return 0;
}

/* The number of values a shape stands for; 0 where the shape is not one this model can have. */
static size_t shape_count(const json_t *shape, size_t *ret_last)
{
    size_t count = 1;
    size_t dimensions = json_array_size(shape);

    if (dimensions < 1 || dimensions > 2)
        return 0;
    for (size_t i = 0; i < dimensions; i++) {
        json_int_t side = json_integer_value(json_array_get(shape, i));
        if (side < 1 || side > MODEL_HIDDEN_MAX)
            return 0;
        count *= (size_t)side;
        *ret_last = (size_t)side;
    }
    return count;
}

static int tensor_bad(const char *name, const char *what, char *why, size_t why_size)
{
    snprintf(why, why_size, "tensor %s: %s", name, what);
    return -1;
}

/* Copies the tensor out: the file gives no alignment. */
static int load_tensor(const struct file *file, const char *name, float **ret_values,
                       size_t *ret_count, size_t *ret_last, char *why, size_t why_size)
{
    const char *type = NULL;
    const json_t *shape = NULL;
    json_int_t begin = 0;
    json_int_t end = 0;

    if (json_unpack(json_object_get(file->header, name), "{s:s, s:o, s:[I,I]}", "dtype", &type,
                    "shape", &shape, "data_offsets", &begin, &end) < 0)
        return tensor_bad(name, "is missing or malformed", why, why_size);
    size_t count = shape_count(shape, ret_last);
    if (strcmp(type, "F32") != 0 || count == 0)
        return tensor_bad(name, "has another type or shape than this server knows", why, why_size);
    if (begin < 0 || end < begin || (uint64_t)end > file->data_size ||
        (uint64_t)(end - begin) != count * sizeof(float))
        return tensor_bad(name, "lies outside the file, or its size is wrong", why, why_size);
    float *values = malloc(count * sizeof *values);
    if (!values)
        return tensor_bad(name, "out of memory", why, why_size);
    memcpy(values, file->data + begin, count * sizeof *values);
    *ret_values = values;
    *ret_count = count;
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return tensor_bad(name, "holds values that are not finite", why, why_size);
    return 0;
}

/* One layer: a weight matrix [inputs][outputs] and its bias [outputs]. */
static int load_layer(const struct file *file, int number, size_t inputs, float **ret_weights,
                      float **ret_bias, size_t *ret_outputs, char *why, size_t why_size)
{
    char weights_name[16];
    char bias_name[16];
    size_t weights = 0, bias = 0, outputs = 0, bias_last = 0;

    snprintf(weights_name, sizeof weights_name, "w%d", number);
    snprintf(bias_name, sizeof bias_name, "b%d", number);
    if (load_tensor(file, weights_name, ret_weights, &weights, &outputs, why, why_size) < 0 ||
        load_tensor(file, bias_name, ret_bias, &bias, &bias_last, why, why_size) < 0)
        return -1;
    if (weights != inputs * outputs || bias != outputs)
        return tensor_bad(weights_name, "does not fit its neighbours", why, why_size);
    *ret_outputs = outputs;
    return 0;
}

static int load_layers(const struct file *file, struct model *model, char *why, size_t why_size)
{
    size_t outputs = 0;

    if (load_layer(file, 1, MODEL_PIXELS, &model->w1, &model->b1, &outputs, why, why_size) < 0)
        return -1;
    if (json_object_get(file->header, "w2")) {
        model->hidden = outputs;
        if (load_layer(file, 2, model->hidden, &model->w2, &model->b2, &outputs, why, why_size) < 0)
            return -1;
    }
    if (outputs != MODEL_CLASSES) {
        snprintf(why, why_size, "the model has %zu classes instead of %d", outputs,
                 (int)MODEL_CLASSES);
        return -1;
    }
    return 0;
}

int model_load(const char *path, struct model *ret_model, char *why, size_t why_size)
{
    __attribute__((cleanup(file_drop))) struct file file = { 0 };
    struct model model = { 0 };

    if (read_whole(path, &file, why, why_size) < 0 || parse_header(&file, why, why_size) < 0)
        return -1;
    if (load_layers(&file, &model, why, why_size) < 0) {
        model_free(&model);
        return -1;
    }
    *ret_model = model;
    return 0;
}

void model_free(struct model *model)
{
    free(model->w1);
    free(model->b1);
    free(model->w2);
    free(model->b2);
    *model = (struct model){ 0 };
}

static void layer(const float *in, size_t inputs, const float *weights, const float *bias,
                  float *out, size_t outputs)
{
    memcpy(out, bias, outputs * sizeof *out);
    for (size_t i = 0; i < inputs; i++)
        for (size_t j = 0; j < outputs; j++)
            out[j] += in[i] * weights[i * outputs + j];
}

int model_classify(const struct model *model, const float pixels[MODEL_PIXELS], float *ret_score)
{
    float in[MODEL_PIXELS];
    float hidden[MODEL_HIDDEN_MAX];
    float logits[MODEL_CLASSES];
    int best = 0;
    float sum = 0;

    for (size_t i = 0; i < MODEL_PIXELS; i++)
        in[i] = pixels[i] / 16.0F;
    if (model->hidden) {
        layer(in, MODEL_PIXELS, model->w1, model->b1, hidden, model->hidden);
        for (size_t i = 0; i < model->hidden; i++)
            hidden[i] = fmaxf(hidden[i], 0);
        layer(hidden, model->hidden, model->w2, model->b2, logits, MODEL_CLASSES);
    } else {
        layer(in, MODEL_PIXELS, model->w1, model->b1, logits, MODEL_CLASSES);
    }
    for (int i = 1; i < MODEL_CLASSES; i++)
        if (logits[i] > logits[best])
            best = i;
    for (int i = 0; i < MODEL_CLASSES; i++)
        sum += expf(logits[i] - logits[best]);
    *ret_score = 1.0F / sum;
    return best;
}

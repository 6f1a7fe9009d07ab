/* A transformer decoder's step in one call: norms, products, rotary, attention, feed-forward.

   limner compiles this file when it first draws (limner/nn/native.py) and draws without it where
   there is no compiler. Weights are packed in panels of outputs, so that a vector holds one input's
   weights of neighbouring outputs; every output is one sum over the inputs in their order, whatever
   the number of tokens or threads. That is why a picture is the same alone and in company.

   Shapes: n tokens, D width, H heads, K = D / H, S positions of the cache. */
#define _GNU_SOURCE
#include "product.h"
#include "nearest.h"
#include "choose.h"

typedef struct {
    int tokens, rows, length, memory_length, threads;
    const int *row, *position, *from, *to;     /* (n,): where a token lies and what it sees */
    const float *cosine, *sine;                /* (S, K / 2), or none */
    float *keys, *values;                      /* (layers, rows, H, S, K), keys in blocks */
    float *memory_keys, *memory_values;        /* the same of what is read, or none */
    const int *memory_from, *memory_to;        /* (rows,) */
    float *x, *scratch;                        /* (n, D), in and out */
    const unsigned char *seen; /* (K, S, S), whom a position may see besides, or none */
    const int *kinds;          /* (layers,), which of K each has */
} Call;

int limner_positions(int length) { return (length + PANEL - 1) / PANEL * PANEL; }
int limner_panel(void) { return PANEL; }

/* ---- norms ---- */

static float total(const float *x, int count, float shift, int squared) {
    float parts[16] = {0}, sum = 0;
    int i = 0;
    for (; i + 16 <= count; i += 16)
        for (int j = 0; j < 16; j++) {
            float value = x[i + j] - shift;
            parts[j] += squared ? value * value : value;
        }
    for (; i < count; i++) parts[0] += squared ? (x[i] - shift) * (x[i] - shift) : x[i] - shift;
    for (int j = 0; j < 16; j++) sum += parts[j];
    return sum;
}

static float largest(const float *x, int count) {
    float parts[16], most = x[0];
    for (int j = 0; j < 16; j++) parts[j] = x[0];
    int i = 0;
    for (; i + 16 <= count; i += 16)
        for (int j = 0; j < 16; j++) parts[j] = x[i + j] > parts[j] ? x[i + j] : parts[j];
    for (; i < count; i++) most = x[i] > most ? x[i] : most;
    for (int j = 0; j < 16; j++) most = parts[j] > most ? parts[j] : most;
    return most;
}

/* `kind` is 1 for a layer norm; for one by root mean square 0, or 2 where 1e-5 is added. */
static void normalise(int kind, const Part *weight, const Part *bias, const float *x, int tokens,
                      int width, float *out) {
    const float *scale = weight->packed, *shift = bias ? bias->packed : NULL;
    for (int t = 0; t < tokens; t++, x += width, out += width) {
        float mean = kind == 1 ? total(x, width, 0, 0) / width : 0;
        float variance = total(x, width, mean, 1) / width;
        float factor = 1.0f / sqrtf(variance + (kind ? 1e-5f : 1e-6f));
        for (int i = 0; i < width; i++) {
            float value = (x[i] - mean) * factor * scale[i];
            out[i] = shift ? value + shift[i] : value;
        }
    }
}

/* ---- attention ---- */

/* Keys lie in blocks of PANEL positions, (K, PANEL) each: a vector holds neighbouring positions. */
static float *key_at(float *keys, int position, int i, int size) {
    return keys + ((size_t)(position / PANEL) * size + i) * PANEL + position % PANEL;
}

static void attend(const float *query, const float *keys, const float *values, int from, int to,
                   int size, int length, const unsigned char *seen, float *out) {
    float scores[length] __attribute__((aligned(64)));
    for (int block = from / PANEL * PANEL; block < to; block += PANEL) {
        Vector sums[4] = {{0}, {0}, {0}, {0}};
        for (int i = 0; i < size; i++)
            for (int j = 0; j < 4; j++)
                sums[j] += query[i] * load(keys + (size_t)block * size + i * PANEL + j * LANES);
        memcpy(scores + block, sums, sizeof sums);
    }
    for (int p = from; seen && p < to; p++) scores[p] = seen[p] ? scores[p] : -INFINITY;
    float most = largest(scores + from, to - from);
    for (int p = from; p < to; p++) scores[p] = exponential(scores[p] - most);
    float sum = total(scores + from, to - from, 0, 0);
    for (int i = 0; i < size; i++) out[i] = 0;
    int i = 0;
    for (; i + PANEL <= size; i += PANEL) {
        Vector sums[4] = {{0}, {0}, {0}, {0}};
        for (int p = from; p < to; p++)
            for (int j = 0; j < 4; j++)
                sums[j] += scores[p] * load(values + (size_t)p * size + i + j * LANES);
        memcpy(out + i, sums, sizeof sums);
    }
    if (i < size)
        for (int p = from; p < to; p++)
            for (int k = i; k < size; k++) out[k] += scores[p] * values[(size_t)p * size + k];
    for (int k = 0; k < size; k++) out[k] /= sum;
}

typedef struct {
    const Model *model;
    const Call *call;
    const Part *parts;
    int layer;
    float *in, *out; /* (n, 3 D) of queries, keys, values, or (n, D) of queries; (n, D) */
} Attention;

static void turn(const Attention *job, const Part *norm, float *x, int position, int size) {
    if (norm->packed) normalise(0, norm, NULL, x, 1, size, x);
    if (!job->call->cosine) return;
    const float *cosine = job->call->cosine + (size_t)position * (size / 2);
    const float *sine = job->call->sine + (size_t)position * (size / 2);
    for (int i = 0; i < size / 2; i++) {
        float first = x[i], second = x[i + size / 2];
        x[i] = first * cosine[i] - second * sine[i];
        x[i + size / 2] = first * sine[i] + second * cosine[i];
    }
}

static size_t cached(const Model *model, int rows, int layer, int row, int head, int length) {
    size_t size = model->width / model->heads;
    return (((size_t)layer * rows + row) * model->heads + head) * size * length;
}

/* One row's tokens and one head: they see one another, so all their keys come first. */
static void attend_head(void *context, int task) {
    const Attention *job = context;
    const Call *call = job->call;
    int heads = job->model->heads, width = job->model->width, size = width / heads;
    int head = task % heads, length = call->length;
    size_t base = cached(job->model, call->rows, job->layer, task / heads, head, length);
    float *keys = call->keys + base, *values = call->values + base;
    float scale = 1.0f / sqrtf(size);
    const unsigned char *seen = call->seen;
    if (seen) seen += (size_t)call->kinds[job->layer] * length * length;
    for (int t = 0; t < call->tokens; t++) {
        if (call->row[t] != task / heads) continue;
        float *query = job->in + (size_t)t * 3 * width + head * size, *key = query + width;
        int position = call->position[t];
        turn(job, &job->parts[QUERY_NORM], query, position, size);
        turn(job, &job->parts[KEY_NORM], key, position, size);
        for (int i = 0; i < size; i++) query[i] *= scale;
        for (int i = 0; i < size; i++) *key_at(keys, position, i, size) = key[i];
        memcpy(values + (size_t)position * size, key + width, size * sizeof(float));
    }
    for (int t = 0; t < call->tokens; t++)
        if (call->row[t] == task / heads)
            attend(job->in + (size_t)t * 3 * width + head * size, keys, values, call->from[t],
                   call->to[t], size, length,
                   seen ? seen + (size_t)call->position[t] * length : NULL,
                   job->out + (size_t)t * width + head * size);
}

static void read_memory(void *context, int task) {
    const Attention *job = context;
    const Call *call = job->call;
    int heads = job->model->heads, width = job->model->width, size = width / heads;
    int token = task / heads, head = task % heads, row = call->row[token];
    size_t base = cached(job->model, call->rows, job->layer, row, head, call->memory_length);
    float *query = job->in + (size_t)token * width + head * size;
    for (int i = 0; i < size; i++) query[i] *= 1.0f / sqrtf(size);
    attend(query, call->memory_keys + base, call->memory_values + base, call->memory_from[row],
           call->memory_to[row], size, call->memory_length, NULL,
           job->out + (size_t)token * width + head * size);
}

/* ---- the step ---- */

static const Part *bias_of(const Part *parts, int slot) {
    return parts[slot].packed ? &parts[slot] : NULL;
}

static void add(const Model *model, const Part *parts, int slot, int tokens, float *y, float *x) {
    if (parts[slot].packed)
        normalise(1, &parts[slot], bias_of(parts, slot + 1), y, tokens, model->width, y);
    for (size_t i = 0; i < (size_t)tokens * model->width; i++) x[i] += y[i];
}

static void feed_forward(const Model *model, const Part *parts, int threads, int tokens,
                         const float *x, float *normed, float *hidden, float *y) {
    normalise(model->layer_norm, &parts[FEED_NORM], bias_of(parts, FEED_NORM_BIAS), x, tokens,
              model->width, normed);
    product(model, threads, &parts[INTO], bias_of(parts, INTO_BIAS), normed, tokens, hidden,
            model->gated ? GATED : ACTIVATED);
    if (parts[MIDDLE_NORM].packed)
        normalise(1, &parts[MIDDLE_NORM], bias_of(parts, MIDDLE_NORM_BIAS), hidden, tokens,
                  model->hidden, hidden);
    product(model, threads, &parts[DOWN], bias_of(parts, DOWN_BIAS), hidden, tokens, y, PLAIN);
}

long limner_scratch(const Model *model, int tokens) {
    long widest = 3L * model->width > model->hidden ? 3L * model->width : model->hidden;
    return tokens * (3L * model->width + widest);
}

/* Map call->x (n, D) through every layer and the final norm, writing the cache as it goes. */
void limner_run(const Model *model, const Call *call) {
    int tokens = call->tokens, width = model->width, threads = begin_parallel(call->threads);
    size_t each = (size_t)tokens * width;
    float *normed = call->scratch, *mixed = normed + each, *y = mixed + each, *wide = y + each;
    for (int layer = 0; layer < model->layers; layer++) {
        const Part *parts = model->parts[layer];
        Attention job = {model, call, parts, layer, wide, mixed};
        normalise(model->layer_norm, &parts[ATTENTION_NORM], bias_of(parts, ATTENTION_NORM_BIAS),
                  call->x, tokens, width, normed);
        product(model, threads, &parts[QKV], bias_of(parts, QKV_BIAS), normed, tokens, wide, PLAIN);
        parallel(threads, call->rows * model->heads, attend_head, &job);
        product(model, threads, &parts[OUT], bias_of(parts, OUT_BIAS), mixed, tokens, y, PLAIN);
        add(model, parts, OUT_NORM, tokens, y, call->x);
        if (parts[CROSS_QUERY].packed) {
            normalise(model->layer_norm, &parts[CROSS_NORM], bias_of(parts, CROSS_NORM_BIAS),
                      call->x, tokens, width, normed);
            product(model, threads, &parts[CROSS_QUERY], NULL, normed, tokens, wide, PLAIN);
            parallel(threads, tokens * model->heads, read_memory, &job);
            product(model, threads, &parts[CROSS_OUT], NULL, mixed, tokens, y, PLAIN);
            add(model, parts, CROSS_OUT_NORM, tokens, y, call->x);
        }
        feed_forward(model, parts, threads, tokens, call->x, normed, wide, y);
        add(model, parts, DOWN_NORM, tokens, y, call->x);
    }
    const Part *last = model->parts[model->layers];
    normalise(model->layer_norm, &last[ATTENTION_NORM], bias_of(last, ATTENTION_NORM_BIAS),
              call->x, tokens, width, call->x);
    end_parallel(threads);
}

/* Write the memory's keys and values of every layer; call->x is (rows * S', D). */
void limner_remember(const Model *model, const Call *call) {
    int width = model->width, size = width / model->heads, length = call->memory_length;
    int threads = begin_parallel(call->threads);
    for (int layer = 0; layer < model->layers; layer++) {
        product(model, threads, &model->parts[layer][CROSS_KEY_VALUE], NULL, call->x,
                call->tokens, call->scratch, PLAIN);
        for (int t = 0; t < call->tokens; t++)
            for (int i = 0; i < width; i++) {
                size_t base = cached(model, call->rows, layer, call->row[t], i / size, length);
                const float *both = call->scratch + (size_t)t * 2 * width;
                int place = call->position[t];
                *key_at(call->memory_keys + base, place, i % size, size) = both[i];
                call->memory_values[base + (size_t)place * size + i % size] = both[width + i];
            }
    }
    end_parallel(threads);
}

/* Logits (n, V) of one code from features (n, D); `known` (n, D) are those before it. */
void limner_head(const Model *model, int group, int tokens, const float *features,
                 const float *known, float *logits, float *scratch, int wanted) {
    const Part *parts = model->parts[model->layers + group];
    int threads = begin_parallel(wanted);
    size_t each = (size_t)tokens * model->width;
    if (known) {
        float *mixed = scratch, *y = scratch + each, *normed = y + each, *hidden = normed + each;
        for (size_t i = 0; i < each; i++) mixed[i] = features[i] + known[i];
        feed_forward(model, parts, threads, tokens, mixed, normed, hidden, y);
        for (size_t i = 0; i < each; i++) mixed[i] = features[i] + y[i];
        features = mixed;
    }
    product(model, threads, &parts[HEAD], bias_of(parts, HEAD_BIAS), features, tokens, logits,
            PLAIN);
    end_parallel(threads);
}

#include "cell.h"

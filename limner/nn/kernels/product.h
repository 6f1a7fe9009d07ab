/* Packed weights and their products with a few tokens at a time. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif
#include "pool.h"

#if defined(__AVX512F__)
#define LANES 16
#define TILE 6
#elif defined(__AVX__)
#define LANES 8
#define TILE 2
#else
#define LANES 4
#define TILE 4
#endif
#define PANEL (4 * LANES)
#define GROUP 24     /* tokens of one pass over a panel */
#define BLOCK 16384  /* bytes of weights that stay in the first cache meanwhile */
#define LARGE_PAGE ((size_t)1 << 21)
#define SCALED 32    /* neighbouring int8 weights of an output that share a scale in bf16 */

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef int32_t Integers __attribute__((vector_size(4 * LANES)));

enum { FP32, BF16, INT8 };
enum Slot {
    ATTENTION_NORM, ATTENTION_NORM_BIAS, QKV, QUERY_NORM, KEY_NORM, OUT, OUT_NORM, OUT_NORM_BIAS,
    CROSS_NORM, CROSS_NORM_BIAS, CROSS_QUERY, CROSS_KEY_VALUE, CROSS_OUT, CROSS_OUT_NORM,
    CROSS_OUT_NORM_BIAS, FEED_NORM, FEED_NORM_BIAS, INTO, MIDDLE_NORM, MIDDLE_NORM_BIAS, DOWN,
    HEAD, HEAD_BIAS, QKV_BIAS, OUT_BIAS, INTO_BIAS, DOWN_BIAS,
    DOWN_NORM, DOWN_NORM_BIAS, SLOTS
};

typedef struct {
    int outputs, inputs, precision;
    void *packed;  /* a matrix in panels, or a vector as it is */
    void *owned;   /* what it lies in */
    size_t mapped; /* bytes of that, where it is not of the heap */
} Part;

typedef struct {
    int width, layers, heads, hidden, groups;
    int layer_norm; /* 0: root mean square; 2: the same with 1e-5 */
    int gelu;       /* 0: SiLU; 2: GELU by tanh */
    int gated;      /* 0: the feed-forward has no values beside what it activates */
    Part (*parts)[SLOTS]; /* layers, then a head for each group; head 0 has the final norm */
} Model;

static inline size_t row_bytes(int precision) {
    return PANEL * (precision == FP32 ? 4 : precision == BF16 ? 2 : 1);
}

/* Every SCALED rows of int8 have the row of their scales before them. */
static size_t panel_bytes(int precision, int inputs) {
    size_t scales = precision == INT8 ? (inputs + SCALED - 1) / SCALED * row_bytes(BF16) : 0;
    return inputs * row_bytes(precision) + scales;
}

/* ---- weights ---- */

/* Make room, all zeros. What a product reads through lies in large pages, and not in the heap,
   where it would keep the holes that weights in fp32 leave from being used or given back. */
static int allocate(Part *part, size_t bytes) {
#ifdef __linux__
    if (bytes >= LARGE_PAGE) {
        char *all = mmap(NULL, bytes + LARGE_PAGE, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (all == MAP_FAILED) return 0;
        part->owned = all;
        part->mapped = bytes + LARGE_PAGE;
        part->packed = all + -(uintptr_t)all % LARGE_PAGE;
        madvise(part->packed, bytes / LARGE_PAGE * LARGE_PAGE, MADV_HUGEPAGE);
        return 1;
    }
#endif
    if (posix_memalign(&part->owned, 64, bytes ? bytes : 64)) {
        part->owned = NULL;
        return 0;
    }
    part->packed = memset(part->owned, 0, bytes);
    return 1;
}

static void release(Part *part) {
#ifdef __linux__
    if (part->mapped) {
        munmap(part->owned, part->mapped);
        return;
    }
#endif
    free(part->owned);
}

Model *limner_new(int width, int layers, int heads, int hidden, int groups, int layer_norm,
                  int gelu, int gated) {
    Model *model = calloc(1, sizeof *model);
    if (!model) return NULL;
    *model = (Model){width, layers, heads, hidden, groups, layer_norm, gelu, gated, NULL};
    model->parts = calloc(layers + groups + 1, sizeof *model->parts);
    if (model->parts) return model;
    free(model);
    return NULL;
}

void limner_free(Model *model) {
    for (int layer = 0; layer < model->layers + model->groups + 1; layer++)
        for (int slot = 0; slot < SLOTS; slot++) release(&model->parts[layer][slot]);
    free(model->parts);
    free(model);
}

static uint32_t bits_of_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000; /* to the nearest, ties to even */
}

static void put(int precision, char *row, int column, float weight, float scale) {
    int vector = column / LANES, lane = column % LANES;
    if (precision == FP32) {
        ((float *)row)[column] = weight;
    } else if (precision == BF16) {
        uint32_t bits = bits_of_bf16(weight);
        ((uint32_t *)row)[vector / 2 * LANES + lane] |= vector % 2 ? bits : bits >> 16;
    } else {
        float level = scale > 0 ? rintf(weight / scale) : 0;
        level = level > 127 ? 127 : level < -127 ? -127 : level;
        ((uint32_t *)row)[lane] |= (uint32_t)(uint8_t)(int)level << 8 * vector;
    }
}

static void put_scaled(char *panel, int inputs, int column, const float *weights) {
    for (int i = 0; i < inputs; i += SCALED) {
        int count = inputs - i < SCALED ? inputs - i : SCALED;
        char *rows = panel + panel_bytes(INT8, i);
        float most = 0, scale;
        for (int k = i; k < i + count; k++)
            most = fabsf(weights[k]) > most ? fabsf(weights[k]) : most;
        uint32_t bits = bits_of_bf16(most / 127);
        memcpy(&scale, &bits, 4);
        put(BF16, rows, column, scale, 0);
        rows += row_bytes(BF16);
        for (int k = 0; k < count; k++)
            put(INT8, rows + k * row_bytes(INT8), column, weights[i + k], scale);
    }
}

typedef struct {
    Part *part;
    const float *weights;
    int rows, panel, stride;
} Packing;

static void pack_panel(void *context, int task) {
    Packing *job = context;
    int inputs = job->part->inputs, precision = job->part->precision;
    char *panel = (char *)job->part->packed +
                  (job->panel + task * job->stride) * panel_bytes(precision, inputs);
    for (int column = 0; column < PANEL && task * PANEL + column < job->rows; column++) {
        const float *weights = job->weights + (size_t)(task * PANEL + column) * inputs;
        if (precision == INT8) put_scaled(panel, inputs, column, weights);
        else
            for (int i = 0; i < inputs; i++)
                put(precision, panel + i * row_bytes(precision), column, weights[i], 0);
    }
}

/* Make room for weights (outputs, inputs), or for a vector where inputs is 0. */
int limner_make(Model *model, int layer, int slot, int outputs, int inputs, int precision) {
    Part *part = &model->parts[layer][slot];
    int gated = slot == INTO && model->gated, rows = gated ? outputs / 2 : outputs;
    int panels = (rows + PANEL - 1) / PANEL * (gated ? 2 : 1);
    *part = (Part){outputs, inputs, precision, NULL, NULL, 0};
    return allocate(part, inputs ? panels * panel_bytes(precision, inputs)
                                 : outputs * sizeof(float));
}

/* Keep a copy of some rows of a part, from row `first` on: whole panels, but for the last ones of
   a matrix. Panels of gates (the first half of rows) and of values stand in turns. */
void limner_fill(Model *model, int layer, int slot, const float *weights, int first, int rows,
                 int threads) {
    Part *part = &model->parts[layer][slot];
    if (!part->inputs) {
        memcpy((float *)part->packed + first, weights, rows * sizeof(float));
        return;
    }
    int gated = slot == INTO && model->gated, half = part->outputs / 2, stride = gated ? 2 : 1;
    int value = gated && first >= half;
    int panel = (first - (value ? half : 0)) / PANEL * stride + value;
    Packing job = {part, weights, rows, panel, stride};
    threads = begin_parallel(threads);
    parallel(threads, (rows + PANEL - 1) / PANEL, pack_panel, &job);
    end_parallel(threads);
}

/* ---- products ---- */

static inline __attribute__((always_inline)) Vector load(const void *from) {
    Vector v;
    memcpy(&v, from, sizeof v);
    return v;
}

static inline __attribute__((always_inline)) void widen(int precision, const char *w, Vector *out) {
    if (precision == FP32) {
        for (int j = 0; j < 4; j++) out[j] = load(w + j * sizeof(Vector));
    } else if (precision == BF16) { /* two weights a word: the lower half is the even vector */
        for (int j = 0; j < 2; j++) {
            Integers both;
            memcpy(&both, w + j * sizeof both, sizeof both);
            out[2 * j] = (Vector)(both << 16);
            out[2 * j + 1] = (Vector)(both & (int32_t)0xffff0000);
        }
    } else {
        Integers four;
        memcpy(&four, w, sizeof four);
        for (int j = 0; j < 4; j++)
            out[j] = __builtin_convertvector((four << (24 - 8 * j)) >> 24, Vector);
    }
}

static inline __attribute__((always_inline)) void accumulate(
    const int precision, const int tokens, const char *w, const float *x, size_t stride, int inputs,
    Vector (*sums)[4]) {
    const size_t step = row_bytes(precision);
    for (int i = 0; i < inputs; i++, w += step) {
        Vector weights[4];
        for (size_t line = 0; line < step; line += 64) __builtin_prefetch(w + 16 * step + line);
        widen(precision, w, weights);
        for (int t = 0; t < tokens; t++)
            for (int j = 0; j < 4; j++) sums[t][j] += x[t * stride + i] * weights[j];
    }
}

static inline __attribute__((always_inline)) void tile(
    const int precision, const int tokens, const char *w, const float *x, size_t stride, int inputs,
    float *out) {
    Vector sums[TILE][4];
    if (precision != INT8) {
        for (int t = 0; t < tokens; t++) memcpy(sums[t], out + t * PANEL, sizeof sums[t]);
        accumulate(precision, tokens, w, x, stride, inputs, sums);
        for (int t = 0; t < tokens; t++) memcpy(out + t * PANEL, sums[t], sizeof sums[t]);
        return;
    }
    for (int i = 0; i < inputs; i += SCALED) {
        int count = inputs - i < SCALED ? inputs - i : SCALED;
        const char *rows = w + panel_bytes(INT8, i);
        Vector scales[4];
        widen(BF16, rows, scales);
        for (int t = 0; t < tokens; t++) memset(sums[t], 0, sizeof sums[t]);
        accumulate(INT8, tokens, rows + row_bytes(BF16), x + i, stride, count, sums);
        for (int t = 0; t < tokens; t++)
            for (int j = 0; j < 4; j++) {
                float *to = out + t * PANEL + j * LANES;
                Vector sum = load(to) + scales[j] * sums[t][j];
                memcpy(to, &sum, sizeof sum);
            }
    }
}

#define TILES(P, N) case N: tile(P, N, w, x, stride, inputs, out); break;
#if TILE == 6
#define ALL_TILES(P) TILES(P, 1) TILES(P, 2) TILES(P, 3) TILES(P, 4) TILES(P, 5) TILES(P, 6)
#elif TILE == 4
#define ALL_TILES(P) TILES(P, 1) TILES(P, 2) TILES(P, 3) TILES(P, 4)
#else
#define ALL_TILES(P) TILES(P, 1) TILES(P, 2)
#endif
#define KERNEL(NAME, P) \
    static void NAME(int tokens, const char *w, const float *x, size_t stride, int inputs, \
                     float *out) { switch (tokens) { ALL_TILES(P) } }
KERNEL(tiles_fp32, FP32)
KERNEL(tiles_bf16, BF16)
KERNEL(tiles_int8, INT8)

/* Products (tokens, PANEL) of one panel. Tokens share a block of weights while the first cache
   holds it; a sum that is put aside between blocks is the same sum. */
static void multiply(const Part *part, int panel, const float *x, int tokens, float *out) {
    const int precision = part->precision;
    const char *w = (const char *)part->packed + panel * panel_bytes(precision, part->inputs);
    int rounds = (tokens + TILE - 1) / TILE, each = (tokens + rounds - 1) / rounds;
    int block = tokens > TILE ? (int)(BLOCK / row_bytes(precision)) : part->inputs;
    memset(out, 0, (size_t)tokens * PANEL * sizeof(float));
    for (int i = 0; i < part->inputs; i += block) {
        int inputs = part->inputs - i < block ? part->inputs - i : block;
        const char *from = w + panel_bytes(precision, i);
        for (int t = 0; t < tokens; t += each) {
            int count = tokens - t < each ? tokens - t : each;
            const float *in = x + (size_t)t * part->inputs + i;
            float *sums = out + (size_t)t * PANEL;
            if (precision == FP32) tiles_fp32(count, from, in, part->inputs, inputs, sums);
            else if (precision == BF16) tiles_bf16(count, from, in, part->inputs, inputs, sums);
            else tiles_int8(count, from, in, part->inputs, inputs, sums);
        }
    }
}

static inline float exponential(float x) { /* Cephes; relative error 2e-7 */
    x = x > -87.0f ? x : -87.0f;
    x = x < 88.0f ? x : 88.0f;
    const float magic = 12582912.0f; /* 3 * 2^22: what is added to it is rounded to a whole */
    float whole = (x * 1.44269504f + magic) - magic;
    float r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    union { int32_t bits; float value; } power = {((int32_t)whole + 127) << 23};
    return (p * r * r + r + 1.0f) * power.value;
}

static inline float gelu(float x) { /* erf by Abramowitz and Stegun 7.1.26, error 1.5e-7 */
    float z = fabsf(x) * 0.70710678f, t = 1.0f / (1.0f + 0.3275911f * z);
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    float erf = 1.0f - p * t * exponential(-z * z);
    return 0.5f * x * (1.0f + copysignf(erf, x));
}

enum { PLAIN, GATED, ACTIVATED }; /* what becomes of a product */

static inline float activated(float x, int kind) {
    if (kind == 1) return gelu(x);
    /* Half of 1 + tanh(y) is the sigmoid of 2 y. */
    float y = kind ? 1.5957691f * x * (1.0f + 0.044715f * x * x) : x;
    return x / (1.0f + exponential(-y));
}

#define GATE(K) case K: for (int i = 0; i < count; i++) values[i] *= activated(gates[i], K); break;
static void gate(const float *restrict gates, int count, int kind, float *restrict values) {
    switch (kind) { GATE(0) GATE(1) GATE(2) }
}

typedef struct {
    const Model *model;
    const Part *part;
    const float *x, *bias;
    float *out;
    int tokens, kind;
} Product;

static void product_panel(void *context, int task) {
    const Product *job = context;
    float sums[GROUP * PANEL], gates[GROUP * PANEL];
    int gated = job->kind == GATED, outputs = job->part->outputs / (gated ? 2 : 1);
    int first = task * PANEL;
    int count = outputs - first < PANEL ? outputs - first : PANEL;
    for (int t = 0; t < job->tokens; t += GROUP) {
        int tokens = job->tokens - t < GROUP ? job->tokens - t : GROUP;
        const float *x = job->x + (size_t)t * job->part->inputs;
        if (gated) {
            multiply(job->part, 2 * task, x, tokens, gates);
            multiply(job->part, 2 * task + 1, x, tokens, sums);
            gate(gates, tokens * PANEL, job->model->gelu, sums);
        } else {
            multiply(job->part, task, x, tokens, sums);
        }
        for (int s = 0; s < tokens; s++) {
            float *out = job->out + (size_t)(t + s) * outputs + first;
            for (int i = 0; i < count; i++)
                out[i] = sums[s * PANEL + i] + (job->bias ? job->bias[first + i] : 0.0f);
            if (job->kind == ACTIVATED)
                for (int i = 0; i < count; i++) out[i] = activated(out[i], job->model->gelu);
        }
    }
}

static void product(const Model *model, int threads, const Part *part, const Part *bias,
                    const float *x, int tokens, float *out, int kind) {
    int outputs = part->outputs / (kind == GATED ? 2 : 1);
    Product job = {model, part, x, bias ? bias->packed : NULL, out, tokens, kind};
    parallel(threads, (outputs + PANEL - 1) / PANEL, product_panel, &job);
}


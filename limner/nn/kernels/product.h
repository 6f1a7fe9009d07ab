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

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef int32_t Integers __attribute__((vector_size(4 * LANES)));

enum { FP32, BF16, INT8 };
enum Slot {
    ATTENTION_NORM, ATTENTION_NORM_BIAS, QKV, QUERY_NORM, KEY_NORM, OUT, OUT_NORM, OUT_NORM_BIAS,
    CROSS_NORM, CROSS_NORM_BIAS, CROSS_QUERY, CROSS_KEY_VALUE, CROSS_OUT, CROSS_OUT_NORM,
    CROSS_OUT_NORM_BIAS, FEED_NORM, FEED_NORM_BIAS, INTO, MIDDLE_NORM, MIDDLE_NORM_BIAS, DOWN,
    HEAD, HEAD_BIAS, SLOTS
};

typedef struct {
    int outputs, inputs;
    void *packed;  /* a matrix in panels, or a vector as it is */
    float *scales; /* of int8, one an output */
} Part;

typedef struct {
    int width, layers, heads, hidden, groups, precision;
    int layer_norm; /* 0: root mean square */
    int gelu;       /* 0: SiLU */
    Part (*parts)[SLOTS]; /* layers, then a head for each group; head 0 has the final norm */
} Model;

static size_t panel_bytes(int precision, int inputs) {
    return (size_t)inputs * PANEL * (precision == FP32 ? 4 : precision == BF16 ? 2 : 1);
}

/* ---- weights ---- */

static void *allocate(size_t bytes) {
    const size_t page = (size_t)1 << 21; /* large pages: a product reads through all of it */
    size_t rounded = bytes < page ? (bytes + 63) / 64 * 64 : (bytes + page - 1) / page * page;
    void *memory = NULL;
    if (posix_memalign(&memory, bytes < page ? 64 : page, rounded ? rounded : 64)) return NULL;
#ifdef MADV_HUGEPAGE
    if (bytes >= page) madvise(memory, rounded, MADV_HUGEPAGE);
#endif
    memset(memory, 0, rounded);
    return memory;
}

Model *limner_new(int width, int layers, int heads, int hidden, int groups, int precision,
                  int layer_norm, int gelu) {
    Model *model = calloc(1, sizeof *model);
    if (!model) return NULL;
    *model = (Model){width, layers, heads, hidden, groups, precision, layer_norm, gelu, NULL};
    model->parts = calloc(layers + groups + 1, sizeof *model->parts);
    if (model->parts) return model;
    free(model);
    return NULL;
}

void limner_free(Model *model) {
    for (int layer = 0; layer < model->layers + model->groups + 1; layer++)
        for (int slot = 0; slot < SLOTS; slot++) {
            free(model->parts[layer][slot].packed);
            free(model->parts[layer][slot].scales);
        }
    free(model->parts);
    free(model);
}

static void put(int precision, char *panel, int input, int column, float weight, float scale) {
    int vector = column / LANES, lane = column % LANES;
    if (precision == FP32) {
        ((float *)panel)[(size_t)input * PANEL + column] = weight;
    } else if (precision == BF16) {
        uint32_t bits;
        memcpy(&bits, &weight, 4);
        bits += 0x7fff + (bits >> 16 & 1); /* to the nearest, ties to even */
        size_t word = (size_t)input * PANEL / 2 + vector / 2 * LANES + lane;
        ((uint32_t *)panel)[word] |= vector % 2 ? bits & 0xffff0000 : bits >> 16;
    } else {
        int level = scale > 0 ? (int)lrintf(weight / scale) : 0;
        ((uint32_t *)panel)[(size_t)input * LANES + lane] |= (uint32_t)(uint8_t)level << 8 * vector;
    }
}

typedef struct {
    Part *part;
    const float *weights;
    int precision, gated;
} Packing;

static void pack_panel(void *context, int task) {
    Packing *job = context;
    Part *part = job->part;
    int inputs = part->inputs, half = part->outputs / 2;
    int first = job->gated ? task / 2 * PANEL : task * PANEL;
    int end = job->gated ? half : part->outputs, shift = job->gated && task % 2 ? half : 0;
    char *panel = (char *)part->packed + task * panel_bytes(job->precision, inputs);
    for (int column = 0; column < PANEL && first + column < end; column++) {
        const float *row = job->weights + (size_t)(first + column + shift) * inputs;
        float most = 0;
        for (int i = 0; i < inputs && part->scales; i++)
            most = fabsf(row[i]) > most ? fabsf(row[i]) : most;
        float scale = most / 127;
        if (part->scales) part->scales[task * PANEL + column] = scale;
        for (int i = 0; i < inputs; i++) put(job->precision, panel, i, column, row[i], scale);
    }
}

/* Keep a copy of weights (outputs, inputs), packed, or of a vector where inputs is 0. */
int limner_set(Model *model, int layer, int slot, const float *weights, int outputs, int inputs,
               int threads) {
    Part *part = &model->parts[layer][slot];
    int gated = slot == INTO, rows = gated ? outputs / 2 : outputs;
    part->outputs = outputs;
    part->inputs = inputs;
    if (!inputs) {
        part->packed = allocate(outputs * sizeof(float));
        if (!part->packed) return 0;
        memcpy(part->packed, weights, outputs * sizeof(float));
        return 1;
    }
    int panels = (rows + PANEL - 1) / PANEL * (gated ? 2 : 1);
    part->packed = allocate(panels * panel_bytes(model->precision, inputs));
    if (model->precision == INT8) part->scales = allocate(panels * PANEL * sizeof(float));
    if (!part->packed || (model->precision == INT8 && !part->scales)) return 0;
    Packing job = {part, weights, model->precision, gated};
    threads = begin_parallel(threads);
    parallel(threads, panels, pack_panel, &job);
    end_parallel(threads);
    return 1;
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

static inline __attribute__((always_inline)) void tile(
    const int precision, const int tokens, const char *w, const float *x, size_t stride, int inputs,
    float *out) {
    Vector sums[TILE][4];
    for (int t = 0; t < tokens; t++) memcpy(sums[t], out + t * PANEL, sizeof sums[t]);
    const size_t step = panel_bytes(precision, 1);
    for (int i = 0; i < inputs; i++, w += step) {
        Vector weights[4];
        for (size_t line = 0; line < step; line += 64) __builtin_prefetch(w + 16 * step + line);
        widen(precision, w, weights);
        for (int t = 0; t < tokens; t++)
            for (int j = 0; j < 4; j++) sums[t][j] += x[t * stride + i] * weights[j];
    }
    for (int t = 0; t < tokens; t++) memcpy(out + t * PANEL, sums[t], sizeof sums[t]);
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
static void multiply(const Part *part, int precision, int panel, const float *x, int tokens,
                     float *out) {
    const char *w = (const char *)part->packed + panel * panel_bytes(precision, part->inputs);
    int rounds = (tokens + TILE - 1) / TILE, each = (tokens + rounds - 1) / rounds;
    int block = tokens > TILE ? (int)(BLOCK / panel_bytes(precision, 1)) : part->inputs;
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
    if (precision != INT8) return;
    const float *scales = part->scales + panel * PANEL;
    for (int t = 0; t < tokens; t++)
        for (int j = 0; j < PANEL; j++) out[t * PANEL + j] *= scales[j];
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

static void gate(const float *restrict gates, int count, int with_gelu, float *restrict values) {
    if (with_gelu)
        for (int i = 0; i < count; i++) values[i] *= gelu(gates[i]);
    else
        for (int i = 0; i < count; i++) values[i] *= gates[i] / (1.0f + exponential(-gates[i]));
}

typedef struct {
    const Model *model;
    const Part *part;
    const float *x, *bias;
    float *out;
    int tokens, gated;
} Product;

static void product_panel(void *context, int task) {
    const Product *job = context;
    float sums[GROUP * PANEL], gates[GROUP * PANEL];
    int first = task * PANEL, outputs = job->gated ? job->part->outputs / 2 : job->part->outputs;
    int count = outputs - first < PANEL ? outputs - first : PANEL;
    int precision = job->model->precision;
    for (int t = 0; t < job->tokens; t += GROUP) {
        int tokens = job->tokens - t < GROUP ? job->tokens - t : GROUP;
        const float *x = job->x + (size_t)t * job->part->inputs;
        if (job->gated) {
            multiply(job->part, precision, 2 * task, x, tokens, gates);
            multiply(job->part, precision, 2 * task + 1, x, tokens, sums);
            gate(gates, tokens * PANEL, job->model->gelu, sums);
        } else {
            multiply(job->part, precision, task, x, tokens, sums);
        }
        for (int s = 0; s < tokens; s++) {
            float *out = job->out + (size_t)(t + s) * outputs + first;
            for (int i = 0; i < count; i++)
                out[i] = sums[s * PANEL + i] + (job->bias ? job->bias[first + i] : 0.0f);
        }
    }
}

static void product(const Model *model, int threads, const Part *part, const Part *bias,
                    const float *x, int tokens, float *out, int gated) {
    int outputs = gated ? part->outputs / 2 : part->outputs;
    Product job = {model, part, x, bias ? bias->packed : NULL, out, tokens, gated};
    parallel(threads, (outputs + PANEL - 1) / PANEL, product_panel, &job);
}


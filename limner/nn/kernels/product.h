/* Products of packed weights with a few tokens at a time, and what becomes of them. */
#include "weights.h"

#if LANES == 16
#define TILE 6
#elif LANES == 8
#define TILE 2
#else
#define TILE 4
#endif
#define GROUP 24     /* tokens of one pass over a panel */
#define BLOCK 16384  /* bytes of weights that stay in the first cache meanwhile */

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

/* `far` weights are fetched ahead of their use; others lie in the first cache. */
static inline __attribute__((always_inline)) void accumulate(
    const int precision, const int far, const int tokens, const char *w, const float *x,
    size_t stride, int inputs, Vector (*sums)[4]) {
    const size_t step = row_bytes(precision);
    for (int i = 0; i < inputs; i++, w += step) {
        Vector weights[4];
        for (size_t line = 0; far && line < step; line += 64)
            __builtin_prefetch(w + 16 * step + line);
        widen(precision, w, weights);
        for (int t = 0; t < tokens; t++)
            for (int j = 0; j < 4; j++) sums[t][j] += x[t * stride + i] * weights[j];
    }
}

/* Add products with at most SCALED inputs, which share the scales, to `out`. */
static inline __attribute__((always_inline)) void add_scaled(
    const int precision, const int tokens, const Vector *scales, const char *w, const float *x,
    size_t stride, int inputs, float *out) {
    Vector sums[TILE][4];
    for (int t = 0; t < tokens; t++) memset(sums[t], 0, sizeof sums[t]);
    accumulate(precision, precision == INT8, tokens, w, x, stride, inputs, sums);
    for (int t = 0; t < tokens; t++)
        for (int j = 0; j < 4; j++) {
            float *to = out + t * PANEL + j * LANES;
            Vector sum = load(to) + scales[j] * sums[t][j];
            memcpy(to, &sum, sizeof sum);
        }
}

static inline __attribute__((always_inline)) void tile(
    const int precision, const int tokens, const char *w, const float *x, size_t stride, int inputs,
    float *out) {
    Vector sums[TILE][4];
    if (precision == WIDENED) { /* of one block, behind its scales */
        Vector scales[4];
        memcpy(scales, w, sizeof scales);
        add_scaled(FP32, tokens, scales, w + sizeof scales, x, stride, inputs, out);
        return;
    }
    if (precision != INT8) {
        for (int t = 0; t < tokens; t++) memcpy(sums[t], out + t * PANEL, sizeof sums[t]);
        accumulate(precision, 1, tokens, w, x, stride, inputs, sums);
        for (int t = 0; t < tokens; t++) memcpy(out + t * PANEL, sums[t], sizeof sums[t]);
        return;
    }
    for (int i = 0; i < inputs; i += SCALED) {
        int count = inputs - i < SCALED ? inputs - i : SCALED;
        const char *rows = w + panel_bytes(INT8, i);
        Vector scales[4];
        widen(BF16, rows, scales);
        add_scaled(INT8, tokens, scales, rows + row_bytes(BF16), x + i, stride, count, out);
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
KERNEL(tiles_widened, WIDENED)

/* Write SCALED rows of int8, at most, in fp32 behind their scales: once for all tiles. */
static void widen_block(const char *from, int inputs, Vector *to) {
    widen(BF16, from, to);
    from += row_bytes(BF16);
    for (int i = 0; i < inputs; i++, from += row_bytes(INT8)) {
        __builtin_prefetch(from + 16 * row_bytes(INT8));
        widen(INT8, from, to + 4 * (1 + i));
    }
}

/* Products (tokens, PANEL) of one panel. Tokens share a block of weights while the first cache
   holds it; a sum that is put aside between blocks is the same sum. */
static void multiply(const Part *part, int panel, const float *x, int tokens, float *out) {
    const int precision = part->precision, several = tokens > TILE;
    const char *w = (const char *)part->packed + panel * panel_bytes(precision, part->inputs);
    int rounds = (tokens + TILE - 1) / TILE, each = (tokens + rounds - 1) / rounds;
    int block = precision == INT8 ? SCALED : (int)(BLOCK / row_bytes(precision));
    Vector widened[4 * (1 + SCALED)];
    if (!several) block = part->inputs;
    memset(out, 0, (size_t)tokens * PANEL * sizeof(float));
    for (int i = 0; i < part->inputs; i += block) {
        int inputs = part->inputs - i < block ? part->inputs - i : block;
        const char *from = w + panel_bytes(precision, i);
        if (precision == INT8 && several) widen_block(from, inputs, widened);
        for (int t = 0; t < tokens; t += each) {
            int count = tokens - t < each ? tokens - t : each;
            const float *in = x + (size_t)t * part->inputs + i;
            float *sums = out + (size_t)t * PANEL;
            size_t stride = part->inputs;
            if (precision == FP32) tiles_fp32(count, from, in, stride, inputs, sums);
            else if (precision == BF16) tiles_bf16(count, from, in, stride, inputs, sums);
            else if (!several) tiles_int8(count, from, in, stride, inputs, sums);
            else tiles_widened(count, (const char *)widened, in, stride, inputs, sums);
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


/* Weights, packed in panels of outputs for the products of product.h. */
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
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
#define PANEL (4 * LANES)
#define LARGE_PAGE ((size_t)1 << 21)
#define SCALED 32    /* neighbouring int8 weights of an output that share a scale in bf16 */

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef int32_t Integers __attribute__((vector_size(4 * LANES)));

enum { FP32, BF16, INT8, WIDENED };
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

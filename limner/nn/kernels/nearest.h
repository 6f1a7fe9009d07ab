/* The nearest code of every vector: scores in whole numbers of 8 bits, then distances in fp64.

   Scores have a known greatest error, so the nearest code is among those that come within a row's
   window of its best. Integers are summed exactly and in registers, and no score is written down
   but for those. Where AVX-512 VNNI is missing there is none of this. */
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    int rows, codes, panels, quads, width; /* vectors, codes, 64 codes each, 4 inputs each, inputs */
    const uint8_t *levels;                 /* (rows, quads, 4), 128 added */
    const int8_t *packed;                  /* (panels, quads, 64, 4) */
    const float *row_scales, *windows;     /* (rows,) */
    const float *code_scales, *biases;     /* (panels, 64) */
    const int32_t *starts;                 /* (panels, 64): what undoes the 128 */
    const float *vectors, *codebook;       /* (rows, width), (codes, width) */
    int64_t *found;                        /* (rows,), out */
    uint8_t *settled;                      /* (rows,), out: whether that code is certainly it */
} Search;

#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
#include <float.h>
#include <immintrin.h>
#define TOGETHER 6    /* rows of a tile: 24 sums, 4 vectors of codes and one of a row fit registers */
#define TILES_HELD 8  /* tiles of rows that use a panel while the first cache holds it */
#define CODES 64
#define CANDIDATES 128

typedef struct {
    float most;
    int count, codes[CANDIDATES];
    float scores[CANDIDATES];
} Best;

static void drop_worse(Best *best, float window) {
    int kept = 0;
    for (int i = 0; i < best->count; i++)
        if (best->scores[i] >= best->most - window) {
            best->scores[kept] = best->scores[i];
            best->codes[kept++] = best->codes[i];
        }
    best->count = kept;
}

static void note(Best *best, float window, __m512 scores, unsigned mask, int first) {
    float each[16];
    _mm512_storeu_ps(each, scores);
    for (; mask; mask &= mask - 1) {
        int lane = __builtin_ctz(mask);
        if (each[lane] < best->most - window) continue;
        if (each[lane] > best->most) best->most = each[lane];
        if (best->count == CANDIDATES) drop_worse(best, window);
        if (best->count == CANDIDATES) { /* a crowd: nothing more passes, and nothing is settled */
            best->most = INFINITY;
            return;
        }
        best->scores[best->count] = each[lane];
        best->codes[best->count++] = first + lane;
    }
}

static void multiply_levels(const Search *job, int panel, const int *rows,
                            __m512i (*restrict out)[4]) {
    __m512i sums[TOGETHER][4]; /* in registers: nothing but these loops, all unrolled, sees them */
    const int8_t *packed = job->packed + (size_t)panel * job->quads * CODES * 4;
    const uint8_t *levels[TOGETHER];
#pragma GCC unroll 6
    for (int r = 0; r < TOGETHER; r++) {
        levels[r] = job->levels + (size_t)rows[r] * job->quads * 4;
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++)
            sums[r][j] = _mm512_loadu_si512(job->starts + panel * CODES + 16 * j);
    }
    for (int quad = 0; quad < job->quads; quad++, packed += CODES * 4) {
        __m512i codes[4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) codes[j] = _mm512_loadu_si512(packed + 64 * j);
#pragma GCC unroll 6
        for (int r = 0; r < TOGETHER; r++) {
            int32_t four;
            memcpy(&four, levels[r] + 4 * quad, 4);
            __m512i row = _mm512_set1_epi32(four);
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) sums[r][j] = _mm512_dpbusd_epi32(sums[r][j], row, codes[j]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < TOGETHER; r++)
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) out[r][j] = sums[r][j];
}

static void search_tile(const Search *job, int panel, const int *rows, Best *best) {
    __m512i sums[TOGETHER][4];
    multiply_levels(job, panel, rows, sums);
    for (int r = 0; r < TOGETHER; r++) {
        float window = job->windows[rows[r]];
        __m512 scale = _mm512_set1_ps(job->row_scales[rows[r]]);
        for (int j = 0; j < 4; j++) {
            int first = panel * CODES + 16 * j;
            __m512 dot = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[r][j]),
                                       _mm512_loadu_ps(job->code_scales + first));
            __m512 score = _mm512_fmadd_ps(scale, dot, _mm512_loadu_ps(job->biases + first));
            __m512 least = _mm512_set1_ps(best[r].most - window);
            unsigned mask = _mm512_cmp_ps_mask(score, least, _CMP_GE_OQ);
            if (mask) note(&best[r], window, score, mask, first);
        }
    }
}

static double squared_distance(const float *x, const float *y, int width) {
    __m512d sums = _mm512_setzero_pd();
    int i = 0;
    for (; i + 8 <= width; i += 8) {
        __m512d far = _mm512_sub_pd(_mm512_cvtps_pd(_mm256_loadu_ps(x + i)),
                                    _mm512_cvtps_pd(_mm256_loadu_ps(y + i)));
        sums = _mm512_fmadd_pd(far, far, sums);
    }
    double sum = _mm512_reduce_add_pd(sums);
    for (; i < width; i++) sum += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
    return sum;
}

static void settle(const Search *job, int row, Best *best) {
    double least = INFINITY, second = INFINITY;
    if (best->most == INFINITY) return;
    drop_worse(best, job->windows[row]);
    for (int i = 0; i < best->count; i++) {
        double distance = 0;
        if (best->count > 1)
            distance = squared_distance(job->vectors + (size_t)row * job->width,
                                        job->codebook + (size_t)best->codes[i] * job->width,
                                        job->width);
        if (distance < least) {
            second = least;
            least = distance;
            job->found[row] = best->codes[i];
        } else if (distance < second) {
            second = distance;
        }
    }
    /* Whoever sums in another order must find the same; NaN settles nothing. */
    job->settled[row] = second - least > (job->width + 8) * 0x1p-50 * second || best->count == 1;
}

static void search_rows(void *context, int task) {
    const Search *job = context;
    Best best[TOGETHER * TILES_HELD];
    int rows[TOGETHER * TILES_HELD], first = task * TOGETHER * TILES_HELD;
    int left = job->rows - first, tiles = (left + TOGETHER - 1) / TOGETHER;
    if (tiles > TILES_HELD) tiles = TILES_HELD;
    for (int r = 0; r < tiles * TOGETHER; r++) {
        rows[r] = first + (r < left ? r : left - 1);
        best[r].most = -FLT_MAX;
        best[r].count = 0;
    }
    for (int panel = 0; panel < job->panels; panel++)
        for (int tile = 0; tile < tiles; tile++)
            search_tile(job, panel, rows + tile * TOGETHER, best + tile * TOGETHER);
    for (int r = 0; r < tiles * TOGETHER && r < left; r++) settle(job, rows[r], &best[r]);
}

int limner_searches(void) { return CODES; }

void limner_search(const Search *job, int threads) {
    const int each = TOGETHER * TILES_HELD;
    threads = begin_parallel(threads);
    parallel(threads, (job->rows + each - 1) / each, search_rows, (void *)job);
    end_parallel(threads);
}
#else
int limner_searches(void) { return 0; }
void limner_search(const Search *job, int threads) { (void)job, (void)threads; }
#endif

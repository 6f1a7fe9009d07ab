/* A cell of several pictures in one call: what predicts it, the decoder's step, and its codes.

   As CellDecoder (limner/priors/decoding.py) has it, in the order of its sums; n tokens are B
   pictures, and with guidance as many more that have not read the text. */
typedef struct {
    const Model *model;
    Call *call;              /* of n tokens, the text's rows first; x and scratch have room */
    int pictures, groups;    /* B; G codes a cell */
    int head;                /* which of the heads is that of the cell's first code */
    const int64_t *before;   /* (B, G): the codes of the cell before; none of the first cell */
    const float *drawn;      /* (G, V, D): vectors of those codes; or (D,), what is first */
    const float *last;       /* (D,): which cell that was */
    const float *next;       /* (D,): which cell comes */
    const float *table;      /* (G, V, D): vectors of the codes of this cell */
    const double *uniforms;  /* (G, B) */
    float *known, *logits;   /* (n, D), (n, V): scratch */
    int64_t *codes;          /* (B, G), out */
    Choice choice;           /* all but what changes from code to code */
} Cell;

/* Add up the vectors (V, D) of the first `count` codes of a cell. */
static void embed(const float *table, const int64_t *codes, int count, int values, int width,
                  float *out) {
    memcpy(out, table + codes[0] * width, width * sizeof(float));
    for (int group = 1; group < count; group++) {
        const float *vector = table + ((size_t)group * values + codes[group]) * width;
        for (int i = 0; i < width; i++) out[i] += vector[i];
    }
}

/* Copy the rows of B pictures behind themselves, where there are as many more without the text. */
static void repeat(float *rows, int pictures, int tokens, int width) {
    for (int first = pictures; first < tokens; first += pictures)
        memcpy(rows + (size_t)first * width, rows, (size_t)pictures * width * sizeof(float));
}

void limner_cell(const Cell *job) {
    Call *call = job->call;
    Choice choice = job->choice;
    int width = job->model->width, values = choice.codes, tokens = call->tokens;
    /* 1. What predicts the cell. */
    for (int b = 0; b < job->pictures; b++) {
        float *x = call->x + (size_t)b * width;
        if (job->before) {
            embed(job->drawn, job->before + b * job->groups, job->groups, values, width, x);
            for (int i = 0; i < width; i++) x[i] += job->last[i];
        } else {
            memcpy(x, job->drawn, width * sizeof(float));
        }
        for (int i = 0; i < width; i++) x[i] += job->next[i];
    }
    repeat(call->x, job->pictures, tokens, width);
    /* 2. Its features. */
    limner_run(job->model, call);
    /* 3. Its codes, each knowing those before it. */
    choice.logits = job->logits;
    choice.without = tokens > job->pictures ? job->logits + (size_t)job->pictures * values : NULL;
    for (int group = 0; group < job->groups; group++) {
        for (int b = 0; group && b < job->pictures; b++)
            embed(job->table, job->codes + b * job->groups, group, values, width,
                  job->known + (size_t)b * width);
        if (group) repeat(job->known, job->pictures, tokens, width);
        limner_head(job->model, job->head + group, tokens, call->x, group ? job->known : NULL,
                    job->logits, call->scratch, call->threads);
        choice.uniforms = job->uniforms + group * job->pictures;
        limner_choose(&choice);
        for (int b = 0; b < job->pictures; b++) job->codes[b * job->groups + group] = choice.chosen[b];
    }
}

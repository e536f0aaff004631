/*
 * moh.h - the public interface of libmoh: transformer language models with
 * Mixture-of-Heads attention (MoH, arXiv 2410.11842), on plain CPUs.
 * docs/library.md is the guide; examples/ has whole programs.
 *
 * Conventions, which hold for every function below
 *  - What can fail returns a moh_status and takes a moh_error as its last
 *    argument, which may be NULL. On failure it holds one sentence that says
 *    what was wrong, where, and what to do; nothing has changed then and
 *    outputs are NULL, unless a function says otherwise. A pointer that is
 *    NULL where the contract does not permit it is MOH_ERR_ARGUMENT.
 *  - Objects are opaque. What comes back through a pointer to a pointer
 *    belongs to the caller: objects go to their own moh_*_free, arrays and
 *    texts to moh_free. NULL is fine for all of these.
 *  - Structures that may grow in later versions begin with their size.
 *    Options are filled by moh_*_options_default(&options, sizeof(options))
 *    and then changed; NULL options are the defaults. Results are asked for
 *    with sizeof(result). So a program goes on working, without being
 *    compiled anew, when a later libmoh knows more fields.
 *  - Texts are UTF-8 with a length in bytes. Matrices are float arrays, row
 *    by row: [n][d] is n rows of d, element (i, j) at i * d + j.
 *  - Threads: a moh_model and a moh_tokenizer may be used by any number of
 *    threads at once, while no trainer is changing the model. A session,
 *    trainer, router or plan belongs to one thread at a time; two of them may
 *    work in two threads at once, also over one model. Everything else is
 *    thread safe.
 *  - The number of threads never changes a result: not one bit of it.
 *  - The library never prints, exits, or aborts on data, and keeps no state
 *    outside its objects apart from the choice of kernels for this processor
 *    (environment variable MOH_CPU, read once).
 */
#ifndef MOH_H
#define MOH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MOH_API __attribute__((visibility("default")))
#else
#define MOH_API
#endif

/* ==== version and status =============================================== */

/* The one place where the version stands; the build reads it from here.
 * Semantic versioning: a program compiled for a version runs with every later
 * one of the same major number. */
#define MOH_VERSION_MAJOR 0
#define MOH_VERSION_MINOR 1
#define MOH_VERSION_PATCH 0
#define MOH_VERSION_NUMBER \
  (10000 * MOH_VERSION_MAJOR + 100 * MOH_VERSION_MINOR + MOH_VERSION_PATCH)

/* The version of the library that is linked, which may be a later one than
 * that of the header: "major.minor.patch", and as MOH_VERSION_NUMBER. */
MOH_API const char *moh_version(void);
MOH_API int moh_version_number(void);

/* One list makes the codes, their names and their messages. */
#define MOH_STATUS_MAP(X)                                                  \
  X(OK, "success")                                                         \
  X(ERR_MEMORY, "out of memory")                                           \
  X(ERR_ARGUMENT, "invalid argument")                                      \
  X(ERR_CONFIG, "invalid model configuration")                             \
  X(ERR_FORMAT, "invalid input file")                                      \
  X(ERR_IO, "input or output failed")                                      \
  X(ERR_UNSUPPORTED, "not supported")                                      \
  X(ERR_DIVERGED, "training diverged")                                     \
  X(ERR_INTERRUPTED, "interrupted")

typedef enum moh_status {
#define MOH_STATUS_CODE(name, text) MOH_##name,
  MOH_STATUS_MAP(MOH_STATUS_CODE)
#undef MOH_STATUS_CODE
} moh_status;

typedef struct moh_error {
  moh_status status;
  char message[512]; /* one sentence, NUL-terminated UTF-8 */
} moh_error;

/* The name of a code ("MOH_ERR_IO") and what it means in general. Static
 * strings. Unknown codes give "MOH_ERR_UNKNOWN" and "unknown status". */
MOH_API const char *moh_status_name(moh_status status);
MOH_API const char *moh_status_text(moh_status status);

/* Frees an array or a text that a function of this library allocated. */
MOH_API void moh_free(void *memory);

/* ==== models ============================================================ */

/* Weights, configuration and tokenizer. */
typedef struct moh_model moh_model;
typedef struct moh_tokenizer moh_tokenizer;

/* What products with weights are computed in. MOH_BF16: both operands are
 * rounded to bfloat16 and products are added up in f32; routers, norms,
 * attention, losses, gradients and moments stay f32, and so do the weights
 * that training changes and saves. Takes half of the memory and, where the
 * processor has instructions for it, half of the time. */
typedef enum moh_precision {
  MOH_AS_STORED = -1, /* as a directory has its matrices; for loading only */
  MOH_F32,
  MOH_BF16,
  MOH_F16,  /* weights alone; computed in f32 */
  MOH_Q8_0, /* weights as 8-bit integers with a scale for each 32 inputs, and
               products of integers: activations are rounded so, too */
  MOH_Q4_0  /* the same with 4 bits for weights */
} moh_precision;

typedef struct moh_load_options {
  size_t size;
  bool verify;       /* compare SHA-256 sums with manifest.json; false */
  bool trainable;    /* weights in memory that a trainer may change; false:
                        mapped from the file, shared between processes */
  int32_t n_threads; /* that load it; 0: all processors */
  moh_precision precision; /* of sessions; MOH_AS_STORED */
} moh_load_options;
MOH_API void moh_load_options_default(moh_load_options *options,
                                      size_t size);

/* Loads a model directory: config.json, model.safetensors and, where they
 * are, tokenizer.json and manifest.json. MOH_ERR_IO when a file is missing
 * or cannot be read; MOH_ERR_FORMAT when one is damaged, cut or does not fit
 * the others, with file and place; MOH_ERR_CONFIG and MOH_ERR_UNSUPPORTED
 * when it describes what cannot be. */
MOH_API moh_status moh_model_load(moh_model **model, const char *dir,
                                  const moh_load_options *options,
                                  moh_error *err);

typedef struct moh_model_options {
  size_t size;
  const char *preset; /* "seed-train" (default), "nano", "moh-xs", "moh-s",
                         "moh-b", "seed"; NULL: config alone describes the
                         model */
  const char *heads;  /* "all", "moh:S+K" (S shared heads, K of the others by
                         the router), "adaptive:S+MIN-MAX" (each token its own
                         number), "random:S+K" (by chance, the seed is
                         "seed" in config's moh.heads), "norm:S+K" (the K of
                         the largest queries, without a router's
                         parameters), "static:N"; NULL: the preset's */
  const char *config; /* JSON: fields of config.json that replace those of
                         the preset, say {"num_hidden_layers": 2}; NULL */
  int32_t max_length; /* tokens of a sequence, at most; 0: the preset's */
  uint64_t seed;      /* of the initial weights; 1 */
  const char *route_by; /* what S and K count: "head", or "group", KV heads
                           with all query heads that use them, so that the
                           cache of the others is not read; NULL: "head" */
  const char *experts; /* "S+K/E": in place of one feed-forward S experts for
                          every token and K of E by a router; "none"; NULL: the
                          preset's or the config's */
  int64_t expert_hidden; /* hidden units of an expert; 0: the feed-forward's */
} moh_model_options;
MOH_API void moh_model_options_default(moh_model_options *options,
                                       size_t size);

/* A new, trainable model with random weights. Its vocabulary is the
 * tokenizer's, which the model keeps a share of; with tokenizer NULL it is
 * the configuration's, and the model knows token ids only. */
MOH_API moh_status moh_model_new(moh_model **model,
                                 const moh_tokenizer *tokenizer,
                                 const moh_model_options *options,
                                 moh_error *err);

/* A new, trainable model with the weights of a dense one, whose tokens choose
 * heads by the norms of their queries: heads "norm:S+K", route_by as in
 * moh_model_options. With all heads it is the dense model, to the bit. The
 * tokenizer is shared. */
MOH_API moh_status moh_model_upcycle(moh_model **model,
                                     const moh_model *dense,
                                     const char *heads, const char *route_by,
                                     moh_error *err);

/* Writes a model directory, made if missing. Each file is replaced whole and
 * manifest.json comes last, so no crash leaves half a model behind. `note` is
 * kept in the manifest as its description; NULL: none. A weight that is not
 * finite is MOH_ERR_DIVERGED with the tensor's name, and nothing is written. */
MOH_API moh_status moh_model_save(const moh_model *model, const char *dir,
                                  const char *note, moh_error *err);

/* Not before all of the model's sessions and trainers are freed. */
MOH_API void moh_model_free(moh_model *model);

typedef struct moh_model_info {
  int64_t vocab_size;
  int64_t max_length; /* tokens of a sequence */
  int64_t d_model, d_ff, d_head;
  int64_t n_layers;
  int64_t n_heads, n_kv_heads; /* of a layer */
  int64_t n_shared_heads;      /* in use for every token; 0 without routers */
  int64_t n_active_heads;      /* that a token uses in a layer, at most */
  int64_t n_parameters;        /* counted from the tensors */
  int64_t n_router_parameters; /* of these */
  bool trainable;
  char heads[32];       /* "all", "moh:2+4", "static:6", "random:2+4" */
  int64_t n_heads_each; /* query heads that its routers choose together: 1,
                           or all of a KV head; moh:S+K counts these */
  int64_t n_shared_experts;    /* of a layer's feed-forward, for every token */
  int64_t n_routed_experts;    /* by a router; 0: it has no experts */
  int64_t n_active_experts;    /* of both, that a token uses */
  int64_t expert_hidden;       /* hidden units of an expert */
  int64_t n_active_parameters; /* without the experts that a token does not
                                  use */
} moh_model_info;
MOH_API moh_status moh_model_describe(const moh_model *model,
                                      moh_model_info *info, size_t size,
                                      moh_error *err);

/* Tokens that a token of a layer sees at most, itself included: max_length
 * without a window. Windows that adapt have a size for each layer, which
 * training moves. MOH_ERR_ARGUMENT when there is no such layer. */
MOH_API moh_status moh_model_window(const moh_model *model, int64_t layer,
                                    int64_t *n_tokens, moh_error *err);

/* Multiply-adds of a token's forward pass behind `context` tokens (1 or
 * more, itself included), counted from the configuration. */
typedef struct moh_macs {
  int64_t dense;  /* were every head and expert computed */
  int64_t active; /* with those in use, routers included */
  int64_t router; /* of these, the routers */
} moh_macs;
MOH_API moh_status moh_model_macs(const moh_model *model, int64_t context,
                                  moh_macs *macs, moh_error *err);

/* Bytes of memory. Weights that are not trainable are pages of a mapped file,
 * which the system may drop and share. */
typedef struct moh_memory {
  int64_t weights; /* as in the file */
  int64_t packed;  /* the same, laid out for computing */
  int64_t cache;   /* keys and values of a session */
  int64_t work;    /* of a session, for its steps and for its gates */
} moh_memory;
/* For a session of max_length tokens, 0: the model's. */
MOH_API moh_status moh_model_memory(const moh_model *model,
                                    int32_t max_length, moh_memory *memory,
                                    moh_error *err);
/* The same while n_beams beams are searched with: what they take at most, when
 * they have nothing but the first token in common. */
MOH_API moh_status moh_model_memory_beams(const moh_model *model,
                                          int32_t max_length,
                                          int32_t n_beams, moh_memory *memory,
                                          moh_error *err);

/* The configuration as config.json has it; to be freed. */
MOH_API moh_status moh_model_config(const moh_model *model, char **json,
                                    moh_error *err);

/* The model's own, valid as long as the model; NULL when it has none. */
MOH_API const moh_tokenizer *moh_model_tokenizer(const moh_model *model);

/* ==== tokenizers ======================================================== */

/* A stretch of UTF-8 that the caller owns; NUL bytes are fine inside. */
typedef struct moh_text {
  const char *bytes;
  size_t n_bytes;
} moh_text;

typedef enum moh_tokenizer_kind {
  MOH_TOKENIZER_WORDS, /* words and punctuation; others are unknown */
  MOH_TOKENIZER_CHARS, /* code points */
  MOH_TOKENIZER_BPE    /* byte pairs over bytes: nothing is ever unknown */
} moh_tokenizer_kind;

typedef struct moh_tokenizer_options {
  size_t size;
  moh_tokenizer_kind kind; /* MOH_TOKENIZER_BPE */
  int32_t vocab_size;      /* of BPE, at most; at least 257; 4096 */
} moh_tokenizer_options;
MOH_API void moh_tokenizer_options_default(moh_tokenizer_options *options,
                                           size_t size);

/* A tokenizer made for these texts; the same texts give the same one. */
MOH_API moh_status moh_tokenizer_train(moh_tokenizer **tokenizer,
                                       const moh_text *texts, size_t n_texts,
                                       const moh_tokenizer_options *options,
                                       moh_error *err);

/* A tokenizer.json file. A step in it that is not known is
 * MOH_ERR_UNSUPPORTED and named, never guessed at. */
MOH_API moh_status moh_tokenizer_load(moh_tokenizer **tokenizer,
                                      const char *path, moh_error *err);
MOH_API moh_status moh_tokenizer_save(const moh_tokenizer *tokenizer,
                                      const char *path, moh_error *err);
/* Models that use it keep their share: free it whenever you like. */
MOH_API void moh_tokenizer_free(moh_tokenizer *tokenizer);

/* Tokens have the ids 0 .. size - 1. 0 for NULL. */
MOH_API int32_t moh_tokenizer_size(const moh_tokenizer *tokenizer);
/* The token that ends a text, and the one for what is not in the vocabulary;
 * -1 when there is none, and for NULL. */
MOH_API int32_t moh_tokenizer_end(const moh_tokenizer *tokenizer);
MOH_API int32_t moh_tokenizer_unknown(const moh_tokenizer *tokenizer);

/* The id of the token that is written so, -1 when there is none; and the
 * *n_bytes bytes that a token stands for, valid as long as the tokenizer, NULL
 * for an id that there is not. They need not be whole characters. */
MOH_API int32_t moh_token_id(const moh_tokenizer *tokenizer,
                             const char *token);
MOH_API const char *moh_token_bytes(const moh_tokenizer *tokenizer,
                                    int32_t id, size_t *n_bytes);

/* The tokens of a text, to be freed (NULL when there are none). Special
 * tokens written out in the text, say "</s>", become that token only when
 * `specials` is true: leave it false for what users type. */
MOH_API moh_status moh_encode(const moh_tokenizer *tokenizer, moh_text text,
                              bool specials, int32_t **tokens,
                              size_t *n_tokens, moh_error *err);

/* The text of tokens, to be freed; a NUL follows its *n_bytes bytes, which
 * may be NULL. Special tokens are left out unless `specials`. Ids outside the
 * vocabulary are MOH_ERR_ARGUMENT. */
MOH_API moh_status moh_decode(const moh_tokenizer *tokenizer,
                              const int32_t *tokens, size_t n_tokens,
                              bool specials, char **text, size_t *n_bytes,
                              moh_error *err);

/* ==== sessions: tokens -> logits ======================================== */

/* One sequence with its keys and values, and threads of its own. */
typedef struct moh_session moh_session;

typedef struct moh_session_options {
  size_t size;
  int32_t max_length; /* tokens that it holds; 0: the model's */
  int32_t n_threads;  /* that compute, the caller's included; 0: all
                         processors. Give several sessions one each. */
} moh_session_options;
MOH_API void moh_session_options_default(moh_session_options *options,
                                         size_t size);

/* All memory is reserved here: a feed allocates nothing. The model must
 * outlive the session. MOH_ERR_ARGUMENT when max_length is more than the
 * model's. */
MOH_API moh_status moh_session_new(moh_session **session,
                                   const moh_model *model,
                                   const moh_session_options *options,
                                   moh_error *err);
MOH_API void moh_session_free(moh_session *session);

/* Appends n > 0 tokens. *logits, [vocab_size], score the token that follows
 * the last one and are valid until the session's next call. Tokens that are
 * outside the vocabulary or do not fit any more are MOH_ERR_ARGUMENT, and
 * none of them was appended then. In many calls or in one, the logits agree
 * up to rounding; the same calls give the same bits. */
MOH_API moh_status moh_session_feed(moh_session *session,
                                    const int32_t *tokens, int32_t n,
                                    const float **logits, moh_error *err);

/* Tokens held, and at most. 0 for NULL. */
MOH_API int32_t moh_session_length(const moh_session *session);
MOH_API int32_t moh_session_max_length(const moh_session *session);

/* The tokens held, [length], valid until the session's next call; NULL for
 * NULL. */
MOH_API const int32_t *moh_session_tokens(const moh_session *session);

/* Keeps what is also the front of tokens, but less than n of them, and forgets
 * the rest; *held tokens need not be fed again. For chats, and for prompts
 * that begin alike. */
MOH_API moh_status moh_session_rewind(moh_session *session,
                                      const int32_t *tokens, int32_t n,
                                      int32_t *held, moh_error *err);

/* Forgets the tokens from position n on; 0 forgets them all. MOH_ERR_ARGUMENT
 * when n is negative or more than there are. */
MOH_API moh_status moh_session_truncate(moh_session *session, int32_t n,
                                        moh_error *err);

/* ==== generation ======================================================== */

/*
 * The rules work in this order, each on what the one before left; at least
 * one token always stays, and equal logits rank by lower id.
 *   1. repeat_penalty r: the logit z of each token among the last ones becomes
 *      z / r where z > 0, and z r elsewhere (CTRL, arXiv 1909.05858, 4.1)
 *   2. top_k: the k largest logits stay
 *   3. top_p: the likeliest tokens stay whose probabilities reach p together
 *      (arXiv 1904.09751)
 *   4. min_p: tokens stay that have min_p times the largest probability
 *   5. temperature T: one is drawn from softmax(z / T); T = 0 takes the
 *      likeliest, and 2 to 4 have nothing to do
 */
typedef struct moh_sampling_options {
  size_t size;
  double temperature;    /* 0 */
  int32_t top_k;         /* 0: off; 0 */
  double top_p;          /* in [0, 1]; 1: off; 1 */
  double min_p;          /* in [0, 1]; 0: off; 0 */
  double repeat_penalty; /* above 0; 1: off; 1 */
  int32_t repeat_last;   /* tokens that it looks at; -1: all; 64 */
  uint64_t seed;         /* 1 */
} moh_sampling_options;
MOH_API void moh_sampling_options_default(moh_sampling_options *options,
                                          size_t size);

/* The rules and their random numbers: a draw takes one, so a seed gives the
 * same tokens for the same logits. A value outside its range is
 * MOH_ERR_ARGUMENT with its name. */
typedef struct moh_sampler moh_sampler;
MOH_API moh_status moh_sampler_new(moh_sampler **sampler, int32_t vocab_size,
                                   const moh_sampling_options *options,
                                   moh_error *err);
MOH_API void moh_sampler_free(moh_sampler *sampler);

/* A token for logits, [vocab_size]. history, the tokens before it, the newest
 * last, is for the penalty; NULL: none. Logits that are not finite are
 * MOH_ERR_DIVERGED. */
MOH_API moh_status moh_sampler_choose(moh_sampler *sampler,
                                      const float *logits,
                                      const int32_t *history,
                                      size_t n_history, int32_t *token,
                                      moh_error *err);

/* Whole characters of generated text, as soon as they are certain; not
 * NUL-terminated. For each token, the one that ends the text included. When
 * one of these functions returns false, generation ends. */
typedef bool moh_text_fn(void *context, const char *text, size_t n_bytes);
typedef bool moh_token_fn(void *context, int32_t token);
/* Called when the session was full and so many tokens were forgotten. */
typedef void moh_drop_fn(void *context, int64_t n_dropped);

/* What happens when the session is full. */
typedef enum moh_overflow {
  MOH_OVERFLOW_STOP, /* the answer ends; a longer prompt is refused */
  MOH_OVERFLOW_SLIDE /* the first `keep` tokens stay, of the others the older
                        half is forgotten and the rest read again */
} moh_overflow;

typedef enum moh_finish {
  MOH_FINISH_END,      /* the model ended its text */
  MOH_FINISH_STOP,     /* a stop text is complete */
  MOH_FINISH_LENGTH,   /* max_tokens */
  MOH_FINISH_CONTEXT,  /* the session is full */
  MOH_FINISH_CANCELLED /* a function of the caller returned false */
} moh_finish;
/* "end", "stop", "length", "context", "cancelled"; "unknown" for others. */
MOH_API const char *moh_finish_name(moh_finish finish);

/*
 * Beam search: the likeliest text that a limited search finds, instead of one
 * that is drawn. The `width` likeliest beginnings are kept at each step; the
 * score of a text is ln p / n^length_penalty, n being its generated tokens, the
 * end included. With min_width and max_width the width follows the beams'
 * mean entropy H: it rises by one where H / ln(vocab_size) > threshold, and
 * falls by one elsewhere. The search ends when the best text that has ended is
 * better than every beam is now; a longer max_tokens then never changes it.
 */
typedef struct moh_beam_options {
  size_t size;
  int32_t width;                /* 4; 1024 at most */
  int32_t min_width, max_width; /* 0 and 0: the width stays */
  double threshold;             /* in [0, 1]; 0.5 */
  double temperature;           /* divides the logits, at least 1e-6; 1 */
  double length_penalty;        /* 0 or more; 1 */
  bool exact;     /* go on while a beam could become the best one with
                     max_tokens tokens; false */
  int32_t n_best; /* texts to tell of, the best first; 1 */
} moh_beam_options;
MOH_API void moh_beam_options_default(moh_beam_options *options,
                                      size_t size);

/* A text that a beam search has found. */
typedef struct moh_hypothesis {
  int32_t rank;        /* 0: the best */
  int32_t n_generated; /* tokens, the end included */
  double log_p, score;
  moh_finish finish;
  int32_t stop; /* the stop text's index; -1: none */
} moh_hypothesis;
/* Called before the tokens and the text of each, once the search is over.
 * Without it, and with one text, tokens and text come as soon as all beams
 * agree on them. */
typedef void moh_hypothesis_fn(void *context,
                               const moh_hypothesis *hypothesis);
/* Called behind each step of a search; false ends it with the best so far. */
typedef bool moh_beams_fn(void *context, int32_t n_beams);

typedef struct moh_generate_options {
  size_t size;
  const moh_sampling_options *sampling; /* NULL: the likeliest token */
  const moh_beam_options *beam; /* NULL: none; excludes sampling and sliding */
  int32_t max_tokens;       /* 0: no limit; 0 */
  bool ignore_end;          /* go on behind the end of the text; false */
  bool specials;            /* special tokens written out in the prompt are
                               such tokens; false */
  bool echo;                /* the text starts with the prompt; false */
  moh_overflow overflow;    /* MOH_OVERFLOW_STOP */
  int32_t keep;             /* when sliding; 0 */
  const char *const *stops; /* [n_stops] texts that end the answer and are no
                               part of it, 64 at most; NULL */
  int32_t n_stops;
  moh_text_fn *on_text; /* each may be NULL */
  moh_token_fn *on_token;
  moh_drop_fn *on_drop;
  moh_beams_fn *on_beams;
  moh_hypothesis_fn *on_hypothesis;
  void *context; /* of these functions */
} moh_generate_options;
MOH_API void moh_generate_options_default(moh_generate_options *options,
                                          size_t size);

typedef struct moh_generate_result {
  moh_finish finish;
  int32_t stop;          /* the stop text's index; -1: none */
  int32_t n_prompt;      /* tokens given */
  int64_t n_generated;   /* tokens, the end included */
  int64_t n_dropped;     /* that were forgotten while sliding */
  double prompt_seconds; /* for reading the prompt */
  double seconds;        /* for generating */
  int32_t n_steps;       /* of a beam search; 0: there was none */
  int64_t n_read;        /* tokens of its beams that the model has read */
  double log_p, score;   /* of its best text */
} moh_generate_result;

/* Appends a prompt to what the session holds and generates behind it. The
 * same seed and tokens give the same text, whatever the number of threads.
 * *text is all of it (of several, the best), NUL-terminated, to be freed; text
 * and result may be NULL. The last token is not in the session afterwards.
 * MOH_ERR_ARGUMENT when the prompt has no token or leaves no room for another,
 * or the model no tokenizer. After another failure the session holds a part of
 * it. In an empty session the tokens that the tokenizer has for the beginning
 * of a text come first; every end token of the model ends the generation. */
MOH_API moh_status moh_generate(moh_session *session, moh_text prompt,
                                const moh_generate_options *options,
                                char **text, moh_generate_result *result,
                                size_t size, moh_error *err);

/* The same behind n tokens; without a tokenizer, on_token alone tells what
 * was generated, and there are no stops. */
MOH_API moh_status moh_generate_tokens(moh_session *session,
                                       const int32_t *prompt, int32_t n,
                                       const moh_generate_options *options,
                                       moh_generate_result *result,
                                       size_t size, moh_error *err);

/* ==== plans: who used which head ======================================== */

/*
 * A dispatch plan over n_rows rows (tokens) and n_heads candidates (heads,
 * or experts): for each head the ascending list of rows that use it, and for
 * each such pair, an *entry*, its gate. The entries of head 0 come first, then
 * those of head 1, and so on: arrays over entries are in that order. A plan
 * is independent of what it was made from.
 */
typedef struct moh_plan moh_plan;

/* The heads that the tokens at positions first .. first + n - 1 of a session
 * used in a layer, with their gates; row r is position first + r. Without
 * routers every row uses the heads that the model has, with gates of 1. */
MOH_API moh_status moh_session_plan(const moh_session *session,
                                    int32_t layer, int32_t first, int32_t n,
                                    moh_plan **plan, moh_error *err);

/* From a table: selected[r * n_heads + h] != 0 when row r uses head h.
 * gates, [n_rows][n_heads], are read where that is so; NULL: all 1. */
MOH_API moh_status moh_plan_new(moh_plan **plan,
                                const unsigned char *selected,
                                const float *gates, int32_t n_rows,
                                int32_t n_heads, moh_error *err);
MOH_API void moh_plan_free(moh_plan *plan);

/* Sizes; 0 for NULL. */
MOH_API int32_t moh_plan_n_rows(const moh_plan *plan);
MOH_API int32_t moh_plan_n_heads(const moh_plan *plan);
MOH_API int32_t moh_plan_n_entries(const moh_plan *plan);

/* The entries of a head: *rows, [return value], are the rows that use it, and
 * *gates their gates. *first, the number of its first entry. Each of the three
 * may be NULL. Valid as long as the plan. 0 for a head that there is not. */
MOH_API int32_t moh_plan_head(const moh_plan *plan, int32_t head,
                              const int32_t **rows, const float **gates,
                              int32_t *first);

/* The other way round: *heads, [return value], ascending, are the heads that
 * a row uses, *entries their entries. Each may be NULL. */
MOH_API int32_t moh_plan_row(const moh_plan *plan, int32_t row,
                             const int32_t **heads, const int32_t **entries);

/* The gates of all entries, [n_entries]; NULL for NULL. */
MOH_API const float *moh_plan_gates(const moh_plan *plan);

/* load, [n_heads]: the fraction of rows that use each head. */
MOH_API moh_status moh_plan_load(const moh_plan *plan, float *load,
                                 moh_error *err);

/* Entropy of a load over n > 0 candidates, in nats: ln n when it is even, 0
 * when all goes to one, and where nothing was used at all. */
MOH_API moh_status moh_load_entropy(const float *load, int32_t n,
                                    float *entropy, moh_error *err);

/* ==== training ========================================================== */

/* Sequences of token ids to learn from: examples, each for itself, or one
 * stream from which windows are drawn. It never changes. A dataset and those
 * that were split off it are to be freed by one thread. */
typedef struct moh_dataset moh_dataset;

/* What becomes of examples of more than max_length tokens. */
typedef enum moh_long_rule {
  MOH_LONG_CUT,   /* the first max_length tokens are kept */
  MOH_LONG_SPLIT, /* pieces of max_length tokens; the last token of one is the
                     first of the next, so that each is predicted once */
  MOH_LONG_DROP,  /* left out */
  MOH_LONG_REFUSE /* MOH_ERR_FORMAT, with the number of the first of them */
} moh_long_rule;

typedef struct moh_dataset_options {
  size_t size;
  bool stream;        /* the texts follow each other in one stream; false:
                         each is an example */
  bool pack;          /* examples, each closed by the end token, become one
                         stream; false */
  int32_t max_length; /* tokens of an example: a trainer's context and the
                         last token, which is only predicted; 0: any number,
                         of which a trainer uses the first */
  moh_long_rule long_rule; /* MOH_LONG_CUT */
  const char *field; /* of a file: where JSON objects have their text; a CSV
                        column by name, or by number from 1; NULL: "text", and
                        all columns */
} moh_dataset_options;
MOH_API void moh_dataset_options_default(moh_dataset_options *options,
                                         size_t size);

/* Encodes texts, special tokens in them recognised. Examples of fewer than 2
 * tokens are left out; MOH_ERR_FORMAT when nothing remains. */
MOH_API moh_status moh_dataset_new(moh_dataset **dataset,
                                   const moh_tokenizer *tokenizer,
                                   const moh_text *texts, size_t n_texts,
                                   const moh_dataset_options *options,
                                   moh_error *err);

/* The same from n tokens, which are copied. Example i is tokens starts[i] ..
 * starts[i + 1] - 1, so starts has n_examples + 1 elements, from 0 to n. With
 * starts NULL the tokens are one stream. */
MOH_API moh_status moh_dataset_from_tokens(moh_dataset **dataset,
                                           const int32_t *tokens, int64_t n,
                                           const int64_t *starts,
                                           int64_t n_examples,
                                           const moh_dataset_options *options,
                                           moh_error *err);

/* The same from a file of texts: .json (an array), .jsonl, .csv; any other is
 * one plain text, and a stream. Or from a directory that `moh data` made with
 * an equal tokenizer: its files are mapped, however large they are, and their
 * ids checked when they are read. Statuses as for moh_model_load. */
MOH_API moh_status moh_dataset_load(moh_dataset **dataset,
                                    const moh_tokenizer *tokenizer,
                                    const char *path,
                                    const moh_dataset_options *options,
                                    moh_error *err);

/* Two new datasets: `share`, in [0, 1), of it is held out; of a stream the
 * last part, of examples every (1 / share)-th. With share 0 *held_out is
 * NULL. MOH_ERR_FORMAT when a part would be too small to be of use. */
MOH_API moh_status moh_dataset_split(const moh_dataset *dataset,
                                     double share, moh_dataset **train,
                                     moh_dataset **held_out, moh_error *err);
MOH_API void moh_dataset_free(moh_dataset *dataset);

typedef struct moh_dataset_info {
  int64_t n_sequences;
  int64_t n_tokens;  /* of all sequences together */
  int64_t n_unknown; /* of these, tokens outside the vocabulary */
  int64_t n_long;    /* examples that were longer than max_length */
  bool stream;
} moh_dataset_info;
MOH_API moh_status moh_dataset_describe(const moh_dataset *dataset,
                                        moh_dataset_info *info, size_t size,
                                        moh_error *err);

/*
 * The loss of a step is task + balance_weight L_b + z_weight z-loss +
 * sparsity_weight entropy, the last three means over layers with the weights
 * of the model's configuration, and the first two of experts with theirs; task
 * is the mean cross entropy of the predicted tokens, in nats.
 */
typedef struct moh_train_options {
  size_t size;
  double lr;       /* learning rate after the warm-up; 1e-3 */
  double lr_final; /* at the end of the cosine, as a share of lr; 0.1 */
  double warmup;   /* share of the steps in which it rises from 0; 0.05 */
  double beta1, beta2, eps; /* of AdamW; 0.9, 0.99, 1e-8 */
  double weight_decay;      /* of matrices; 0.1 */
  bool l2;            /* decay is part of the gradient, as in Adam; false */
  bool amsgrad;       /* uses the largest second moment so far; false */
  double clip;        /* largest norm of the gradient; 0: off; 1 */
  double router_lr;   /* factor on lr for routers; 1 */
  int64_t epochs;     /* passes over the data; 0: by steps; 0 */
  int64_t steps;      /* optimizer steps, when epochs is 0; 1000 */
  int32_t batch;      /* sequences of a micro-batch; 8 */
  int32_t accumulate; /* micro-batches of a step; 1 */
  int32_t context;    /* tokens that a sequence predicts, at most; 64 */
  double mix_share;   /* of the sequences, from the second dataset; 0 */
  double skip_outliers; /* a step whose loss or gradient norm is so many
                           standard deviations above those before it changes
                           nothing; 0: off; 0 */
  uint64_t seed;      /* of the order of the data; 1 */
  int32_t n_threads;  /* 0: all processors; 0 */
  const char *freeze; /* tensors that stay as they are, commas between:
                         embeddings, output, router, attention, feed-forward,
                         norms, or shell patterns for names, such as
                         "model.layers.0.*"; copied; NULL: none; NULL */
  moh_precision precision; /* of this training, and of sessions of the model
                              from then on; MOH_F32 */
  bool recompute; /* activations within a layer are computed again in backward,
                     not kept: less memory, a third more time; false */
  double
      anomaly; /* training stops before a step in which the gradient of some
                     weight is larger, unless it is skipped; 0: off; 1000 */
  double agc; /* adaptive gradient clipping (arXiv 2102.06171): the gradient
                 of each row of a matrix, and of each vector, is clipped to so
                 many times the norm of its weights, before clip is applied;
                 output matrices are exempt; 0: off; 0 */
  bool centralize; /* the mean of each row of a gradient is subtracted from it
                      (arXiv 2004.01461), before agc is applied; false */
  int64_t heads_warmup; /* steps from the first in which tokens use all heads,
                           their gates those of a router that may choose as
                           many; evaluations see the model's own choice; 0 */
  double target_heads; /* adaptive heads: the mean that is held in each layer,
                          by moving the mass that their probabilities have to
                          reach; 0: none; 0 */
  int32_t lora_rank;   /* of adapters (arXiv 2106.09685) that are trained in
                          place of all but routers; they are merged into the
                          model's weights when the trainer is freed; 0: none;
                          0 */
  double lora_alpha;   /* 0: twice the rank; 0 */
  const char *lora_on; /* parts of the names of the matrices that have them;
                          copied; NULL: "q_proj,v_proj"; NULL */
} moh_train_options;
MOH_API void moh_train_options_default(moh_train_options *options,
                                       size_t size);

typedef struct moh_trainer moh_trainer;

/* The model must be trainable, and has one trainer at a time; `mix`, a second
 * dataset to mix in, may be NULL. All three must outlive the trainer. The
 * model's sessions must not compute while a trainer steps; what they hold
 * from before a step was made by other weights. */
MOH_API moh_status moh_trainer_new(moh_trainer **trainer, moh_model *model,
                                   const moh_dataset *data,
                                   const moh_dataset *mix,
                                   const moh_train_options *options,
                                   moh_error *err);
MOH_API void moh_trainer_free(moh_trainer *trainer);

/* Steps of the whole training, and those that are done. 0 for NULL. */
MOH_API int64_t moh_trainer_n_steps(const moh_trainer *trainer);
MOH_API int64_t moh_trainer_steps_done(const moh_trainer *trainer);

/* What one optimizer step did. */
typedef struct moh_step_report {
  int64_t step;      /* from 1 */
  int64_t n_steps;   /* in all */
  double epoch;      /* passes over the data so far */
  double loss;       /* task loss, nats for a token */
  double main_loss;  /* the same of the first dataset's sequences */
  double mix_loss;   /* and of those mixed in; NaN: there were none */
  double balance;    /* mean over layers of L_b; 0 without routers */
  double z_loss;     /* mean over layers */
  double total_loss; /* what was minimised */
  double grad_norm;  /* before clipping */
  double lr;
  int64_t n_tokens; /* predicted in this step */
  double seconds;   /* that it took */
  bool skipped;     /* an outlier: nothing was changed */
  double clipped_norm; /* after clipping, of what the update was made with; 0
                          when skipped */
  bool every_head;     /* in the warm-up of the heads */
  double expert_balance; /* mean over layers of the experts' L_b; 0 without */
  double expert_z_loss;  /* and of the z-loss of their routers */
  double heads;    /* of a token and layer, mean; 0 where none are routed */
  double sparsity; /* mean over layers of the entropy of the routers' p */
} moh_step_report;

/* One step. A loss or gradient that is not finite, and a gradient beyond
 * the option anomaly, are MOH_ERR_DIVERGED with the step's number and the
 * tensor's name, and no weight has changed then. report may be NULL.
 * MOH_ERR_ARGUMENT when all steps are done. */
MOH_API moh_status moh_trainer_step(moh_trainer *trainer,
                                    moh_step_report *report, size_t size,
                                    moh_error *err);

/* Called after every step, which is complete then; false stops. It may
 * evaluate, save and checkpoint. */
typedef bool moh_step_fn(void *context, const moh_step_report *report);

/* All steps that are left. When on_step (NULL: none) stops it, that is
 * MOH_ERR_INTERRUPTED; the trainer is between two steps then, and a further
 * call goes on as if nothing had been. */
MOH_API moh_status moh_trainer_run(moh_trainer *trainer,
                                   moh_step_fn *on_step, void *context,
                                   moh_error *err);

/* How the heads of a layer, or the KV heads where the router chooses these,
 * were used in the last step. */
typedef struct moh_layer_load {
  int32_t n_shared, n_routed;
  const float *load; /* [n_routed] fraction of tokens that used the head;
                        holds until the next step */
  double balance;    /* L_b */
  double entropy;    /* of the load, in nats: ln n_routed when even */
  int32_t n_dead;    /* routed heads that no token used */
  double heads;      /* query heads of a token, mean */
  double mass;       /* adaptive: what their probabilities had to reach; else
                        NaN */
} moh_layer_load;
/* MOH_ERR_ARGUMENT before the first step, and for a layer without router. */
MOH_API moh_status moh_trainer_layer_load(const moh_trainer *trainer,
                                          int32_t layer,
                                          moh_layer_load *load, size_t size,
                                          moh_error *err);

/* The same of the experts of a layer. */
MOH_API moh_status moh_trainer_expert_load(const moh_trainer *trainer,
                                           int32_t layer,
                                           moh_layer_load *load, size_t size,
                                           moh_error *err);

typedef struct moh_eval_result {
  int64_t n_tokens;     /* predicted */
  double loss;          /* mean over them, nats; e^loss is the perplexity */
  double sequence_loss; /* mean over sequences of their means */
} moh_eval_result;
/* The task loss of a whole dataset: examples each once, a stream in windows
 * of the trainer's context that do not overlap. Changes nothing. A loss that
 * is not finite is MOH_ERR_DIVERGED. */
MOH_API moh_status moh_trainer_evaluate(moh_trainer *trainer,
                                        const moh_dataset *dataset,
                                        moh_eval_result *result, size_t size,
                                        moh_error *err);

/* Writes the whole state (weights, moments, position in the data) into a
 * directory that is also a model directory. It gets its name when it is whole,
 * and replaces what had that name. */
MOH_API moh_status moh_trainer_checkpoint(moh_trainer *trainer,
                                          const char *dir, moh_error *err);

/* Goes on from a checkpoint as if there had been no break, to the bit, with
 * the options of that training: a trainer, and the model that it trains. dir
 * may also be a directory of checkpoints named step-000100 and so on: then the
 * newest that is whole is taken. Everything in it is checked, by its hash and
 * by its field: MOH_ERR_FORMAT with file and place, MOH_ERR_IO where there is
 * none. Data other than those before are MOH_ERR_ARGUMENT. Both results are
 * the caller's; free the trainer first. */
MOH_API moh_status moh_trainer_resume(moh_trainer **trainer,
                                      moh_model **model, const char *dir,
                                      const moh_dataset *data,
                                      const moh_dataset *mix,
                                      int32_t n_threads, moh_error *err);

/* ==== routing by itself ================================================= */

/*
 * What heads and experts have in common, on plain arrays: n candidates, scored
 * by logits [n_rows][n]. Gradients are *added* to their outputs, so that those
 * of several losses meet. Sizes are at least 1 unless said otherwise. A NaN
 * among the logits is chosen last, and passes into gates and losses.
 */

/* The k largest of each row, ties to the lower index; k >= 0, and k > n is n.
 * best, [n_rows][min(k, n)]: best first. selected, [n_rows][n]: 1 for these,
 * 0 for the others. Either may be NULL. */
MOH_API moh_status moh_top_k(const float *scores, int32_t n_rows, int32_t n,
                             int32_t k, int32_t *best,
                             unsigned char *selected, moh_error *err);

/* p = softmax(logits) of each row, the largest logit subtracted first; p may
 * be logits. Gradient: d_logits_i += p_i (d_p_i - sum_j p_j d_p_j). */
MOH_API moh_status moh_softmax(const float *logits, int32_t n_rows,
                               int32_t n, float *p, moh_error *err);
MOH_API moh_status moh_softmax_grad(const float *p, const float *d_p,
                                    int32_t n_rows, int32_t n,
                                    float *d_logits, moh_error *err);

/* The straight-through estimator: forward, gates are the selection, 1 or 0;
 * backward, d_scores += d_gates as if they were the scores. All [n]. */
MOH_API moh_status moh_straight_through(const unsigned char *selected,
                                        int64_t n, float *gates,
                                        moh_error *err);
MOH_API moh_status moh_straight_through_grad(const float *d_gates, int64_t n,
                                             float *d_scores,
                                             moh_error *err);

/* Load balance: L_b = n sum_i P_i f_i, where P_i is the mean over rows of
 * softmax(logits)_i and f_i the fraction of rows that selected candidate i
 * (arXiv 2410.11842, equation 7, times n): k when the load is even, n when
 * all rows are sure of one. selected: [n_rows][n]; mean_p (P) and load (f),
 * [n], may be NULL. The gradient holds the load constant:
 * d_logits += weight dL_b/dlogits. */
MOH_API moh_status moh_balance_loss(const float *logits,
                                    const unsigned char *selected,
                                    int32_t n_rows, int32_t n, float *mean_p,
                                    float *load, float *loss, moh_error *err);
MOH_API moh_status moh_balance_loss_grad(const float *logits,
                                         const float *load, int32_t n_rows,
                                         int32_t n, float weight,
                                         float *d_logits, moh_error *err);

/* z-loss: mean over rows of ln(sum_i exp(logit_i))^2 (arXiv 2202.08906,
 * equation 5), which keeps logits small. d_logits += weight dL/dlogits. */
MOH_API moh_status moh_z_loss(const float *logits, int32_t n_rows, int32_t n,
                              float *loss, moh_error *err);
MOH_API moh_status moh_z_loss_grad(const float *logits, int32_t n_rows,
                                   int32_t n, float weight, float *d_logits,
                                   moh_error *err);

/* ---- the two-stage router of Mixture-of-Heads --------------------------- */

/*
 * p_s = softmax(W_s x), p_r = softmax(W_r x), a = softmax(W_h x): the first
 * n_shared candidates are always in use, of the n_routed others the k with the
 * largest p_r. Gates (arXiv 2410.11842, equations 5 and 6; UNIT as in the
 * code released with it):
 *          a shared candidate       a selected one
 *   UNIT   2 a_1 n_shared p_s,i     2 a_2 k p_r,i / sum of selected p_r
 *   PAPER  a_1 p_s,i                a_2 p_r,i
 *   ONE    1                        1, its gradient straight through to p_r,i
 * n_shared = 1 has p_s = 1 and no W_s; n_shared = 0 has no W_s and no W_h (2
 * a_2, or a_2, is 1 then: an ordinary router of experts).
 */
typedef enum moh_gate_scale {
  MOH_GATE_UNIT,
  MOH_GATE_PAPER,
  MOH_GATE_ONE
} moh_gate_scale;

typedef struct moh_router_options {
  size_t size;
  int32_t d_model;           /* elements of x; no default */
  int32_t n_shared;          /* 0 */
  int32_t n_routed;          /* no default */
  int32_t k;                 /* 0 .. n_routed; 1 */
  moh_gate_scale gate_scale; /* MOH_GATE_UNIT */
  float balance_weight;      /* of L_b in the gradients; 0.01 */
  float z_weight;            /* of the z-loss; 0 */
  int32_t n_threads;         /* 0: all processors */
} moh_router_options;
MOH_API void moh_router_options_default(moh_router_options *options,
                                        size_t size);

/* Three matrices, or gradients of them. Those that the shape does not have
 * are not looked at. */
typedef struct moh_router_weights {
  float *shared; /* W_s [n_shared][d_model], n_shared > 1 */
  float *routed; /* W_r [n_routed][d_model], n_routed > 0 */
  float *mix;    /* W_h [2][d_model], n_shared > 0 */
} moh_router_weights;

/* The router's shape and working memory. Weights stay with the caller, whose
 * optimizer may change them between calls. */
typedef struct moh_router moh_router;

MOH_API moh_status moh_router_new(moh_router **router,
                                  const moh_router_options *options,
                                  moh_error *err);
MOH_API void moh_router_free(moh_router *router);

/* Scores n_rows rows of x, [n_rows][d_model], and chooses: a plan over
 * n_shared + n_routed candidates, with its gates. The same arithmetic as
 * inside a model, bit for bit. weights and x are read again by the backward
 * pass, until the next forward pass. */
MOH_API moh_status moh_router_forward(moh_router *router,
                                      const moh_router_weights *weights,
                                      const float *x, int32_t n_rows,
                                      moh_plan **plan, moh_error *err);

/* L_b and z-loss of the routed candidates in the last forward pass; 0 before
 * the first. Either may be NULL. */
MOH_API moh_status moh_router_losses(const moh_router *router,
                                     float *balance, float *z,
                                     moh_error *err);

/* Gradients of the last forward pass: of the caller's loss, d_gates
 * [n_entries] in the plan's order, plus balance_weight L_b + z_weight z-loss.
 * Added to d_weights and to d_x, [n_rows][d_model]. The selection is held
 * constant. MOH_ERR_ARGUMENT when there was no forward pass. */
MOH_API moh_status moh_router_backward(moh_router *router,
                                       const float *d_gates,
                                       const moh_router_weights *d_weights,
                                       float *d_x, moh_error *err);

#ifdef __cplusplus
}
#endif
#endif

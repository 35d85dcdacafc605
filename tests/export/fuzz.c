/* A harness for libFuzzer: whatever weights and saved states say, a model in C stays within its arrays.
 *
 * An input has three parts: a head of 4 bytes, so many symbols as its second byte says, and the rest. The first byte
 * tells what the rest is: 0 a saved state, 1 changes to one (3 bytes place, 1 byte value, again and again), 2 a file of
 * weights, 3 changes to one. Where the third byte is odd the header is made right first, so that what is behind it is
 * read at all. Compiled beside the files of an export; `model.bin` is read where it runs. tests/export/fuzz.py
 * builds and runs it.
 */
#include "model.c"

static unsigned char *weights, *state; /* the bytes of model.bin, and of a state that has read something */
static size_t weights_size, state_size;
static model *sound;
static char scratch[64];

static void must(int holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "fuzz: %s\n", what);
  abort();
}

static void put(unsigned char *bytes, uint32_t word) { memcpy(bytes, &word, 4); }

int LLVMFuzzerInitialize(int *count, char ***words);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerInitialize(int *count, char ***words) {
  (void)count, (void)words;
  FILE *file = fopen("model.bin", "rb");
  must(file != NULL, "model.bin is not here");
  weights_size = weight_bytes + 16;
  weights = malloc(weights_size);
  must(weights && fread(weights, 1, weights_size, file) == weights_size, "model.bin is too short");
  fclose(file);
  sound = model_open("model.bin");
  must(sound != NULL, "model.bin is of another model");
  model_state *s = model_start(sound);
  float *logits = malloc(MODEL_SYMBOLS * sizeof *logits);
  must(s && logits, "no memory");
  for (int i = 0; i < 63; i++) model_step(sound, s, (int[]){1, 2, 3, 1, 2, 3, 4}[i % 7], logits);
  state_size = model_save(sound, s, NULL, 0);
  state = malloc(state_size);
  must(state && model_save(sound, s, state, state_size) == state_size, "a state cannot be saved");
  free(logits);
  model_stop(s);
  snprintf(scratch, sizeof scratch, "weights-%p.tmp", (void *)weights);
  return 0;
}

/* A model of these bytes in a file, which is gone when this returns; NULL where they are refused. */
static model *opened(unsigned char *bytes, size_t size, int repaired) {
  if (repaired && size >= 16) {
    put(bytes, 0x4D4E4E49u);
    put(bytes + 4, FINGERPRINT);
    put(bytes + 8, (uint32_t)weight_bytes);
    put(bytes + 12, checksum(bytes + 16, size - 16));
  }
  FILE *file = fopen(scratch, "wb");
  must(file && fwrite(bytes, 1, size, file) == size && !fclose(file), "no file can be written here");
  model *m = model_open(scratch);
  remove(scratch);
  return m;
}

static void read_symbols(const model *m, model_state *s, const unsigned char *symbols, size_t count) {
  float *logits = malloc(MODEL_SYMBOLS * sizeof *logits); /* of just this size, so that a number too many is seen */
  must(logits != NULL, "no memory");
  for (size_t i = 0; i < count; i++) {
    const int symbol = symbols[i] == 255 ? -1 : symbols[i] % (MODEL_SYMBOLS + 1);
    const int taken = model_step(m, s, symbol, logits);
    must(taken == (symbol >= 0 && symbol < MODEL_SYMBOLS ? 0 : -1), "a symbol was taken for what it is not");
    model_remember(s, i % 3 != 1);
  }
  free(logits);
}

/* What is restored is what is saved again; what is refused leaves a state at its beginning. */
static void round_trip(const model *m, model_state *s, int restored) {
  const size_t room = model_save(m, s, NULL, 0);
  unsigned char *saved = malloc(room), *again = malloc(room);
  model_state *other = model_start(m);
  must(saved && again && other, "no memory");
  must(model_save(m, s, saved, room) == room, "a state does not fit into as many bytes as it takes");
  must(!model_save(m, s, saved, room - 1), "a state fits into fewer bytes than it takes");
  must(!model_restore(m, other, saved, room), "a saved state is refused");
  must(model_save(m, other, again, room) == room && !memcmp(saved, again, room), "a state is saved otherwise again");
  if (!restored) {
    model_begin(m, other);
    must(model_save(m, other, again, room) == room && !memcmp(saved, again, room), "a refused state has left something");
  }
  model_stop(other);
  free(again);
  free(saved);
}

/* The bytes that an input tells of, in just as much memory: its rest, or `sound` with changes. */
static unsigned char *told(const unsigned char *rest, size_t left, const unsigned char *base, size_t *size) {
  if (!base) *size = left;
  unsigned char *bytes = malloc(*size ? *size : 1);
  must(bytes != NULL, "no memory");
  if (*size) memcpy(bytes, base ? base : rest, *size);
  for (size_t i = 0; base && i + 4 <= left; i += 4)
    bytes[(rest[i] | (size_t)rest[i + 1] << 8 | (size_t)rest[i + 2] << 16) % *size] = rest[i + 3];
  return bytes;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
  if (size < 4) return 0;
  const int of_state = data[0] % 4 < 2, changes = data[0] % 2, repaired = data[2] % 2;
  const unsigned char *symbols = data + 4;
  const size_t count = (size_t)data[1] % 16 < size - 4 ? (size_t)data[1] % 16 : size - 4;
  size_t given = of_state ? state_size : weights_size;
  unsigned char *bytes = told(symbols + count, size - 4 - count, changes ? of_state ? state : weights : NULL, &given);
  model *m = sound;
  model_state *s;
  if (of_state) {
    s = model_start(m);
    must(s != NULL, "no memory");
    if (repaired && given >= 8) put(bytes, 0x534E4E49u), put(bytes + 4, FINGERPRINT);
    round_trip(m, s, !model_restore(m, s, bytes, given));
  } else {
    m = opened(bytes, given, repaired);
    s = m ? model_start(m) : NULL;
  }
  if (s) read_symbols(m, s, symbols, count);
  if (s) round_trip(m, s, 1);
  model_stop(s);
  if (m != sound) model_close(m);
  free(bytes);
  return 0;
}

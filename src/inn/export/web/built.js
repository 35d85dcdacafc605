// What the step is made of: weights and state as arrays over bytes that the page was given, and the step in WebAssembly.

/** Numbers of 8 bits times the scale of their row. */
function restored(numbers, scales) {
  const found = new Float32Array(numbers.length), each = numbers.length / scales.length;
  for (let i = 0; i < found.length; i++) found[i] = numbers[i] * scales[Math.floor(i / each)];
  return found;
}

/** Bytes that were sorted by their place in a number, in order again. */
function woven(bytes) {
  const found = new Uint8Array(bytes.length), each = bytes.length / 4;
  for (let i = 0; i < each; i++) for (let k = 0; k < 4; k++) found[4 * i + k] = bytes[k * each + i];
  return found.buffer;
}

const MATHS = { exp: Math.exp, log: Math.log, log1p: Math.log1p, expm1: Math.expm1, exp2: (x) => 2 ** x, log2: Math.log2, sin: Math.sin, cos: Math.cos, tan: Math.tan, atan: Math.atan, tanh: Math.tanh, erf, pow: Math.pow, atan2: Math.atan2 };

/**
 * The same model with its step in WebAssembly; itself where there is none, or the browser has no leave to run it.
 * `code`: packed; `weights`: [array, its name there, its place, outputs, inputs], the last two for matrices, which lie turned there;
 * `states`: [name, array]; `size`: bytes that are carried.
 */
async function quickened(model, code, weights, states, size) {
  if (!code || typeof WebAssembly === "undefined") return model;
  const env = Object.fromEntries(Object.entries(MATHS).flatMap(([name, fn]) => [[name, fn], [`${name}f`, fn]]));
  let parts;
  try {
    parts = (await WebAssembly.instantiate(await unpacked(code), { env })).instance.exports;
  } catch {
    return model;
  }
  const { buffer } = parts.memory, like = (array, place) => new array.constructor(buffer, place, array.length);
  const seen = (name, array) => (array instanceof Float64Array ? new BigInt64Array(buffer, parts[`at_${name}`](), array.length) : like(array, parts[`at_${name}`]()));
  const put = (to, from) => (to instanceof BigInt64Array ? from.forEach((value, i) => { to[i] = BigInt(value); }) : to.set(from));
  for (const [array, name, place, outputs, inputs] of weights) {
    const whole = array instanceof Float64Array;
    const there = whole ? new BigInt64Array(buffer, parts[`at_${name}`]() + 8 * place, array.length) : like(array, parts[`at_${name}`]() + array.BYTES_PER_ELEMENT * place);
    if (!outputs) put(there, array);
    else for (let k = 0, each = outputs * inputs; k < array.length; k++) there[k - (k % each) + (k % inputs) * outputs + Math.floor((k % each) / inputs)] = array[k];
  }
  for (const [name, array] of states) put(seen(name, array), array);
  const state = states.length ? new Uint8Array(buffer, Math.min(...states.map(([name]) => parts[`at_${name}`]())), size) : new Uint8Array(0), begun = state.slice();
  const arrays = Object.fromEntries(["logits", "spoken", "open", "activity", "routing", "gate"].map((name) => [name, model[name] && like(model[name], parts[`at_${name}`]())]));
  return { ...model, ...arrays, state, first: () => begun, step: parts.step };
}

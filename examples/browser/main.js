// Runs a file of `segx export` with onnxruntime-web: picture in, class map out, everything else is inside the file.
import * as ort from "onnxruntime-web";
import { readCard } from "./card.js";

ort.env.wasm.wasmPaths = new URL("./node_modules/onnxruntime-web/dist/", import.meta.url).href;
ort.env.wasm.numThreads = self.crossOriginIsolated ? navigator.hardwareConcurrency : 1;

const at = id => document.getElementById(id);
let model = null; // { session, card }
let turn = 0; // of the newest choice: what an older one finds is not shown

at("model").addEventListener("change", () => attempt(loadModel));
at("picture").addEventListener("change", () => attempt(segment));
at("opacity").addEventListener("input", () => { at("classes").style.opacity = at("opacity").value; });

async function attempt(work) {
  const mine = ++turn;
  try {
    await work(() => mine === turn);
  } catch (error) {
    say(error.message);
  }
}

async function loadModel(newest) {
  const [file] = at("model").files;
  if (!file) return;
  say(`Loading ${file.name} ...`);
  const bytes = new Uint8Array(await file.arrayBuffer());
  const card = readCard(bytes);
  if (!card) throw new Error(`${file.name} has no card; segx export writes files with one.`);
  const session = await ort.InferenceSession.create(bytes, {
    executionProviders: ["wasm"],
    extra: card.session.config, // what the card asks for, such as session.disable_quant_qdq
  });
  if (!newest()) return;
  model = { session, card };
  say(`${card.name}: ${card.classes.length} classes, ${card.precision}.`);
  await segment(newest);
}

async function segment(newest) {
  const [file] = at("picture").files;
  if (!file || !model) return;
  const { session, card } = model;
  const photo = await pixels(file);
  const { width, height } = photo;
  const input = new ort.Tensor("uint8", withoutAlpha(photo.data), [1, height, width, 3]);
  const start = performance.now();
  const { classmap } = await session.run({ [card.inputs[0].name]: input }, ["classmap"]);
  const milliseconds = performance.now() - start;
  if (newest()) show(photo, classmap.data, card, milliseconds);
}

/** A picture file as ImageData, its colours as they are stored. */
async function pixels(file) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

function withoutAlpha(rgba) {
  const rgb = new Uint8Array(rgba.length / 4 * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    rgb[to++] = rgba[from];
    rgb[to++] = rgba[from + 1];
    rgb[to++] = rgba[from + 2];
  }
  return rgb;
}

function show(photo, classmap, card, milliseconds) {
  const { width, height } = photo;
  const drawn = new ImageData(width, height);
  const counts = new Array(card.classes.length).fill(0);
  classmap.forEach((code, index) => {
    counts[code]++;
    drawn.data.set([...card.palette[code], 255], index * 4);
  });
  for (const [id, data] of [["photo", photo], ["classes", drawn]]) {
    Object.assign(at(id), { width, height });
    at(id).getContext("2d").putImageData(data, 0, 0);
  }
  at("legend").replaceChildren(...card.classes
    .map((name, code) => ({ name, share: counts[code] / classmap.length, color: card.palette[code] }))
    .filter(({ share }) => share > 0)
    .sort((a, b) => b.share - a.share)
    .map(({ name, share, color }) => {
      const item = document.createElement("li");
      const spot = document.createElement("i");
      spot.style.background = `rgb(${color})`;
      item.append(spot, `${name} ${(share * 100).toFixed(1)} %`);
      return item;
    }));
  say(`${card.name}, ${card.precision}: ${width} × ${height} in ${milliseconds.toFixed(1)} ms.`);
}

function say(text) {
  at("status").textContent = text;
}

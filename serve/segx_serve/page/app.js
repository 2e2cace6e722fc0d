// The page: takes a picture, sends it, shows the answer. Drawing is in view.js.

import { areas, className, drawLegend, element, paintClasses, percent } from "./view.js";

const $ = (id) => document.getElementById(id);
const state = { models: [], file: null, sent: null, map: null, legend: null, busy: 0 };

function model() {
  return state.models.find((one) => one.name === $("model").value) ?? state.models[0];
}

// ---- the service ------------------------------------------------------------------------------------------------

async function loadModels() {
  const answer = await fetch("/models");
  const { models, sample } = await answer.json();
  state.models = models;
  $("model").replaceChildren(...models.map((one) => new Option(one.name, one.name)));
  $("model-choice").hidden = models.length < 2;
  $("sample").hidden = !sample;
  showFacts();
}

function showFacts() {
  const one = model();
  const facts = [one.name, one.classes ? `${one.classes.length} classes` : null, one.precision === "unknown" ? null : one.precision];
  facts.push(one.provider.replace("ExecutionProvider", ""));
  const row = one.measurements.find((measured) => measured.precision === one.precision);
  if (row) facts.push(`mIoU ${(row.miou * 100).toFixed(1)} % on ${row.images} pictures (${row.split})`);
  $("facts").textContent = facts.filter(Boolean).join(" · ");
}

async function ask(picture, accept) {
  const address = `/segment?model=${encodeURIComponent(model().name)}`;
  const headers = { Accept: accept, "Content-Type": picture.type || "application/octet-stream" };
  const answer = await fetch(address, { method: "POST", headers, body: picture });
  if (!answer.ok) {
    const problem = await answer.json().catch(() => null);
    throw new Error(problem?.error?.message ?? `The service answered ${answer.status}.`);
  }
  return answer;
}

async function readMap(answer) {
  const [height, width] = answer.headers.get("X-Segx-Shape").split(",").map(Number);
  const bytes = await answer.arrayBuffer();
  const data = answer.headers.get("X-Segx-Dtype") === "uint16" ? new Uint16Array(bytes) : new Uint8Array(bytes);
  return { height, width, data };
}

// ---- one picture ------------------------------------------------------------------------------------------------

async function segment(file) {
  const turn = ++state.busy;
  state.file = file;
  complain("");
  tell("Working …");
  document.body.classList.add("busy");
  try {
    const picture = await shrink(file, Number($("size").value));
    const begun = performance.now();
    const answer = await ask(picture, "application/octet-stream");
    const map = await readMap(answer);
    if (turn !== state.busy) return; // a newer picture came meanwhile
    const took = performance.now() - begun;
    state.sent = picture;
    state.map = map;
    await show(picture, map);
    showTiming(took, answer.headers.get("Server-Timing") ?? "", picture.size);
  } catch (problem) {
    if (turn !== state.busy) return;
    tell("");
    const silent = problem instanceof TypeError;
    complain(silent ? "The service does not answer. Is it still running?" : `${file.name ?? "The picture"}: ${problem.message}`);
  } finally {
    if (turn === state.busy) document.body.classList.remove("busy");
  }
}

/** Make a large picture smaller in the browser: faster to send and to segment. Files the browser cannot read go as they are. */
async function shrink(file, side) {
  if (!side) return file;
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap || Math.max(bitmap.width, bitmap.height) <= side) return file;
  const scale = side / Math.max(bitmap.width, bitmap.height);
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
}

async function show(picture, map) {
  const bitmap = await createImageBitmap(picture).catch(() => null);
  const canvas = $("picture");
  canvas.width = map.width;
  canvas.height = map.height;
  if (bitmap) canvas.getContext("2d").drawImage(bitmap, 0, 0, map.width, map.height);
  $("stage").style.setProperty("--ratio", map.width / map.height);
  const counts = areas(map);
  const one = model();
  const repaint = (shown) => paintClasses($("classes"), map, one.palette, shown);
  state.legend = drawLegend($("legend"), counts, map.data.length, one, repaint);
  repaint(state.legend.shown);
  const missing = (one.classes ?? []).filter((_, index) => !counts.has(index));
  $("absent").textContent = missing.length ? `Not found: ${missing.join(", ")}` : "";
  const [first] = counts;
  $("classes").setAttribute("aria-label", `Classes laid over the picture, mostly ${className(one, first[0])}`);
  $("drop").classList.add("small-drop");
  $("result").hidden = false;
  tell(`${counts.size} ${counts.size === 1 ? "class" : "classes"} found, mostly ${className(one, first[0])} (${percent(first[1] / map.data.length)}).`);
  setOpacity();
}

function showTiming(took, header, bytes) {
  const rows = [["Round trip", `${took.toFixed(0)} ms`]];
  for (const stage of header.split(",")) {
    const [, name, milliseconds] = stage.match(/(\w+);dur=([\d.]+)/) ?? [];
    if (name) rows.push([{ queue: "Waiting", decode: "Decoding", run: "Model", encode: "Encoding" }[name] ?? name, `${Number(milliseconds).toFixed(1)} ms`]);
  }
  rows.push(["Picture", `${state.map.width} × ${state.map.height}, ${Math.max(1, Math.round(bytes / 1000))} kB`]);
  $("timing").replaceChildren(...rows.flatMap(([name, value]) => [element("dt", "", name), element("dd", "", value)]));
}

function setOpacity() {
  const value = Number($("opacity").value);
  $("classes").style.opacity = value / 100;
  $("opacity-value").textContent = `${value} %`;
}

/** Name the class under the pointer. */
function pointAt(event) {
  const { map } = state;
  const box = $("classes").getBoundingClientRect();
  const x = Math.floor(((event.clientX - box.left) / box.width) * map.width);
  const y = Math.floor(((event.clientY - box.top) / box.height) * map.height);
  const index = map.data[y * map.width + x];
  $("under").textContent = index === undefined ? "" : className(model(), index);
}

async function save() {
  try {
    const answer = await ask(state.sent, "image/png");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await answer.blob());
    link.download = `${(state.file.name ?? "picture").replace(/\.\w+$/, "")}.png`;
    link.click();
    URL.revokeObjectURL(link.href);
  } catch (problem) {
    complain(problem.message);
  }
}

function complain(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
}

function tell(text) {
  $("status").textContent = text;
}

function take(files) {
  const file = [...(files ?? [])].find((one) => one.type.startsWith("image/")) ?? files?.[0];
  if (file) segment(file);
  else complain("That is no picture file.");
}

// ---- what people do -----------------------------------------------------------------------------------------------

$("choose").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => {
  if ($("file").files.length) take($("file").files);
  $("file").value = "";
});
$("sample").addEventListener("click", async () => {
  const answer = await fetch("/sample");
  segment(new File([await answer.blob()], "sample.png", { type: "image/png" }));
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData?.files.length) take(event.clipboardData.files);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  take(event.dataTransfer?.files);
});
$("model").addEventListener("change", () => {
  showFacts();
  if (state.file) segment(state.file);
});
$("size").addEventListener("change", () => state.file && segment(state.file));
$("opacity").addEventListener("input", setOpacity);
$("all").addEventListener("click", () => state.legend?.switchAll(true));
$("none").addEventListener("click", () => state.legend?.switchAll(false));
$("save").addEventListener("click", save);
$("classes").addEventListener("pointermove", pointAt);
$("classes").addEventListener("pointerleave", () => ($("under").textContent = ""));

loadModels().catch(() => complain("The list of models could not be loaded. Is the service still running?"));

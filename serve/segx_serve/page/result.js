// The result on the page: panes, legend, numbers. It shows what it is given and asks the service for nothing.

import { agreement, foundClasses, sharedColor, startDivider } from "./compare.js";
import { Legend } from "./legend.js";
import { followPointer } from "./probe.js";
import { Stage } from "./stage.js";
import { blend, classesAt, className, element, namesAt, percent } from "./view.js";

const $ = (id) => document.getElementById(id);
const STAGES = { queue: "Waiting", decode: "Decoding", run: "Model", encode: "Encoding" };

export class Result {
  #shown = null; // { name, file, type, image, blob, answers: [{ model, map, took, stages }] }
  #agreement = null;
  #pointed = null;

  constructor() {
    this.stage = new Stage($("stage"));
    this.legend = new Legend($("legend"), () => this.#paint());
    startDivider($("divider"), $("stage"));
    followPointer($("stage"), (place, keyboard) => this.#point(place, keyboard));
    $("opacity").addEventListener("input", () => this.#setOpacity());
    $("all").addEventListener("click", () => this.legend.switchAll(true));
    $("none").addEventListener("click", () => this.legend.switchAll(false));
    for (const box of document.getElementsByName("how")) box.addEventListener("change", () => this.#arrange());
    $("only").addEventListener("change", () => this.#paint());
    this.#setOpacity();
  }

  /** The last picture with its answers, or null. */
  get shown() {
    return this.#shown;
  }

  /** Show a picture whose answer is still on its way. */
  expect(image, size = image) {
    this.#shown = null;
    this.#point(null);
    this.stage.showPicture(image, size);
    $("result").hidden = false;
  }

  /** Nothing to show. */
  hide() {
    this.#shown = null;
    $("result").hidden = true;
  }

  /**
   * Show a picture with one answer, or two to compare, all in one go: never a picture with the classes of another.
   *
   * @param live whether it is one of many in quick succession
   */
  show(shown, { live = false, perSecond = null } = {}) {
    this.#shown = shown;
    const { answers } = shown;
    const [{ model, map }] = answers;
    this.#agreement = answers.length > 1 ? agreement(...answers) : null;
    const found = foundClasses(answers);
    this.#arrange();
    this.stage.showPicture(shown.image, map);
    this.legend.update(model.name, found, live);
    this.#paint();
    this.#point(this.#pointed, false);
    const names = new Set(found.map((one) => one.name));
    const missing = live ? [] : (model.classes ?? []).filter((name) => !names.has(name));
    $("absent").textContent = missing.length ? `Not found: ${missing.join(", ")}` : "";
    answers.forEach((one, number) => {
      const [mostly] = answers.length > 1 ? foundClasses([one]) : found;
      const text = mostly ? `Classes laid over the picture, mostly ${mostly.name}` : "No class in the picture";
      this.stage.describe(number, answers.length > 1 ? one.model.name : "", text);
    });
    if (this.#agreement) $("agree").textContent = `They agree on ${percent(this.#agreement.share)} of the pixels.`;
    $("comparison").hidden = !this.#agreement;
    $("take-title").textContent = this.#agreement ? `Take it with you, as ${model.name} sees it` : "Take it with you";
    this.#drawTimes(live ? (perSecond?.toFixed(1) ?? "–") : "");
    $("keep").hidden = Boolean(shown.file); // a file is on somebody's disk already
    $("result").hidden = false;
    return this.#sentence(found);
  }

  #sentence(found) {
    if (this.#agreement) return `The two models agree on ${percent(this.#agreement.share)} of the pixels.`;
    const [first] = found;
    if (!first) return "No class found.";
    const count = `${found.length} ${found.length === 1 ? "class" : "classes"} found`;
    return `${count}, mostly ${first.name} (${percent(first.shares[0])}).`;
  }

  #arrange() {
    const how = document.querySelector("input[name=how]:checked").value;
    this.stage.arrange(this.#agreement ? how : "one");
  }

  #paint() {
    if (!this.#shown) return;
    const [{ model: first }] = this.#shown.answers;
    const only = this.#agreement && $("only").checked ? this.#agreement.differs : null;
    this.#shown.answers.forEach(({ model, map }, number) => {
      const shown = (value) => classesAt(model, value).filter((index) => this.legend.shows(className(model, index)));
      const look = (value) => blend(shown(value).map((index) => sharedColor(model, index, first)));
      this.stage.showClasses(number, map, look, only);
    });
  }

  #setOpacity() {
    const value = Number($("opacity").value);
    this.stage.setOpacity(value / 100);
    $("opacity-value").textContent = `${value} %`;
  }

  #point(place, keyboard) {
    this.#pointed = place;
    const texts = (this.#shown?.answers ?? []).map(({ model, map }) => {
      const x = Math.min(map.width - 1, Math.floor((place?.x ?? 0) * map.width));
      const y = Math.min(map.height - 1, Math.floor((place?.y ?? 0) * map.height));
      return namesAt(model, map.data[y * map.width + x]);
    });
    this.stage.mark(texts.length ? place : null, texts);
    if (keyboard) $("spoken").textContent = texts.join(", ");
  }

  #drawTimes(perSecond) {
    const { answers, blob } = this.#shown;
    const [{ map }] = answers;
    const rows = answers.length > 1 ? [["", ...answers.map(({ model }) => model.name)]] : [];
    rows.push(["Round trip", ...answers.map(({ took }) => `${took.toFixed(0)} ms`)]);
    answers[0].stages.forEach(([name], place) => {
      rows.push([STAGES[name] ?? name, ...answers.map(({ stages }) => `${(stages[place]?.[1] ?? 0).toFixed(1)} ms`)]);
    });
    rows.push(["Picture", `${map.width} × ${map.height}, ${Math.max(1, Math.round(blob.size / 1000))} kB`]);
    if (perSecond) rows.push(["Frames per second", perSecond]);
    $("timing").replaceChildren(...rows.map((cells) => timeRow(cells, answers.length)));
  }
}

function timeRow([name, ...values], columns) {
  const row = element("tr");
  const head = element("th", "", name);
  head.scope = "row";
  row.append(head);
  for (const value of values) {
    const cell = element("td", "", value);
    if (values.length < columns) cell.colSpan = columns;
    row.append(cell);
  }
  return row;
}

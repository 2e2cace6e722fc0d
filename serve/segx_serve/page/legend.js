// The legend: one switch a class with its share of the picture. Switches stay as they are from picture to picture.
// Knows class names and shares; nothing of pixels.

import { element, percent } from "./view.js";

export class Legend {
  // model name -> which classes are off: `base` says what a class is that nobody touched.
  #switches = new Map();
  #rows = new Map();
  #model = "";

  /** @param changed () => called when a switch was turned */
  constructor(list, changed) {
    this.list = list;
    this.changed = changed;
  }

  /** Whether a class is switched on. */
  shows(name) {
    const { base, others } = this.#mine();
    return others.has(name) ? !base : base;
  }

  /** Switch all classes on or off, those of later pictures too. */
  switchAll(on) {
    this.#switches.set(this.#model, { base: on, others: new Set() });
    for (const [name, row] of this.#rows) row.box.checked = this.shows(name);
    this.changed();
  }

  /**
   * Show the classes found.
   *
   * @param model name of the model whose switches count
   * @param found [{ name, color, shares }] in the order wanted; a share for each model compared
   * @param still keep the rows in place and those of classes that are gone, so that nothing jumps in a moving picture
   */
  update(model, found, still = false) {
    if (model !== this.#model) this.#clear();
    this.#model = model;
    const names = new Set(found.map((one) => one.name));
    for (const [name, row] of this.#rows) {
      if (names.has(name)) continue;
      if (still) row.set([0]);
      else this.#drop(name, row);
    }
    found.forEach((one, place) => {
      const row = this.#rows.get(one.name) ?? this.#add(one);
      row.box.checked = this.shows(one.name);
      row.swatch.style.backgroundColor = `rgb(${one.color.join(",")})`;
      row.set(one.shares);
      const there = this.list.children[place];
      if (!still && there !== row.item) this.list.insertBefore(row.item, there ?? null);
    });
  }

  #mine() {
    if (!this.#switches.has(this.#model)) this.#switches.set(this.#model, { base: true, others: new Set() });
    return this.#switches.get(this.#model);
  }

  #turn(name, on) {
    const { base, others } = this.#mine();
    if (on === base) others.delete(name);
    else others.add(name);
    this.changed();
  }

  #add({ name }) {
    const box = Object.assign(document.createElement("input"), { type: "checkbox" });
    box.addEventListener("change", () => this.#turn(name, box.checked));
    const swatch = element("span", "swatch");
    const share = element("span", "percent");
    const bar = element("span", "area");
    const label = element("label");
    label.append(box, swatch, element("span", "name", name), share, bar);
    label.title = name;
    const item = element("li");
    item.append(label);
    this.list.append(item);
    const set = (shares) => {
      share.textContent = shares.map(percent).join(" | ");
      bar.style.width = `${Math.max(...shares) * 100}%`;
      item.classList.toggle("gone", Math.max(...shares) === 0);
    };
    const row = { item, box, swatch, set };
    this.#rows.set(name, row);
    return row;
  }

  #drop(name, row) {
    row.item.remove();
    this.#rows.delete(name);
  }

  #clear() {
    for (const [name, row] of this.#rows) this.#drop(name, row);
  }
}

// The picture with its classes over it, once or twice: canvases, their opacity, the marker. Knows no model and no service.

import { fit, paintClasses } from "./view.js";

export class Stage {
  #panes;

  /** @param root the element with the panes, each with a canvas `picture`, a canvas `classes`, a marker and two texts */
  constructor(root) {
    this.root = root;
    this.#panes = [...root.querySelectorAll(".pane")].map((pane) => ({
      pane,
      picture: pane.querySelector(".picture"),
      classes: pane.querySelector(".classes"),
      marker: pane.querySelector(".marker"),
      tag: pane.querySelector(".tag"),
      under: pane.querySelector(".under"),
    }));
  }

  /** How two panes lie: "one" (the second is not there), "swipe" (over each other) or "beside". */
  arrange(how) {
    this.root.classList.toggle("swipe", how === "swipe");
    this.root.classList.toggle("beside", how === "beside");
    this.#panes[1].pane.hidden = how === "one";
  }

  /** Make room for a picture before it is there, so that nothing jumps when it comes. */
  reserve({ width, height }) {
    this.root.style.setProperty("--ratio", width / height);
  }

  /** Show a picture without classes: those of another picture go away in the same breath. */
  showPicture(image, size) {
    this.reserve(size);
    for (const { picture, classes } of this.#panes) {
      fit(picture, size);
      const context = picture.getContext("2d");
      context.clearRect(0, 0, size.width, size.height);
      if (image) context.drawImage(image, 0, 0, size.width, size.height);
      classes.getContext("2d").clearRect(0, 0, classes.width, classes.height);
    }
  }

  /** Lay classes over the picture of one pane; `look` and `only` as in paintClasses. */
  showClasses(number, map, look, only) {
    paintClasses(this.#panes[number].classes, map, look, only);
  }

  /** Say in words what the classes of a pane show, for those who do not see them. */
  describe(number, model, text) {
    this.#panes[number].tag.textContent = model;
    this.#panes[number].classes.setAttribute("aria-label", text);
  }

  /** @param value 0..1 */
  setOpacity(value) {
    for (const { classes } of this.#panes) classes.style.opacity = value;
  }

  /** Mark a place { x, y } in 0..1 on every pane and write what is there, one text a pane; null takes the marks away. */
  mark(place, texts = []) {
    this.#panes.forEach(({ marker, under }, number) => {
      marker.hidden = !place;
      under.textContent = place ? (texts[number] ?? "") : "";
      if (!place) return;
      marker.style.left = `${place.x * 100}%`;
      marker.style.top = `${place.y * 100}%`;
    });
  }
}

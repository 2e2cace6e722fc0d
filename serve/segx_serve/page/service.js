// Requests to the service: the key it may want, waiting while it is busy, errors in words. Knows nothing of the page.

import { ServiceError } from "./errors.js";

const KEY = "segx-api-key";
const LONGEST_WAIT = 10; // seconds

/** The forms an answer can take: what to ask for, and how a file of it is called. */
export const FORMS = {
  classes: { label: "class PNG", accept: "image/png", ending: "-classes.png" },
  overlay: { label: "overlay PNG", accept: "image/png;overlay=1", ending: "-overlay.png" },
  json: { label: "JSON", accept: "application/json", ending: ".json" },
  raw: { label: "raw class map", accept: "application/octet-stream", ending: ".bin" },
};

export class Service {
  #asking = null;
  #key = readKey();

  /**
   * @param askKey (message) => Promise of a key that somebody typed in
   * @param waiting (seconds, attempt, tries) => says that the service is busy and when it is asked again
   */
  constructor({ askKey, waiting }) {
    this.askKey = askKey;
    this.waiting = waiting;
  }

  get hasKey() {
    return Boolean(this.#key);
  }

  /** The models with classes, colours and measurements, and whether there is a sample. */
  async models() {
    const { answer } = await this.#request("/models");
    return answer.json();
  }

  /** The picture that the service offers to try. */
  async sample() {
    const { answer } = await this.#request("/sample");
    return new File([await answer.blob()], "sample.png", { type: "image/png" });
  }

  /** The classes of a picture in one of the FORMS, as a file. */
  async segment(picture, model, form, options = {}) {
    return (await this.#post(picture, model, form, options)).answer.blob();
  }

  /** The class of every pixel, with the milliseconds it took in all and in each stage of the service. */
  async classMap(picture, model, options = {}) {
    const { answer, begun } = await this.#post(picture, model, FORMS.raw, options);
    const [height, width] = answer.headers.get("X-Segx-Shape").split(",").map(Number);
    const bytes = await answer.arrayBuffer().catch((problem) => reword(problem));
    const data = answer.headers.get("X-Segx-Dtype") === "uint16" ? new Uint16Array(bytes) : new Uint8Array(bytes);
    const took = performance.now() - begun;
    return { map: { height, width, data }, took, stages: readStages(answer.headers.get("Server-Timing") ?? "") };
  }

  #post(picture, model, form, options) {
    const headers = { Accept: form.accept, "Content-Type": picture.type || "application/octet-stream" };
    return this.#request(address(model), { ...options, method: "POST", headers, body: picture });
  }

  async #request(path, { headers = {}, signal, tries = 5, ...options } = {}) {
    for (let attempt = 1; ; ) {
      const key = this.#key;
      const begun = performance.now();
      const sent = { ...options, signal, headers: key ? { ...headers, "X-Api-Key": key } : headers };
      const answer = await fetch(path, sent).catch((problem) => reword(problem));
      if (answer.ok) return { answer, begun };
      const problem = await readProblem(answer);
      if (answer.status === 401) {
        await this.#renewKey(key, problem.message);
      } else if (problem.busy && attempt < tries) {
        this.waiting(problem.wait, attempt, tries);
        await pause(problem.wait * 1000);
        attempt++;
      } else {
        throw problem;
      }
      signal?.throwIfAborted();
    }
  }

  /** Several requests may be refused for want of a key at the same time: it is asked for once. */
  async #renewKey(refused, message) {
    if (this.#key !== refused) return;
    this.#asking ??= this.askKey(refused ? `The key was not taken. ${message}` : message);
    this.#key = await this.#asking;
    this.#asking = null;
    keepKey(this.#key);
  }
}

/** Where pictures for a model are sent. */
export function address(model) {
  return `/segment?model=${encodeURIComponent(model)}`;
}

/** Wait for some milliseconds. */
export function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** `queue;dur=0.03, run;dur=4` as [["queue", 0.03], ["run", 4]]. */
export function readStages(header) {
  return [...header.matchAll(/(\w+);dur=([\d.]+)/g)].map(([, name, milliseconds]) => [name, Number(milliseconds)]);
}

function reword(problem) {
  // fetch tells a refused connection, a reset and a missing network all by the one TypeError.
  throw problem instanceof TypeError ? new ServiceError("The service does not answer. Is it still running?") : problem;
}

async function readProblem(answer) {
  const told = await answer.json().catch(() => null);
  const message = told?.error?.message ?? `The service answered with status ${answer.status}.`;
  const wait = Number(answer.headers.get("Retry-After") ?? 1);
  return new ServiceError(message, answer.status, Math.min(LONGEST_WAIT, Number.isFinite(wait) ? Math.max(0, wait) : 1));
}

// A browser that forbids storage throws at the mere mention of it; the key is then good until the page is left.
function readKey() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

function keepKey(key) {
  try {
    sessionStorage.setItem(KEY, key);
  } catch {
    console.info("This browser keeps nothing for this page: the key is forgotten when the page is left.");
  }
}

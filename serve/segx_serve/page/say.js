// What the page says: how far it is, what went wrong, that it wants a key. Knows nothing of why.

import { PageError } from "./errors.js";

const $ = (id) => document.getElementById(id);

/** Say how things stand. */
export function tell(text) {
  $("status").textContent = text;
}

/** Show that something is under way, or no longer. */
export function working(on, text) {
  document.body.classList.toggle("busy", on);
  $("result").setAttribute("aria-busy", on);
  if (text) tell(text);
}

/** Say what went wrong; an empty text takes it back. */
export function complain(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
  if (text) $("message").scrollIntoView({ block: "nearest" });
}

/** Say what went wrong with something: what the service says of a picture is told with the picture's name. */
export function fail(problem, name) {
  working(false);
  tell("");
  if (!(problem instanceof PageError)) {
    complain(`${name}: this page made a mistake. The browser's console says more.`);
    throw problem;
  }
  complain(problem.status ? `${name}: ${problem.message}` : problem.message);
}

/** Say that the service is busy and when it is asked again. */
export function sayWaiting(seconds, attempt, tries) {
  tell(`The service is busy. Trying again in ${seconds} s (${attempt} of ${tries - 1}) …`);
}

/** Ask for a key; a promise of what was typed in. */
export function askKey(message) {
  $("key-message").textContent = message;
  $("key-form").hidden = false;
  $("key").value = "";
  $("key").focus();
  return new Promise((resolve) => {
    $("key-form").onsubmit = (event) => {
      event.preventDefault();
      $("key-form").hidden = true;
      resolve($("key").value);
      $("key").value = "";
    };
  });
}

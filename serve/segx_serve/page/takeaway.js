// Answers to take away: saved as files, or as the command that fetches them. Knows the service, not how it is shown.

import { copyFrom, curlCommand, savedAs } from "./curl.js";
import { download } from "./picture.js";
import { fail, tell } from "./say.js";
import { FORMS } from "./service.js";

const $ = (id) => document.getElementById(id);

/**
 * Wire up the controls.
 *
 * @param shown () => the picture that is shown with its answers, or null
 */
export function startTakeAway(service, shown) {
  const form = () => FORMS[$("form").value];
  const changed = () => {
    $("save").textContent = `Save ${form().label}`;
    $("command-field").hidden = true;
  };
  const whenShown = (act) => () => shown() && act(shown());
  $("form").replaceChildren(...Object.entries(FORMS).map(([name, one]) => new Option(one.label, name)));
  $("form").addEventListener("change", changed);
  $("save").addEventListener("click", whenShown((one) => save(service, one, form())));
  $("curl").addEventListener("click", whenShown((one) => copyCurl(service, one, form())));
  $("keep").addEventListener("click", whenShown((one) => download(one.blob, one.name)));
  changed();
}

async function save(service, { blob, name, answers }, form) {
  try {
    const file = savedAs(name, form);
    download(await service.segment(blob, answers[0].model.name, form), file);
    tell(`Saved ${file}.`);
  } catch (problem) {
    fail(problem, name);
  }
}

async function copyCurl(service, picture, form) {
  const model = picture.answers[0].model.name;
  $("command").value = curlCommand({ origin: location.origin, model, picture, form, key: service.hasKey });
  const { file, blob } = picture;
  $("command-note").textContent =
    file && file !== blob ? "It sends your file as it is; this page sent a smaller copy." : "";
  $("command-field").hidden = false;
  $("copied").textContent = (await copyFrom($("command"))) ? "Copied." : "Selected: press Ctrl+C or ⌘C.";
}

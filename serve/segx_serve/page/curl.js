// The present request as a command for a terminal. Knows how a shell quotes; builds text and copies it, sends nothing.

import { address } from "./service.js";

/**
 * A command that sends the same picture to the same model and saves the same kind of answer.
 *
 * @param picture { name, type } of the file that lies on the person's own disk
 * @param form one of service.js's FORMS
 * @param key whether the service wants a key; the key itself never stands in the command
 */
export function curlCommand({ origin, model, picture, form, key }) {
  const parts = [
    `curl ${quote(origin + address(model))}`,
    `--data-binary ${quote(`@${picture.name}`)}`,
    `-H ${quote(`Content-Type: ${picture.type || "application/octet-stream"}`)}`,
    `-H ${quote(`Accept: ${form.accept}`)}`,
  ];
  if (key) parts.push(`-H ${quote("X-Api-Key: YOUR_KEY")}`);
  parts.push(`-o ${quote(savedAs(picture.name, form))}`);
  return parts.join(" \\\n  ");
}

/** What an answer for a picture is called when it is saved. */
export function savedAs(name, form) {
  return name.replace(/\.\w+$/, "") + form.ending;
}

/** Copy the text of a field; false where the browser allows no script to (plain http), the text is then selected. */
export async function copyFrom(area) {
  area.focus();
  area.select();
  if (!navigator.clipboard) return false;
  return navigator.clipboard.writeText(area.value).then(
    () => true,
    () => false, // denied: the person can still press the keys
  );
}

function quote(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

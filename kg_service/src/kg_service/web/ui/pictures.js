/* Thumbnails, drawn on canvases: the service wants its key with each request, and a page without <img> needs no pictures by policy. */

import { make } from "./dom.js";
import { aboutService, file, imagePath } from "./service.js";

const AT_ONCE = 4;
const waiting = [];
let working = 0;

function next() {
  if (working >= AT_ONCE || !waiting.length) return;
  working += 1;
  waiting.shift()().finally(() => {
    working -= 1;
    next();
  });
  next();
}

/* An element that becomes the picture of an image, if the service has it. */
export function picture(id, side = 96) {
  const place = make("span", { class: "picture", hidden: "" });
  waiting.push(() => load(place, id, side).catch(() => place.remove()));
  next();
  return place;
}

async function load(place, id, side) {
  if (!(await aboutService()).thumbnails) return;
  const image = await createImageBitmap(await file(`${imagePath(id)}/thumbnail?side=${side * 2}`));
  const canvas = make("canvas", { role: "img", "aria-label": `Picture of ${id}`, width: image.width, height: image.height });
  canvas.getContext("2d").drawImage(image, 0, 0);
  place.style.setProperty("--side", `${side}px`);
  place.replaceChildren(canvas);
  place.hidden = false;
}

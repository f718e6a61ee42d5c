/* Search over concepts and captions; a concept leads to the images that have it. */

import { address, assertion, byId, cell, clear, concept, fill, goTo, imageLink, link, make, note, plainButton, submitted, table } from "./dom.js";
import { picture } from "./pictures.js";
import { ask } from "./service.js";

const CUI = /^(C\d{7}|RID\d+|\d{6,18}|[A-Za-z]+:\w+)$/;
const PAGE = 20;

export function startSearch() {
  submitted("search-form", () => goTo(address("search", byId("words").value.trim())));
}

/* Looks for words, or shows the concept of a CUI with its images. */
export function openSearch({ what: words }) {
  byId("words").value = words;
  byId("search-result").hidden = !words;
  for (const panel of ["found-concepts", "found-images"]) clear(panel);
  if (!words) return;
  if (CUI.test(words)) {
    byId("found-concepts-title").textContent = "Concept";
    byId("found-images-title").textContent = `Images that mention ${words}`;
    fill("found-concepts", () => oneConcept(words));
    fill("found-images", () => mentioning(words));
  } else {
    byId("found-concepts-title").textContent = "Concepts";
    byId("found-images-title").textContent = "Images";
    fill("found-concepts", () => pageOf(concepts, { q: words }));
    fill("found-images", () => pageOf(images, { q: words }));
  }
}

/* All images with a mention of a concept; those that don't have it are marked. */
async function mentioning(cui) {
  const found = await pageOf(images, { cui });
  return [note("Also those whose captions deny the concept, doubt it or say it of the past or of relatives: they are marked."), ...found];
}

/* A table of the first page, and a button that adds the next ones. */
export async function pageOf(kind, parameters) {
  const found = await kind.ask({ ...parameters, limit: PAGE });
  if (!found.rows.length) return [note(kind.none)];
  const list = table(kind.heads, found.rows);
  if (!found.next) return [list];
  let cursor = found.next;
  const more = plainButton("More", async () => {
    more.disabled = true;
    try {
      const page = await kind.ask({ ...parameters, limit: PAGE, cursor });
      list.tBodies[0].append(...page.rows);
      cursor = page.next;
      if (cursor) more.disabled = false;
      else more.remove();
    } catch (error) {
      more.replaceWith(make("p", { class: "note failed" }, error.message));
    }
  });
  return [list, more];
}

const concepts = {
  heads: ["CUI", "Name"],
  none: "No concept has a name with words that begin so.",
  async ask(parameters) {
    const page = await ask("v1/concepts", parameters);
    const rows = page.concepts.map((each) => make("tr", {}, cell(link("search", each.cui)), cell(each.name)));
    return { rows, next: page.next_cursor };
  },
};

export const images = {
  heads: ["Image", "Caption", "Concepts"],
  none: "No image of the graph.",
  async ask(parameters) {
    const page = await ask("v1/images", parameters);
    const rows = page.images.map((image) => make("tr", {}, cell(make("div", { class: "pictured" }, picture(image.image_id, 72), imageLink(image.image_id))),
      cell(image.caption), cell(said(image.attributes, parameters.cui))));
    return { rows, next: page.next_cursor };
  },
};

/* The concepts of an image, that of `first` at the start. Beside those that it does not have as present stands what is said of them. */
function said(attributes, first) {
  const by = Map.groupBy(attributes, ({ cui }) => cui);
  const concepts = [...by.values()].sort(([a], [b]) => Number(b.cui === first) - Number(a.cui === first));
  return make("span", {}, ...concepts.flatMap((mentions, at) => {
    const others = mentions.some((each) => each.assertion === "present") ? [] : [...new Map(mentions.map((each) => [each.assertion, each])).values()];
    return [`${at ? ", " : ""}${concept(mentions[0])}`, ...others.flatMap((each) => [" ", assertion(each)])];
  }));
}

async function oneConcept(cui) {
  const found = await ask(`v1/concepts/${cui}`);
  const facts = [
    ["Names", found.names.slice(0, 12).join("; ")],
    ["Semantic types", found.semantic_types.join(", ")],
    ["Images that have it as present", String(found.image_count ?? "unknown")],
  ];
  const lists = [["Parents", found.parents], ["Children", found.children], ["Ancestors", found.ancestors]];
  const linked = lists.map(([title, each]) => [title, listed(each)]);
  const rows = [...facts, ...linked].map(([title, value]) => make("tr", {}, make("th", { scope: "row" }, title), cell(value)));
  return [make("p", {}, make("strong", {}, concept(found))), make("table", {}, make("tbody", {}, ...rows))];
}

function listed(concepts) {
  if (!concepts.length) return "none";
  const items = concepts.map((each) => make("li", {}, link("search", each.cui, concept(each))));
  return concepts.length > 12 ? make("details", {}, make("summary", {}, `${concepts.length} concepts`), make("ul", {}, ...items)) : make("ul", {}, ...items);
}

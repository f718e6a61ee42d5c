/* The graph around a caption's concepts: ancestors, typed relations, and what another image shares.
 *
 * is_a and relations are the vocabulary's; shares are those of /v1/explain. */

import { byId, cell, clear, concept, fill, imageLink, link, make, note, say, table } from "./dom.js";
import { drawing } from "./drawing.js";
import { ask } from "./service.js";

const MOST_NODES = 160;
const WIDEST = 11;

/* What is drawn: {id, mentions, caption} and, where another image is compared, the answer of /v1/explain. */
let subject = null;
let comparison = null;

export function drawGraph(shown) {
  subject = shown;
  comparison = null;
  redraw();
}

export function drawComparison(answer) {
  comparison = answer;
  redraw();
}

export function startGraph() {
  for (const choice of ["graph-steps", "graph-relations"]) byId(choice).addEventListener("change", redraw);
  byId("graph-fit").addEventListener("change", () => byId("graph").classList.toggle("fit", byId("graph-fit").checked));
}

function redraw() {
  clear("graph-node");
  clear("graph-table");
  if (subject) fill("graph", drawnGraph);
}

async function drawnGraph() {
  const own = conceptsOf(subject.mentions);
  if (!own.size) return [note("There is no concept to draw.")];
  const others = comparison ? comparison.other.concepts.map(({ cui }) => cui) : [];
  const cuis = [...new Set([...own.keys(), ...others])];
  const around = new Around(await ask("v1/concepts/surroundings", { cui: cuis.slice(0, 200) }));
  const { nodes, edges, left } = graphOf(own, others, around);
  const title = comparison ? `${subject.id} and ${comparison.other.image_id}` : subject.id ?? "this caption";
  const says = `Graph of ${title}: ${nodes.length} nodes, ${edges.length} edges. Arrow keys move between nodes, Enter chooses one.`;
  byId("graph-table").replaceChildren(tableOf(nodes, edges));
  return [
    drawing(nodes, edges, says, chooseNode),
    ...(left ? [note(`${left} further concepts are not drawn: the table of ancestors in Search has them.`)] : []),
  ];
}

function conceptsOf(mentions) {
  const found = new Map();
  for (const { cui, name, assertion } of mentions) {
    const seen = found.get(cui) ?? { cui, name, assertions: new Set() };
    seen.assertions.add(assertion);
    found.set(cui, seen);
  }
  return found;
}

/* The answer of /v1/concepts/surroundings, to be asked for what leaves a concept. */
class Around {
  constructor({ concepts, is_a: isA, relations }) {
    this.concepts = new Map(concepts.map((each) => [each.cui, each]));
    this.parents = Map.groupBy(isA, ({ child }) => child);
    this.relations = Map.groupBy(relations, ({ subject: from }) => from);
  }

  up(cui) {
    return (this.parents.get(cui) ?? []).map((edge) => ({ from: cui, to: edge.parent, kind: "is_a", label: "", source: edge.source }));
  }

  aside(cui) {
    return (this.relations.get(cui) ?? []).map((edge) => ({ from: cui, to: edge.target, kind: "relation", label: edge.relation, source: edge.source }));
  }

  /* The edges of a shortest way; null where there is none. */
  way(from, to) {
    const before = new Map([[from, null]]);
    const queue = [from];
    for (const here of queue) {
      if (here === to) {
        const edges = [];
        for (let edge = before.get(to); edge; edge = before.get(edge.from)) edges.unshift(edge);
        return edges;
      }
      for (const edge of [...this.up(here), ...this.aside(here)]) {
        if (before.has(edge.to)) continue;
        before.set(edge.to, edge);
        queue.push(edge.to);
      }
    }
    return null;
  }
}

const keyOf = ({ from, to, kind, label }) => JSON.stringify([from, to, kind, kind === "relation" ? label : ""]);
const imageNode = (id) => `image ${id}`;

function graphOf(own, others, around) {
  const steps = Number(byId("graph-steps").value);
  const withRelations = byId("graph-relations").checked;
  const edges = new Map();
  const add = (edge, share = 0) => {
    const seen = edges.get(keyOf(edge)) ?? { ...edge, share: 0 };
    seen.share += share;
    edges.set(keyOf(edge), seen);
  };
  const me = imageNode(subject.id ?? "");
  for (const { cui, assertions } of own.values()) {
    const [said] = assertions.has("present") ? ["present"] : assertions;
    add({ from: me, to: cui, kind: `attribute ${said}`, label: said === "present" ? "" : said });
  }
  for (const cui of others) add({ from: imageNode(comparison.other.image_id), to: cui, kind: "attribute present", label: "" });
  if (comparison) for (const part of comparison.contributions) addPart(part, me, add, around);
  let left = 0;
  let level = [...new Set([...own.keys(), ...others])];
  const reached = new Set(level);
  if (withRelations) {
    for (const edge of level.flatMap((cui) => around.aside(cui))) {
      if (reached.has(edge.to) || countOf(edges) < MOST_NODES) add(edge);
      else left += 1;
    }
  }
  for (let step = 0; step < steps && level.length; step += 1) {
    const next = new Set();
    for (const edge of level.flatMap((cui) => around.up(cui))) {
      if (countOf(edges) >= MOST_NODES && !reached.has(edge.to)) {
        left += 1;
        continue;
      }
      add(edge);
      if (!reached.has(edge.to)) next.add(edge.to);
      reached.add(edge.to);
    }
    level = [...next];
  }
  return { ...finished([...edges.values()], own, new Set(others), around), left };
}

function countOf(edges) {
  return new Set([...edges.values()].flatMap(({ from, to }) => [from, to])).size;
}

/* A part of the similarity goes along the edges from both images to where they meet, divided evenly among several concepts. */
function addPart(part, me, add, around) {
  const sides = [[me, part.concepts], [imageNode(comparison.other.image_id), part.other_concepts]];
  if (!part.concept) {
    for (const { cui } of part.concepts) {
      for (const { cui: other } of part.other_concepts) add({ from: cui, to: other, kind: "together", label: "", beside: true }, part.share);
    }
    return;
  }
  for (const [image, through] of sides) {
    for (const { cui } of through) {
      const share = part.share / through.length;
      add({ from: image, to: cui, kind: "attribute present", label: "" }, share);
      const way = around.way(cui, part.concept.cui) ?? [{ from: cui, to: part.concept.cui, kind: "leads", label: "leads to" }];
      for (const edge of way) add(edge, share);
    }
  }
}

function finished(edges, own, others, around) {
  const names = new Map([...around.concepts.values(), ...own.values(), ...(comparison ? comparison.contributions : []).flatMap(
    (part) => [part.concept, ...part.concepts, ...part.other_concepts].filter(Boolean))].map((each) => [each.cui, each.name]));
  const largest = comparison?.similarity || 1;
  const ids = new Set(edges.flatMap(({ from, to }) => [from, to]));
  const nodes = [...ids].map((id) => nodeOf(id, own, others, names, around));
  const says = new Map(nodes.map(({ id, label }) => [id, label]));
  return {
    nodes,
    edges: edges.map((edge) => ({
      ...edge,
      kind: edge.share > 0 ? `${edge.kind} shares` : edge.kind,
      width: edge.share > 0 ? 1.5 + WIDEST * Math.min(1, edge.share / largest) : 0,
      label: [edge.label, edge.share > 0.05 * largest && edge.kind.startsWith("attribute") ? edge.share.toFixed(3) : ""].filter(Boolean).join(" "),
      name: edge.kind.startsWith("attribute") ? edge.kind.replace("attribute ", "has attribute, ") : edge.label || { is_a: "is_a", together: "occurs with" }[edge.kind],
      says: `${says.get(edge.from)} → ${says.get(edge.to)}${edge.source ? `, by ${edge.source}` : ""}${edge.share ? `, share ${edge.share.toFixed(3)}` : ""}`,
    })),
  };
}

function nodeOf(id, own, others, names, around) {
  if (id.startsWith("image ")) {
    const image = id.slice("image ".length);
    const isOther = comparison?.other.image_id === image && image !== subject.id;
    return { id, image, label: image || "caption", below: isOther ? "compared" : "", kind: "image", says: `Image ${image || "caption"}` };
  }
  const mine = own.get(id);
  const kinds = ["concept", ...(mine ? ["own", ...mine.assertions] : []), ...(mine && others.has(id) ? ["both"] : []), ...(!mine && others.has(id) ? ["others"] : [])];
  const groups = around.concepts.get(id)?.groups ?? [];
  const name = names.get(id) ?? "";
  const role = mine ? (others.has(id) ? "concept of both" : [...mine.assertions].join(", ")) : others.has(id) ? "concept of the other" : "above or beside";
  return { id, cui: id, label: name || id, below: name ? id : "", kind: kinds.join(" "), groups, says: `${concept({ cui: id, name })}, ${role}` };
}

function chooseNode(node) {
  if (node.image !== undefined) {
    byId("graph-node").replaceChildren(make("p", {}, node.image ? imageLink(node.image) : "The caption above"));
    return;
  }
  const images = link("search", node.cui, "images that mention it");
  byId("graph-node").replaceChildren(make("p", {}, make("strong", {}, node.label), ` ${node.cui}`,
    node.groups.length ? `, semantic group ${node.groups.join(", ")}` : "", ": ", images));
  say("");
}

function tableOf(nodes, edges) {
  const labels = new Map(nodes.map((node) => [node.id, node.cui && node.label !== node.cui ? `${node.cui} ${node.label}` : node.label]));
  const rows = edges.map((edge) => make("tr", {}, cell(labels.get(edge.from)), cell(edge.name), cell(labels.get(edge.to)),
    cell(edge.source ?? ""), cell(edge.share ? edge.share.toFixed(3) : "", "number")));
  return table(["From", "Edge", "To", "Source", "Share"], rows);
}
